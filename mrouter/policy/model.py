"""What a policy file means, as data: the operator's words in, nothing of the kernel's."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Ports from ``first`` to ``last``, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, order=True)
class WeekSpan:
    """Minutes of the week from ``first`` to ``last``, both included; Monday 0:00 is 0.

    They are those of the clocks of ``zone``, which is one for all policies of a file.
    """

    first: int
    last: int
    zone: str


@dataclass(frozen=True, slots=True, order=True)
class SizeRange:
    """Numbers of octets from ``first`` to ``last``, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class PrefixSet:
    """A named set of prefixes of IPv6, IPv4 or both, which may be large and many policies'.

    ``packed`` are the prefixes as `pack_prefix` writes them, tens of thousands in a moment.
    ``digest`` stands for them where the set is shown or compared.
    """

    name: str
    packed: tuple[int, ...] = field(repr=False, compare=False)
    digest: str

    @property
    def prefixes(self) -> Iterator[Network]:
        """The prefixes, one after the other."""
        return map(unpack_prefix, self.packed)

    def __reduce__(self) -> tuple[Callable[..., PrefixSet], tuple[str, bytes, str]]:
        """Pickle the prefixes as octets, many times faster than as numbers."""
        packed = b"".join(number.to_bytes(_PACKED) for number in self.packed)
        return _unpack_set, (self.name, packed, self.digest)


#: Octets of an address's number and a prefix length.
_PACKED = 17 + 1
#: The number of 0.0.0.0: behind all IPv6 addresses, with a gap, so that no range spans both.
FIRST_IPV4 = 1 << 129
#: An IPv4 address is as far from the next as a /32 of IPv6 is, so that a prefix of either family
#: holds 2 ** (128 - length) numbers.
_IPV4_SHIFT = 96


def number_address(address: Address) -> int:
    """Return the number of ``address``, which no address of the other family has."""
    if isinstance(address, IPv6Address):
        return int(address)
    return FIRST_IPV4 + (int(address) << _IPV4_SHIFT)


def show_address(number: int) -> str:
    """Write the address whose number ``number`` is, or among whose numbers it is."""
    if number < FIRST_IPV4:
        return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16))
    octets = ((number - FIRST_IPV4) >> _IPV4_SHIFT).to_bytes(4)
    return socket.inet_ntop(socket.AF_INET, octets)


def pack_prefix(prefix: Network) -> int:
    """Return the prefix as one number: its address's, and its length in the last octet."""
    return number_address(prefix.network_address) << 8 | prefix.prefixlen


def unpack_prefix(packed: int) -> Network:
    """Return the prefix that `pack_prefix` made ``packed`` of."""
    address, length = packed >> 8, packed & 0xFF
    if address < FIRST_IPV4:
        return IPv6Network((address, length))
    return IPv4Network(((address - FIRST_IPV4) >> _IPV4_SHIFT, length))


def _unpack_set(name: str, packed: bytes, digest: str) -> PrefixSet:
    numbers = (packed[at : at + _PACKED] for at in range(0, len(packed), _PACKED))
    return PrefixSet(name, tuple(map(int.from_bytes, numbers)), digest)


@dataclass(frozen=True, slots=True)
class Match:
    """What a packet from the mobile network must look like; an empty tuple matches anything.

    The packet is always seen as it leaves the vehicle: source is on board, destination is far.
    ``protocols`` are next header numbers, ``dscp`` 0 to 63, ``ingress`` interface names,
    ``source_macs`` as in "02:00:00:00:00:01". An address matches if it is in any of the prefixes
    or sets of its end: an end that names prefixes of one family matches no packet of the other.
    ``destination_domains`` are as `mrouter.policy.domains` reads them.
    ``none_of`` is what no single field of may match.
    """

    protocols: tuple[int, ...] = ()
    source_ports: tuple[PortRange, ...] = ()
    destination_ports: tuple[PortRange, ...] = ()
    source_prefixes: tuple[Network, ...] = ()
    destination_prefixes: tuple[Network, ...] = ()
    dscp: tuple[int, ...] = ()
    ingress: tuple[str, ...] = ()
    icmpv6_types: tuple[int, ...] = ()
    source_macs: tuple[str, ...] = ()
    source_sets: tuple[PrefixSet, ...] = ()
    destination_sets: tuple[PrefixSet, ...] = ()
    times: tuple[WeekSpan, ...] = ()
    packet_sizes: tuple[SizeRange, ...] = ()
    flow_sizes: tuple[SizeRange, ...] = ()
    destination_domains: tuple[str, ...] = ()
    none_of: Match | None = None


class Choice(Enum):
    """Which of the links of a list that are up is the first: as they are listed, or by measure."""

    FAILOVER = "failover"
    LOWEST_LATENCY = "lowest-latency"
    LOWEST_LOSS = "lowest-loss"
    CHEAPEST = "cheapest"


@dataclass(frozen=True, slots=True)
class Steer:
    """Use the first of ``links`` that is up; drop while none is."""

    links: tuple[str, ...]
    choice: Choice = Choice.FAILOVER


@dataclass(frozen=True, slots=True)
class Bicast:
    """Send a copy over each of the first ``copies`` of ``links`` that are up; drop if none is."""

    links: tuple[str, ...]
    copies: int
    choice: Choice = Choice.FAILOVER


@dataclass(frozen=True, slots=True)
class Tier:
    """Links of one rank: flows are shared by ``weights``, or the first link that is up has all.

    ``weights`` are 1 to 100, one for each of ``links``; none at all where flows are not shared.
    """

    links: tuple[str, ...]
    weights: tuple[int, ...] = ()
    choice: Choice = Choice.FAILOVER

    @property
    def shares(self) -> dict[str, int]:
        """Return each link's weight; {} where flows are not shared."""
        return dict(zip(self.links, self.weights, strict=True)) if self.weights else {}


@dataclass(frozen=True, slots=True)
class Balance:
    """Use the first of ``tiers`` that has a link up; drop while none has.

    ``by_source``: all flows of one host on board go by one link.
    """

    tiers: tuple[Tier, ...]
    by_source: bool = False

    @property
    def links(self) -> tuple[str, ...]:
        """Return every link, the best first: by tier, then by weight, then as written."""
        return tuple(
            link
            for tier in self.tiers
            for link in sorted(tier.links, key=lambda link: -tier.shares.get(link, 0))
        )


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop every packet."""

    @property
    def links(self) -> tuple[str, ...]:
        """Return no links, where the other actions have some."""
        return ()


Action = Steer | Bicast | Balance | Drop


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy: its name, unique in the file, what it matches, and what it does.

    ``remark`` is the DSCP that packets leave with, 0 to 63; None leaves theirs. ``rate_limit`` is
    in octets a second, of all its packets together. ``wait``: while no link can be used packets
    wait for a while instead of being dropped.

    A link that has come back is used after it has been up for ``hold_down`` seconds, unless there
    is no other. ``stay``: running flows keep their link while it is up, though a better one is.
    ``under_quota``: a link is not used that is over its quota.
    """

    name: str
    match: Match
    action: Action
    remark: int | None = None
    hold_down: float = 0.0
    stay: bool = False
    under_quota: bool = False
    wait: bool = False
    rate_limit: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """All policies in file order, first match wins; the last one matches everything."""

    policies: tuple[Policy, ...]

    @property
    def links(self) -> tuple[str, ...]:
        """Return the names of all links that a policy may use, sorted."""
        return tuple(sorted({link for each in self.policies for link in each.action.links}))
