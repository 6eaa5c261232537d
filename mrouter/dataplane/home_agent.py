"""The home agent's desired kernel state, from its Binding Cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.home_agent_chains import NO_SLOT, make_ipv4_table, make_table
from mrouter.dataplane.home_bindings import BindingPieces, find_pieces
from mrouter.dataplane.ipv4_sizes import make_size_routing
from mrouter.dataplane.nested import make_nested_routing
from mrouter.dataplane.path_mtu import NarrowPath, make_narrow_routing
from mrouter.dataplane.state import (
    DataplaneState,
    Encapsulation,
    IPv4Exit,
    ProxyNeighbour,
    Route,
    RouteKind,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mrouter.policy.model import Network
    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.flow_bindings import FlowBinding


@dataclass(frozen=True, slots=True)
class HomeAgentView:
    """All that the home agent's kernel state is made from.

    ``served`` are the home addresses and prefixes of every mobile router, registered or not: what
    is for them never leaves in the clear. ``device`` is the way to the Internet (formal: an
    encapsulating route must name a device; the outer packet is routed again). ``home_link`` is the
    interface of a real home link: there the kernel answers for the ``defended`` addresses, and a
    home address that is not bound belongs to a mobile router that is at home. ``flows`` are the
    mobile routers' flow bindings, each router's by priority. ``at_home`` tells the home address
    by which a prefix is reached when its mobile router is at home, where there is a home link.
    ``mtu`` is what ``device`` takes, ``narrow`` are the paths that are known to take less.
    ``served_ipv4`` are the IPv4 networks of every mobile router,
    and ``ipv4_exit`` how they reach the rest of the world; without any nothing is done about IPv4.
    """

    encapsulation: Encapsulation
    address: IPv6Address
    local_addresses: tuple[IPv6Address, ...]
    device: str
    served: tuple[IPv6Network, ...]
    bindings: tuple[CacheEntry, ...]
    home_link: str | None = None
    defended: frozenset[IPv6Address] = frozenset()
    flows: tuple[FlowBinding, ...] = ()
    at_home: Mapping[IPv6Network, IPv6Address] = field(default_factory=dict)
    mtu: int = 1500
    served_ipv4: tuple[IPv4Network, ...] = ()
    ipv4_exit: IPv4Exit = IPv4Exit.ROUTE
    narrow: tuple[NarrowPath, ...] = ()

    @property
    def families(self) -> tuple[Family, ...]:
        """What the tunnels carry."""
        return tuple(Family) if self.served_ipv4 else (Family.IPV6,)


def build_home_agent(view: HomeAgentView) -> DataplaneState:
    """Build the whole kernel state that ``view`` asks for; pure."""
    pieces = {family: find_pieces(view, family) for family in view.families}
    ipv4 = pieces.get(Family.IPV4, BindingPieces((), ()))
    routes, rules = _build_routing(view, pieces[Family.IPV6])
    if view.served_ipv4:
        size_route, size_rule = make_size_routing(view.mtu, NO_SLOT)
        routes |= _list_ipv4_routes(view, ipv4) | {size_route}
        rules |= _list_common_rules(ipv4, Family.IPV4) | {size_rule}
    # a link-local address that is defended has its home address's interface identifier
    routers = {_identify(each.home_address) for each in view.bindings if each.mobile_router}
    return DataplaneState(
        table=make_table(view, pieces[Family.IPV6], ipv4),
        routes=routes,
        rules=rules,
        proxy_neighbours=frozenset(
            ProxyNeighbour(address, view.home_link, router=_identify(address) in routers)
            for address in view.defended
            if view.home_link
        ),
        tunnel_device=view.encapsulation is Encapsulation.IP6TNL,
        tunnel_source=fragments.find_tunnel_source(view.encapsulation),
        ipv4_table=make_ipv4_table(view, ipv4) if view.served_ipv4 else None,
        tunnel_interfaces=_list_tunnel_interfaces(view) if view.served_ipv4 else (),
    )


def _list_tunnel_interfaces(view: HomeAgentView) -> tuple[str, ...]:
    if view.encapsulation is Encapsulation.IP6TNL:
        return (fragments.TUNNEL_DEVICE,)
    return (view.device,)


def _identify(address: IPv6Address) -> int:
    return int(address) & 0xFFFF_FFFF_FFFF_FFFF


@lru_cache(maxsize=4)
def _find_refusing_routes(
    served: tuple[Network, ...],
) -> tuple[dict[Network, Route], frozenset[Route]]:
    """Return what takes the place of a missing primary binding, and what ends strict copies."""
    unreachable = {
        network: Route(marks.PRIMARY_TABLE, network, kind=RouteKind.UNREACHABLE)
        for network in served
    }
    strict = (Route(marks.STRICT_TABLE, network, kind=RouteKind.BLACKHOLE) for network in served)
    return unreachable, frozenset(strict)


def _build_routing(
    view: HomeAgentView, bindings: BindingPieces
) -> tuple[frozenset[Route], frozenset[Rule]]:
    routes = set(fragments.decapsulation_routes(view.encapsulation, view.device, view.families))
    routes |= _list_binding_routes(bindings)
    primary = {network for pieces in bindings.primary for network in pieces.networks}
    # never leak: what is for a mobile router that is away and unreachable goes nowhere
    unreachable, strict = _find_refusing_routes(view.served)
    for network, route in unreachable.items():
        if network in primary or _may_be_at_home(view, network):
            continue
        router = view.at_home.get(network) if isinstance(network, IPv6Network) else None
        if router is not None and view.home_link is not None:
            routes.add(Route(marks.PRIMARY_TABLE, network, view.home_link, router))
        else:
            routes.add(route)
    routes.update(strict)
    rules = fragments.decapsulation_rule_set(view.encapsulation)
    rules |= _list_common_rules(bindings, Family.IPV6)
    for more_routes, more_rules in (
        make_nested_routing(
            view.encapsulation,
            view.served,
            (binding.care_of_address for binding in view.bindings),
            view.device,
        ),
        make_narrow_routing(view.encapsulation, view.narrow),
    ):
        routes |= more_routes
        rules |= more_rules
    return frozenset(routes), frozenset(rules)


def _list_binding_routes(bindings: BindingPieces) -> frozenset[Route]:
    routes: set[Route] = set()
    for pieces in bindings.primary:
        routes.update(pieces.primary_routes)
    for pieces in bindings.all:
        routes.update(pieces.routes)
    return frozenset(routes)


def _list_common_rules(bindings: BindingPieces, family: Family) -> frozenset[Rule]:
    rules = {
        Rule(marks.STRICT_TABLE, marks.STRICT, marks.STRICT, family=family),
        Rule(marks.PRIMARY_TABLE, marks.ENCAP, marks.ENCAP, family=family),
        # what the home agent itself sends is looked up once before the output hook can mark it
        Rule(marks.PRIMARY_TABLE, input_interface="lo", family=family),
    }
    mask = marks.ENCAP | marks.SLOT_MASK
    for slot in bindings.slots:
        bits = marks.ENCAP | marks.mark_slot(slot)
        rules.add(Rule(marks.slot_table(slot), bits, mask, family=family))
    return frozenset(rules)


def _list_ipv4_routes(view: HomeAgentView, bindings: BindingPieces) -> frozenset[Route]:
    primary = {network for pieces in bindings.primary for network in pieces.networks}
    unreachable, strict = _find_refusing_routes(view.served_ipv4)
    missing = (route for network, route in unreachable.items() if network not in primary)
    return _list_binding_routes(bindings) | strict | frozenset(missing)


def _may_be_at_home(view: HomeAgentView, network: Network) -> bool:
    return view.home_link is not None and network.prefixlen == network.max_prefixlen
