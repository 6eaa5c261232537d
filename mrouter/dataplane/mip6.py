"""Route optimization by the headers of RFC 6275, where the kernel has ``mip6``.

XFRM writes and takes the headers. nftables says for which packets, by the mark that XFRM looks
at: so each of several care-of addresses has states of its own, though XFRM knows a state by the
packet's own addresses alone. Tunnelled packets go on being taken.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.fragments import set_mark
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.dataplane.path_mtu import SYN
from mrouter.dataplane.transformations import (
    Direction,
    Header,
    Transformation,
    TransformationPolicy,
    Transformations,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from ipaddress import IPv6Address

    from mrouter.dataplane.mobile_router import TunnelPath
    from mrouter.dataplane.optimized_routes import OptimizedRoute
    from mrouter.dataplane.state import Encapsulation
    from mrouter.protocol.bindings import CacheEntry

#: The home address in either header, where the kernel itself puts it: 8 octets into it.
_HOME_ADDRESS = "@nh,384,128"
_IS_HOME_ADDRESS_OPTION = "@nh,368,8 201"
#: Which of our bits tell a mobile router's transformed packets, and those still to be.
_SLOT_BITS = marks.ENCAP | marks.OUTER | marks.SLOT_MASK


# --- the mobile router --------------------------------------------------------------------


def transform_mobile_router(
    home: IPv6Address,
    correspondents: Iterable[IPv6Address],
    paths: tuple[TunnelPath, ...],
    routes: Iterable[OptimizedRoute],
) -> Transformations:
    """Return how to send by ``routes``, and how to take what ``correspondents`` send.

    They may send to the care-of address of each of ``paths``.
    """
    states, policies = set(), set()
    for node in correspondents:
        policies.add(TransformationPolicy(Direction.IN, Header.ROUTING, node, home))
        for path in paths:
            mark = marks.mark_slot(path.slot), marks.SLOT_MASK
            states.add(Transformation(Header.ROUTING, node, home, path.care_of_address, *mark))
    for route in routes:
        bits = marks.ENCAP | marks.mark_slot(route.path.slot)
        ends = home, route.correspondent, route.path.care_of_address
        option = Header.HOME_ADDRESS_OPTION
        states.add(Transformation(option, *ends, bits, _SLOT_BITS, bits | marks.OUTER))
        policies.add(TransformationPolicy(Direction.OUT, option, *ends, bits, _SLOT_BITS))
    return Transformations(frozenset(states), frozenset(policies), home)


def make_mobile_router_sets(
    paths: Iterable[TunnelPath],
    routes: Iterable[OptimizedRoute],
    direct: Iterable[TunnelPath],
) -> tuple[NftSet, ...]:
    """Return where packets with a routing header go, and those that have passed postrouting."""
    transformed = {}
    for path in direct:
        mark = marks.ENCAP | marks.mark_slot(path.slot)
        transformed[f"{mark:#010x}"] = "goto plain"
        transformed[f"{mark | marks.OUTER:#010x}"] = f"goto outer_{path.slot}"
    return (
        NftSet(
            "routed",
            "type ipv6_addr : verdict;",
            "map",
            {str(path.care_of_address): f"goto routed_{path.slot}" for path in paths},
        ),
        NftSet(
            "direct",
            "type ipv6_addr;",
            "set",
            {str(route.correspondent): "" for route in routes},
        ),
        NftSet("transformed", "type mark : verdict;", "map", transformed),
    )


def make_mobile_router_chains(
    encapsulation: Encapsulation,
    home: IPv6Address,
    correspondents: Iterable[IPv6Address],
    paths: Iterable[TunnelPath],
    families: Container[Family],
) -> tuple[Chain, ...]:
    """Return the chains that look at headers, the raw ones among them.

    Connection tracking would see the care-of address in one direction and the home address in the
    other, and wrong checksums: it sees neither.
    """
    incoming, outgoing = fragments.raw_chains(encapsulation, families)
    known = ", ".join(map(str, sorted(correspondents)))
    return (
        Chain(
            "early",
            ("ip6 nexthdr 43 meta l4proto != 135 ip6 daddr vmap @routed",),
            # put together, the packet's transport header would be left behind the Home Address
            # option or the routing header, which the kernel then never sees. All fragments have the
            # header, and what is not tracked is not put together so early
            fragments.BEFORE_FRAGMENTS,
        ),
        incoming,
        replace(
            outgoing,
            rules=(*outgoing.rules, f"ip6 saddr {home} ip6 daddr @direct notrack"),
        ),
        *(
            Chain(
                f"routed_{path.slot}",
                (
                    f"ip6 saddr != {{ {known} }} counter name outer_rejected drop",
                    f"{_HOME_ADDRESS} != {int(home):#034x} counter name inner_rejected drop",
                    f"{SYN} jump clamp_{path.slot}",
                    f"counter name downlink-{path.link}",
                    set_mark(0, marks.mark_slot(path.slot)),
                    "notrack",
                ),
            )
            for path in paths
        ),
        # never leak: somebody may have flushed XFRM's policies
        Chain(
            "plain",
            (
                "rt ipsec missing counter name leaks_prevented drop",
                f"{SYN} meta mark & {marks.SLOT_MASK:#010x} vmap @clamp",
                "accept",
            ),
        ),
    )


def transformed_rule() -> str:
    """Return the mobile router's first rule in postrouting."""
    return f"meta mark & {_SLOT_BITS:#010x} vmap @transformed"


