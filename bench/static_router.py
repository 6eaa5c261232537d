"""Two hand-made tunnels and a keepalive script at both ends, as they are built without mrouter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address

from bench.failover_causes import (
    CARRIER,
    DRAIN,
    ROUTE,
    SILENT_UPLINK,
    Cause,
    cut,
    end_silence,
    restore,
    silence_uplink,
)
from bench.failover_labs import FAILING, SPARE, run_ip, wait_for
from mrouter.lab import plan
from mrouter.lab.topology import Topology

PING_INTERVAL = PING_TIMEOUT = 1
"""Seconds from a ping's end to the next, and for its answer."""
MISSED_FOR_DOWN, ANSWERED_FOR_UP = 2, 1
_SEGMENTS = IPv6Address("2001:db8:5e6::")
_RETURN_TIMEOUT = 30.0
_DETECTION = MISSED_FOR_DOWN * (PING_INTERVAL + PING_TIMEOUT)
"""Seconds until the script must have noticed."""

_KEEPALIVE = f"""\
source=$1 target=$2; shift 2
missed=0 answered=0 up=yes
while :; do
    if ping -6 -n -q -c 1 -W {PING_TIMEOUT} -I "$source" "$target" >/dev/null 2>&1; then
        missed=0 answered=$((answered + 1))
        if [ $up = no ] && [ $answered -ge {ANSWERED_FOR_UP} ]; then
            ip -6 route replace "$@" && up=yes
        fi
    else
        answered=0 missed=$((missed + 1))
        if [ $up = yes ] && [ $missed -ge {MISSED_FOR_DOWN} ]; then
            ip -6 route del "$@"
            up=no
        fi
    fi
    sleep {PING_INTERVAL}
done
"""


class Tunnel:
    """The addresses and routes of one link's tunnel; the lower ``metric`` is used.

    Its ends are segments of their own instead of the nodes' addresses, so that a route is all that
    decapsulates: one for what is forwarded, one for what is pinged.
    """

    def __init__(self, link: plan.EgressLink) -> None:
        base = _SEGMENTS + 0x100 * (1 + plan.EGRESS_LINKS.index(link))
        self.link = link
        self.ha_data, self.ha_ping, self.ha_pinged = base + 1, base + 2, base + 3
        self.mr_data, self.mr_ping, self.mr_pinged = base + 4, base + 5, base + 6

    @property
    def uplink_route(self) -> str:
        """Give the mobile router's route through this tunnel."""
        return f"{plan.CN_ADDRESS} {_encapsulate(self.ha_data)} {self._way_out} {self._metric}"

    @property
    def downlink_route(self) -> str:
        """Give the home router's route through this tunnel."""
        return f"{plan.MOBILE_NETWORK_PREFIX} {_encapsulate(self.mr_data)} dev wan0 {self._metric}"

    @property
    def internet_routes(self) -> list[str]:
        """Give how the Internet reaches the vehicle's end; a cut takes these away."""
        return [
            f"{segment} via {self.link.care_of_address} dev {self.link.name}"
            for segment in (self.mr_data, self.mr_ping)
        ]

    def build(self, topology: Topology) -> None:
        """Make the tunnel's ends and routes."""
        run_ip(
            topology,
            "mr",
            f"addr add {self.mr_pinged}/128 dev lo nodad",
            f"route add {self.ha_data} {self._way_out}",
            f"route add {self.ha_ping} {self._way_out}",
            f"route add {self.ha_pinged} {_encapsulate(self.ha_ping)} {self._way_out}",
            *_decapsulate(self.mr_data, self.mr_ping, "lan0"),
            f"route add {self.uplink_route}",
        )
        run_ip(
            topology,
            "net",
            *(f"route add {segment} via {plan.HA_ADDRESS}" for segment in self._ha_segments),
            *(f"route add {route}" for route in self.internet_routes),
        )
        run_ip(
            topology,
            "ha",
            f"addr add {self.ha_pinged}/128 dev lo nodad",
            f"route add {self.mr_pinged} {_encapsulate(self.mr_ping)} dev wan0",
            *_decapsulate(self.ha_data, self.ha_ping, "wan0"),
            f"route add {self.downlink_route}",
        )

    def keep_alive(self, topology: Topology) -> None:
        """Run the script at both ends."""
        ends: tuple[tuple[plan.NodeName, IPv6Address, IPv6Address, str], ...] = (
            ("mr", self.mr_pinged, self.ha_pinged, self.uplink_route),
            ("ha", self.ha_pinged, self.mr_pinged, self.downlink_route),
        )
        for node, source, target, route in ends:
            script = ["sh", "-c", _KEEPALIVE, "keepalive", str(source), str(target)]
            topology.run_in(node, [*script, *route.split()], label=f"{node}-{self.link.name}")

    @property
    def _ha_segments(self) -> tuple[IPv6Address, IPv6Address]:
        return self.ha_data, self.ha_ping

    @property
    def _way_out(self) -> str:
        return f"via {self.link.gateway} dev {self.link.interface}"

    @property
    def _metric(self) -> str:
        return f"metric {self.link.metric}"


