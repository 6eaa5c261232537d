"""The parts of a mobile router's status, as JSON can carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrouter.agent.base import NO_TRAFFIC, Traffic
from mrouter.dataplane.path_mtu import find_tunnel_mtu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from ipaddress import IPv4Network

    from mrouter.agent.usage import UsageLedger
    from mrouter.config.model import LinkConfig
    from mrouter.dataplane.mobile_router import TunnelPath
    from mrouter.dataplane.optimized_routes import OptimizedRoute
    from mrouter.links.egress import EgressLink
    from mrouter.protocol.bindings import RouteEntry, UpdateListEntry
    from mrouter.protocol.ipv4_networks import IPv4State
    from mrouter.wire.home_discovery import HomePrefix


def describe_prefix(prefix: HomePrefix) -> dict[str, Any]:
    """Return what the home agent tells of a home prefix."""
    return {
        "prefix": str(prefix.prefix),
        "valid_lifetime": prefix.valid_lifetime,
        "preferred_lifetime": prefix.preferred_lifetime,
    }


def describe_links(
    links: Iterable[EgressLink],
    configured: Iterable[LinkConfig],
    paths: Iterable[TunnelPath],
    counters: Traffic,
    quotas: Mapping[str, dict[str, Any]],
    describe_probes: Callable[[str], dict[str, Any]],
    describe_radio: Callable[[str], dict[str, Any] | None],
) -> list[dict[str, Any]]:
    """Return how the egress links are, what has gone by them, and how their ``quotas`` stand.

    ``paths`` tell what their tunnels take, ``describe_probes`` says how a link's probes fare,
    ``describe_radio`` what is known of its radio.
    """
    costs = {link.name: link.cost for link in configured}
    mtus: dict[str, int] = {}
    for path in paths:
        mtus[path.link] = min(path.mtu, mtus.get(path.link, path.mtu))
    return [
        {
            **_describe_link(link, counters),
            **describe_mtu(mtus.get(link.name)),
            "cost": costs[link.name],
            "quota": quotas.get(link.name),
            **describe_probes(link.name),
            "radio": describe_radio(link.name),
        }
        for link in links
    ]


def _describe_link(link: EgressLink, counters: Traffic) -> dict[str, Any]:
    return {
        "name": link.name,
        "interface": link.interface,
        "up": link.up,
        "at_home": link.at_home,
        "reason": link.reason,
        "addresses": [str(address) for address in link.addresses],
        "gateway": None if link.gateway is None else str(link.gateway),
        "uplink": counters.get(f"uplink-{link.name}", NO_TRAFFIC),
        "downlink": counters.get(f"downlink-{link.name}", NO_TRAFFIC),
    }


def describe_mtu(path_mtu: int | None) -> dict[str, int | None]:
    """Return what a path takes, and the tunnel in it; None where there is no tunnel."""
    tunnel_mtu = None if path_mtu is None else find_tunnel_mtu(path_mtu)
    return {"path_mtu": path_mtu, "tunnel_mtu": tunnel_mtu}


def describe_entry(entry: UpdateListEntry, now: float) -> dict[str, Any]:
    """Return a binding of the Binding Update List; ``now`` in monotonic seconds."""
    left = 0.0 if entry.expires_at is None else max(0.0, entry.expires_at - now)
    return {
        "link": entry.link,
        "care_of_address": str(entry.care_of_address),
        "ifid": entry.ifid,
        "ifpri": entry.ifpri,
        "slot": entry.slot,
        "state": entry.state.value,
        "usable": entry.usable,
        "lifetime_left": round(left, 3),
        "status": entry.status,
        "ipv4_prefixes": [str(prefix) for prefix in entry.ipv4_prefixes],
    }


def describe_ipv4(
    networks: Iterable[IPv4Network], states: Iterable[IPv4State]
) -> list[dict[str, Any]]:
    """Return the IPv4 networks on board; those without a state have no home agent yet."""
    names = {state.network: state.name for state in states}
    return [
        {"prefix": str(network), "state": names.get(network, "pending")} for network in networks
    ]


def describe_routes(
    routes: Iterable[RouteEntry], optimized: Iterable[OptimizedRoute], now: float
) -> list[dict[str, Any]]:
    """Return the bindings at correspondent nodes, and which of them are in use."""
    in_use = {(route.correspondent, route.path.care_of_address) for route in optimized}
    return [
        {
            "correspondent": str(route.correspondent),
            **describe_entry(route.binding, now),
            "in_use": (route.correspondent, route.binding.care_of_address) in in_use,
        }
        for route in routes
    ]


def describe_traffic(ledger: UsageLedger) -> list[dict[str, Any]]:
    """Return what each policy's flows have had of each link in each direction."""
    return [
        {
            "policy": policy,
            "link": link,
            "direction": direction,
            "packets": packets,
            "bytes": octets,
        }
        for policy, link, direction, packets, octets in ledger
    ]
