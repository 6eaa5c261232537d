"""What the two versions of IP are called in nftables and in the kernel."""

from __future__ import annotations

import socket
from enum import Enum
from ipaddress import IPv4Network, IPv6Network


class Family(Enum):
    """A version of IP; its value is the version's number."""

    IPV6 = 6
    IPV4 = 4

    @property
    def word(self) -> str:
        """Nftables' name of the header, and of the family of tables."""
        return "ip6" if self is Family.IPV6 else "ip"

    @property
    def address_type(self) -> str:
        """Nftables' name of the type of addresses."""
        return "ipv6_addr" if self is Family.IPV6 else "ipv4_addr"

    @property
    def socket_family(self) -> int:
        """The kernel's number of it."""
        return int(socket.AF_INET6 if self is Family.IPV6 else socket.AF_INET)

    @property
    def everything(self) -> IPv4Network | IPv6Network:
        """The prefix of the default route."""
        return IPv6Network("::/0") if self is Family.IPV6 else IPv4Network("0.0.0.0/0")

    @property
    def loopback(self) -> str:
        """An address that always has a route."""
        return "::1" if self is Family.IPV6 else "127.0.0.1"

    @property
    def header_size(self) -> int:
        """Octets of the header without options."""
        return 40 if self is Family.IPV6 else 20

    @property
    def next_header(self) -> int:
        """The protocol number of such a packet inside a tunnel."""
        return int(socket.IPPROTO_IPV6 if self is Family.IPV6 else socket.IPPROTO_IPIP)