class StaticRouter:
    """A running lab with the two tunnels."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.failing, self.spare = Tunnel(FAILING), Tunnel(SPARE)

    def wait_until_whole(self) -> None:
        """Wait until both scripts have taken the first tunnel back."""
        wait_for(self._is_whole, "the first tunnel's routes", _RETURN_TIMEOUT)

    def _is_whole(self) -> bool:
        ends: tuple[tuple[plan.NodeName, str, IPv6Address], ...] = (
            ("mr", str(plan.CN_ADDRESS), self.failing.ha_data),
            ("ha", str(plan.MOBILE_NETWORK_PREFIX), self.failing.mr_data),
        )
        return all(
            f"segs 1 [ {segment} ]"
            in self.topology.execute(node, ["ip", "-6", "route", "show", destination]).stdout
            for node, destination, segment in ends
        )


@contextmanager
def build_static_router() -> Iterator[StaticRouter]:
    """Build both tunnels, and start their scripts."""
    with Topology(shaped=False) as topology:
        # a route by a link without a carrier is not used, where the kernel is asked for that
        ignore = "net.ipv6.conf.all.ignore_routes_with_linkdown=1"
        topology.execute("mr", ["sysctl", "-q", ignore])
        for link in (FAILING, SPARE):
            name = f"net.ipv6.conf.{link.interface}.ignore_routes_with_linkdown=1"
            topology.execute("mr", ["sysctl", "-q", name])
        router = StaticRouter(topology)
        for tunnel in (router.failing, router.spare):
            tunnel.build(topology)
        for tunnel in (router.failing, router.spare):
            tunnel.keep_alive(topology)
        yield router


def _encapsulate(segment: IPv6Address) -> str:
    return f"encap seg6 mode encap.red segs {segment}"


def _decapsulate(data: IPv6Address, ping: IPv6Address, interface: str) -> list[str]:
    local_table = 255
    return [
        f"route add {data} encap seg6local action End.DX6 nh6 :: dev {interface}",
        f"route add {ping} encap seg6local action End.DT6 table {local_table} dev {interface}",
    ]


def _restore(router: StaticRouter) -> None:
    restore(router)
    routes = (f"route replace {route}" for route in router.failing.internet_routes)
    run_ip(router.topology, "net", *routes)


def _remove_route(router: StaticRouter) -> None:
    run_ip(router.topology, "mr", f"route del {router.failing.uplink_route}")


def _add_route(router: StaticRouter) -> None:
    run_ip(router.topology, "mr", f"route replace {router.failing.uplink_route}")


def _swap_by_hand(router: StaticRouter) -> None:
    _remove_route(router)
    run_ip(router.topology, "ha", f"route del {router.failing.downlink_route}")


def _swap_back(router: StaticRouter) -> None:
    _add_route(router)
    run_ip(router.topology, "ha", f"route replace {router.failing.downlink_route}")


_WINDOW = max(_DETECTION, 6.2) + 0.4
"""A TCP that lost its tunnel for 3 s and more repeats at 3.0 and at 6.2 s (RFC 6298)."""
STATIC_CAUSES: dict[str, Cause[StaticRouter]] = {
    CARRIER: Cause(CARRIER, _WINDOW, cut, _restore),
    SILENT_UPLINK: Cause(SILENT_UPLINK, _WINDOW, silence_uplink, end_silence),
    ROUTE: Cause(ROUTE, 0.2, _remove_route, _add_route),
    DRAIN: Cause(DRAIN, 0.2, _swap_by_hand, _swap_back),
}
