"""The whole desired kernel state, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Address, IPv6Network

from mrouter.dataplane.family import Family
from mrouter.dataplane.nft import NftTable
from mrouter.dataplane.transformations import Transformations


class Encapsulation(Enum):
    """How the kernel encapsulates in IPv6; the bytes on the wire are the same."""

    SEG6 = "seg6"
    IP6TNL = "ip6tnl"


class RouteOptimization(Enum):
    """What carries packets between a care-of address and a correspondent node.

    Both ends must use the same: the bytes on the wire are not.
    """

    TUNNEL = "tunnel"
    MIP6 = "mip6"


class IPv4Exit(Enum):
    """How the home agent lets IPv4 packets of mobile networks out.

    ``ROUTE``: as they are, since their prefixes are routed to it. ``NAT``: with an address of its
    own.
    """

    ROUTE = "route"
    NAT = "nat"


@dataclass(frozen=True, slots=True)
class Seg6Encapsulation:
    """Encapsulate to ``segment`` with no routing header (``encap.red`` with one segment)."""

    segment: IPv6Address


@dataclass(frozen=True, slots=True)
class Ip6Encapsulation:
    """Encapsulate by the collect-metadata ``ip6tnl`` device."""

    source: IPv6Address
    destination: IPv6Address


@dataclass(frozen=True, slots=True)
class Seg6Decapsulation:
    """Decapsulate packets of ``family``; look them up in ``table``, or by the ordinary rules."""

    table: int | None = None
    family: Family = Family.IPV6


class RouteKind(Enum):
    """What a route does with its packets."""

    UNICAST = "unicast"
    UNREACHABLE = "unreachable"
    BLACKHOLE = "blackhole"


@dataclass(frozen=True, slots=True)
class Route:
    """A route of ours, identified by table and destination; ``mtu`` is None for the device's.

    ``mtu`` is what its path takes, where that is less than its device does; it also holds for what
    is forwarded, and the kernel does not learn another by itself.
    Its hash is computed once: a home agent compares some ten thousand of them at each change.
    """

    table: int
    destination: IPv4Network | IPv6Network
    device: str = ""
    via: IPv6Address | None = None
    tunnel: Seg6Encapsulation | Ip6Encapsulation | Seg6Decapsulation | None = None
    kind: RouteKind = RouteKind.UNICAST
    mtu: int | None = None
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        """Compute the hash."""
        where = (self.table, self.destination, self.device, self.via)
        parts = (*where, self.tunnel, self.kind, self.mtu)
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        """Return the hash."""
        return self._hash


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of ours; ``table`` is also its preference. No ``table`` look-up if unreachable.

    ``input_interface`` "lo" means what this machine itself sends. ``local`` looks into the main
    table, for all but its default routes, instead of ``table``.
    """

    table: int
    mark: int = 0
    mask: int = 0
    source: IPv6Address | IPv4Network | None = None
    input_interface: str = ""
    unreachable: bool = False
    local: bool = False
    family: Family = Family.IPV6


@dataclass(frozen=True, slots=True)
class ProxyNeighbour:
    """An address that the kernel answers Neighbour Solicitations for on ``device``.

    ``router``: it is a mobile router's, whose advertisements "MUST" say so (RFC 3963 §6.2).
    """

    address: IPv6Address
    device: str
    router: bool = False


@dataclass(frozen=True, slots=True)
class DataplaneState:
    """Everything that the kernel shall hold for us, and nothing else under our names.

    ``tunnel_device`` asks for the collect-metadata ``ip6tnl`` device, ``tunnel_source`` for seg6's
    default outer source. ``router_advertisement_interfaces`` get ``accept_ra`` 2 where it was 1,
    since ``forwarding`` would switch it off; a host does not forward. ``transformations`` are the
    headers that ``mip6`` writes and takes.

    ``ipv4_table`` is None where no IPv4 is carried; else IPv4 is forwarded too, and what comes by
    ``tunnel_interfaces`` may have any source, which is an inner one (`rp_filter`).
    ``flow_accounting``: connection tracking counts what flows carry that begin from then on.
    """

    table: NftTable
    routes: frozenset[Route]
    rules: frozenset[Rule]
    tunnel_device: bool = False
    tunnel_source: IPv6Address | None = None
    router_advertisement_interfaces: tuple[str, ...] = ()
    proxy_neighbours: frozenset[ProxyNeighbour] = frozenset()
    forwarding: bool = True
    flow_accounting: bool = False
    transformations: Transformations = field(default_factory=Transformations)
    ipv4_table: NftTable | None = None
    tunnel_interfaces: tuple[str, ...] = ()

    @property
    def tables(self) -> dict[Family, NftTable]:
        """The nft tables by their family."""
        tables = (self.table, self.ipv4_table)
        return {table.family: table for table in tables if table is not None}