# --- the correspondent node ---------------------------------------------------------------


def transform_correspondent_node(
    address: IPv6Address, bindings: Iterable[CacheEntry], routes: Iterable[CacheEntry]
) -> Transformations:
    """Return how to send by ``routes``, and how to take what comes from ``bindings``.

    What is marked `OUTER` goes as it is. All else is transformed, also where a socket looks for
    its route before the output hook can mark the packet: so it knows what fits.
    """
    states, policies = set(), set()
    for entry in bindings:
        states.add(
            Transformation(
                Header.HOME_ADDRESS_OPTION,
                entry.home_address,
                address,
                entry.care_of_address,
                marks.mark_slot(entry.slot),
                marks.SLOT_MASK,
            )
        )
        policies.add(
            TransformationPolicy(
                Direction.IN, Header.HOME_ADDRESS_OPTION, entry.home_address, address
            )
        )
    for route in routes:
        ends = Header.ROUTING, address, route.home_address, route.care_of_address
        states.add(Transformation(*ends))
        policies.add(TransformationPolicy(Direction.OUT, *ends, 0, marks.OUTER))
    return Transformations(frozenset(states), frozenset(policies))


def make_correspondent_node_set(bindings: Iterable[CacheEntry]) -> NftSet:
    """Return which binding's state a Home Address option is for."""
    return NftSet(
        "options",
        f"typeof ip6 saddr . {_HOME_ADDRESS} : verdict; counter;",
        "map",
        {
            f"{entry.care_of_address} . {int(entry.home_address):#034x}": f"goto slot_{entry.slot}"
            for entry in bindings
        },
    )


def make_correspondent_node_chains(
    encapsulation: Encapsulation,
    address: IPv6Address,
    bindings: Iterable[CacheEntry],
    report: str,
) -> tuple[Chain, ...]:
    """Return the raw chains, and those that lead a Home Address option to its binding's state.

    Where no binding stands the option is told to the agent: "the correspondent node MUST send a
    Binding Error" (RFC 6275 §9.3.1). An option elsewhere in its header finds no state, as no mark
    is set.
    """
    incoming, outgoing = fragments.raw_chains(encapsulation)
    return (
        Chain(
            "early",
            (f"ip6 daddr {address} ip6 nexthdr 60 meta l4proto != 135 goto options",),
            fragments.BEFORE_FRAGMENTS,
        ),
        incoming,
        replace(
            outgoing, rules=(*outgoing.rules, f"ip6 saddr {address} ip6 daddr @mobile notrack")
        ),
        Chain(
            "options",
            (
                f"ip6 saddr . {_HOME_ADDRESS} vmap @options",
                f"{_IS_HOME_ADDRESS_OPTION} {report}",
                f"{_IS_HOME_ADDRESS_OPTION} counter name outer_rejected drop",
            ),
        ),
        *(
            Chain(
                f"slot_{slot}",
                (
                    set_mark(0, marks.mark_slot(slot)),
                    "counter name optimized_received",
                    "notrack",
                ),
            )
            for slot in sorted({entry.slot for entry in bindings})
        ),
    )
