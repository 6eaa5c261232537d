"""The lab's address plan: nodes, links and prefixes, all out of the documentation prefix."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Literal, get_args

NodeName = Literal["lfn", "mr", "net", "ha", "cn"]
"""A fixed node on board, the mobile router, the Internet, the home agent, a correspondent node."""

LinkName = Literal["lte", "wifi", "sat"]

NODES: tuple[NodeName, ...] = get_args(NodeName)

MOBILE_NETWORK_PREFIX = IPv6Network("2001:db8:a1::/64")
MR_INGRESS_ADDRESS = IPv6Address("2001:db8:a1::1")
LFN_ADDRESS = IPv6Address("2001:db8:a1::10")

HOME_PREFIX = IPv6Network("2001:db8:f1::/64")
HOME_ADDRESS = IPv6Address("2001:db8:f1::100")
HA_GATEWAY = IPv6Address("2001:db8:f0::1")
HA_ADDRESS = IPv6Address("2001:db8:f0::2")

CN_GATEWAY = IPv6Address("2001:db8:c::1")
CN_ADDRESS = IPv6Address("2001:db8:c::10")

INNER_MTU = 1460
"""1500 less the 40 octets of the tunnel's header: what hosts send fits into the tunnel."""


@dataclass(frozen=True, slots=True)
class EgressLink:
    """One way out of the vehicle; ``rate`` is in Mbit/s, ``metric`` is its default route's."""

    name: LinkName
    prefix: IPv6Network
    rate: int
    ifpri: int
    metric: int

    @property
    def interface(self) -> str:
        """Name the mobile router's end; the Internet's end is called as the link is."""
        return f"{self.name}0"

    @property
    def gateway(self) -> IPv6Address:
        """Give the Internet's address on this link."""
        return self.prefix[1]

    @property
    def care_of_address(self) -> IPv6Address:
        """Give the mobile router's address on this link."""
        return self.prefix[2]


EGRESS_LINKS = (
    EgressLink("lte", IPv6Network("2001:db8:1::/64"), rate=50, ifpri=0, metric=100),
    EgressLink("wifi", IPv6Network("2001:db8:2::/64"), rate=100, ifpri=1, metric=200),
    EgressLink("sat", IPv6Network("2001:db8:3::/64"), rate=10, ifpri=2, metric=300),
)


def find_link(name: str) -> EgressLink:
    """Give the egress link called ``name``; raise KeyError if there is none."""
    for link in EGRESS_LINKS:
        if link.name == name:
            return link
    raise KeyError(name)


def draw_topology() -> str:
    """Draw the lab in ASCII, for a reader who wants to know what runs."""
    lte, wifi, sat = EGRESS_LINKS
    return f"""\
  vehicle                                                        home
 +-----+  lan0  +----+-- lte0  {lte.rate:>3} Mbit/s  lte --+-----+      +----+
 | LFN |--------| MR |-- wifi0 {wifi.rate:>3} Mbit/s wifi --| net |--ha--| HA |
 +-----+        +----+-- sat0  {sat.rate:>3} Mbit/s  sat --+-----+      +----+
                                                    |
                                                    cn  +----+
                                                    +---| CN |
                                                        +----+
 LFN {LFN_ADDRESS}       in the mobile network prefix {MOBILE_NETWORK_PREFIX}
 MR  {HOME_ADDRESS}      its home address; care-of addresses {lte.care_of_address},
                            {wifi.care_of_address} and {sat.care_of_address}
 HA  {HA_ADDRESS}        for the home prefix {HOME_PREFIX}
 CN  {CN_ADDRESS}
 Between MR and HA all of LFN's packets are in tunnels, one for each link."""
