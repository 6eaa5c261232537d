"""The mobile router's agent."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from ipaddress import IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrouter.agent.base import Agent, Traffic
from mrouter.agent.drained_links import DrainedLinks
from mrouter.agent.flows import list_flows
from mrouter.agent.journal import note
from mrouter.agent.link_measures import LinkMeasures
from mrouter.agent.memory import (
    MobileRouterMemory,
    decode_router_memory,
    encode_router_memory,
)
from mrouter.agent.name_watch import NameWatch
from mrouter.agent.overtaken import forget_overtaken
from mrouter.agent.policies_in_force import PoliciesInForce
from mrouter.agent.prober import Prober
from mrouter.agent.quota_watch import QuotaWatch
from mrouter.agent.radio_watch import RadioWatch
from mrouter.agent.router_status import (
    describe_entry,
    describe_ipv4,
    describe_links,
    describe_prefix,
    describe_routes,
)
from mrouter.agent.tunnel_paths import find_optimized, find_paths, rank_entry
from mrouter.agent.waiting import Waiting
from mrouter.control import ControlError
from mrouter.dataplane.family import Family
from mrouter.dataplane.mobile_router import (
    HomePath,
    MobileRouterView,
    build_mobile_router,
    choose_paths,
)
from mrouter.dataplane.state import RouteOptimization
from mrouter.dataplane.steering import LinkFacts
from mrouter.dataplane.xfrm import require_mip6
from mrouter.errors import DataplaneError
from mrouter.links.egress import (
    EgressLink,
    find_egress_links,
    find_local_addresses,
    find_up_interface,
)
from mrouter.links.home_link import HomeLink
from mrouter.links.outer_sender import Tunnel
from mrouter.links.packet_errors import PacketErrorSocket, PacketErrorType
from mrouter.loader import ConfigLoading
from mrouter.policy.table_codec import encode_table
from mrouter.protocol.discovering_router import DiscoveringMobileRouter
from mrouter.protocol.events import (
    AdvertiseNeighbour,
    BindingsChanged,
    CorrespondentsChanged,
    DiscoveryReceived,
    EgressAddress,
    EgressChanged,
    FlowsWanted,
    HomeAgentReached,
    PeerWithoutMobility,
    StopRequested,
    TimerFired,
)
from mrouter.protocol.keys import PacketSigner
from mrouter.protocol.mobile_router import MobileRouter
from mrouter.protocol.prefix_watch import PrefixWatch
from mrouter.protocol.update_list import Binding, restore_binding
from mrouter.wire.home_discovery import PrefixAdvertisement
from mrouter.wire.icmpv6 import parse_unrecognized_mobility_header

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address

    from mrouter.config.model import MobileRouterConfig
    from mrouter.dataplane.mobile_router import TunnelPath
    from mrouter.dataplane.optimized_routes import OptimizedRoute
    from mrouter.dataplane.state import DataplaneState
    from mrouter.policy.model import PolicyTable
    from mrouter.protocol.events import Effect, Event, Instant
    from mrouter.wire.messages import Packet
    from mrouter.wire.tunnelled import TunnelledPacket

#: How often links are compared, in seconds, while a policy goes by what is measured of them.
_MEASURE_INTERVAL = 1.0


class MobileRouterAgent(Agent):
    """Registers every egress link, and steers the mobile network's flows over them."""

    role_name = "mobile-router"

    def __init__(self, config: MobileRouterConfig, policies: PolicyTable, path: Path) -> None:
        """Open the sockets; ``policies`` are those of the configuration's policy file.

        ``path`` is the configuration's, for a reload.

        :raises DataplaneError: where a privilege or a kernel feature is missing.
        """
        self._mobile = config
        self._path = path
        self._settings = config.settings
        self._policies = PoliciesInForce(
            policies, self._now(), push=config.push_policies, may_weaken=config.may_weaken
        )
        super().__init__(config, f"{self._settings.home_address} {self._settings.home_agent}")
        self._quotas = QuotaWatch(
            config.links,
            config.state_directory,
            self._routes,
            lambda: self._process([TimerFired()]),
        )
        self._radios = RadioWatch(config.links, self._events, lambda: self._process([TimerFired()]))
        self._optimization = RouteOptimization[config.route_optimization.name]
        require_mip6(self._optimization)
        memory = self._memory.load(decode_router_memory)
        self._role = self._restore_role(memory)
        names = () if memory is None else memory.names
        self._drained = DrainedLinks(
            (link.name for link in config.links), () if memory is None else memory.drained
        )
        self._families = tuple(Family) if self._settings.ipv4_prefixes else (Family.IPV6,)
        self._names = NameWatch(
            self._dataplane, self._events, self._families, names, lambda: self._process(())
        )
        self._prefix_watch = PrefixWatch(self._settings.home_address, random.SystemRandom())
        security = config.settings.security
        self._signer = None if security is None else PacketSigner(security)
        self._waiting = Waiting(self._routes)
        self._measures = LinkMeasures(config.costs)
        self._measure_at: float | None = None
        self._links: tuple[EgressLink, ...] = ()
        self._links_towards = self._role.home_agent
        self._unrecognized = PacketErrorSocket(
            PacketErrorType.PARAMETER_PROBLEM, parse_unrecognized_mobility_header
        )
        self._prober = Prober(
            self._settings,
            config.links,
            self._read_counters,
            self._on_health,
            lambda reached: self._process([HomeAgentReached(reached)]),
            self._events,
        )

    def _restore_role(
        self, memory: MobileRouterMemory | None
    ) -> MobileRouter | DiscoveringMobileRouter:
        now, renewal = time.monotonic(), self._settings.ifid_renewal
        generator = random.SystemRandom()
        kept: list[Binding] = []
        if memory is not None:
            kept = [restore_binding(Binding, entry, now, renewal) for entry in memory.bindings]
        role: MobileRouter | DiscoveringMobileRouter
        if self._mobile.discover:
            known = None if memory is None or not kept else memory.home_agent
            role = DiscoveringMobileRouter(self._settings, generator, kept, known)
        else:
            role = MobileRouter(self._settings, generator, kept)
        if memory is not None:
            role.restore_routes(memory.routes, now)
        return role

    def _handle(self, event: Event, now: Instant) -> list[Effect]:
        if isinstance(event, DiscoveryReceived) and isinstance(
            event.packet.message, PrefixAdvertisement
        ):
            effects: list[Effect] = []
        else:
            effects = self._role.handle(event, now) + self._leave_deprecated(now)
        effects += self._prefix_watch.handle(
            event, self._role.entries, self._role.home_agent, now.monotonic
        )
        if self._steer(now):
            effects += [BindingsChanged(), *self._role.handle(self._want_flows(), now)]
        return effects

    def _leave_deprecated(self, now: Instant) -> list[Effect]:
        """Leave the deprecated addresses that have been used until others were registered."""
        if not any(link.deprecated for link in self._links):
            return []
        former = self._links
        self._find_links()
        return self._role.handle(self._describe_egress(), now) if self._links != former else []

    def _steer(self, now: Instant) -> bool:
        """Look at the links once more; return whether flows are to be treated otherwise."""
        up = frozenset(choose_paths(self._find_paths()))
        measures = self._measures.level(self._prober.quality)
        wanted = self._policies.needs_probes
        self._measure_at = now.monotonic + _MEASURE_INTERVAL if wanted else None
        facts = LinkFacts(up, self._quotas.over, measures, self._radios.weak)
        return self._policies.update(facts, now, self._dataplane)

    def _want_flows(self) -> FlowsWanted:
        return FlowsWanted(self._policies.list_wanted())

    def _next_deadline(self) -> float | None:
        deadlines = (
            self._role.next_deadline(),
            self._prefix_watch.next_deadline(),
            self._policies.next_deadline,
            self._measure_at,
        )
        return min((at for at in deadlines if at is not None), default=None)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_reader(self._unrecognized.fileno(), self._on_unrecognized)
        self._quotas.start(loop)
        self._radios.start(loop)
        self._prober.open(loop)
        self._furnish(loop)

    def _furnish(self, loop: asyncio.AbstractEventLoop) -> None:
        waits = any(policy.wait for policy in self._policies.table.policies)
        self._waiting.furnish(loop, wanted=waits)
        self._prober.by_default = self._policies.needs_probes
        self._names.follow(self._policies, loop)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._unrecognized.fileno())
        self._unrecognized.close()
        self._waiting.furnish(loop, wanted=False)
        self._names.close(loop)
        self._quotas.stop()
        self._radios.stop()
        self._prober.close(loop)

    def _on_health(self) -> None:
        self._process(self._links_changed(), apply=True)

    def _on_unrecognized(self) -> None:
        peers = {
            sender
            for sender, packet in self._unrecognized.receive()
            if packet.destination == sender and packet.source in self._local_addresses
        }
        self._process(PeerWithoutMobility(address) for address in sorted(peers))

    def _find_signer(self, home_address: IPv6Address, packet: Packet) -> PacketSigner | None:
        return self._signer

    def _find_interface(self, link: str | None) -> str | None:
        return next((item.interface for item in self._mobile.links if item.name == link), None)

    def _list_tunnels(self) -> tuple[tuple[TunnelPath, IPv6Address], ...]:
        """Return each tunnel's path and far end."""
        paths = self._find_paths()
        return (
            *((path, self._role.home_agent) for path in paths),
            *((route.path, route.correspondent) for route in self._find_optimized(paths)),
        )

    def _find_path_mtu(self, packet: TunnelledPacket) -> int | None:
        if not any(packet.inner_source in network for network in self._home_networks()):
            return None
        ends = packet.source, packet.destination
        return next(
            (path.mtu for path, far in self._list_tunnels() if (path.care_of_address, far) == ends),
            None,
        )

    def _find_tunnel(self, slot: int, destination: IPv6Address) -> Tunnel | None:
        return next(
            (
                Tunnel(path.care_of_address, far, path.mtu)
                for path, far in self._list_tunnels()
                if path.slot == slot and far in (self._role.home_agent, destination)
            ),
            None,
        )

    def _find_links(self) -> None:
        self._links_towards = self._role.home_agent
        self._links = find_egress_links(
            [(link.name, link.interface) for link in self._mobile.links],
            self._snapshot,
            self._links_towards,
            self._settings.home_address,
            self._settings.prefixes,
            {entry.care_of_address for entry in self._role.entries if entry.usable},
        )

    def _links_changed(self) -> list[Event]:
        self._waiting.restore(asyncio.get_running_loop())
        self._find_links()
        return [self._describe_egress()]

    def _describe_egress(self) -> EgressChanged:
        priorities = self._mobile.priorities
        addresses = tuple(
            EgressAddress(link.name, link.interface, address, priorities[link.name])
            for link in self._links
            for address in link.addresses
            if not self._prober.is_down(link.name, address)
        )
        return EgressChanged(self._drained.leave_out(addresses))

    def _stop_events(self) -> list[Event]:
        return [StopRequested(self._mobile.deregister_on_stop)]

    def _start_events(self) -> list[Event]:
        return [self._want_flows()]

    async def _reload(self) -> list[Event]:
        loaded = await asyncio.to_thread(lambda: ConfigLoading(self._path).wait_for_config())
        if not isinstance(loaded, tuple) or _find_fixed(loaded[0]) != _find_fixed(self._mobile):
            raise ControlError(
                f"{self._path}: only the policy file, push-policies and correspondents"
                " change while the agent runs: restart it for the rest"
            )
        self._policies.count_usage(self._dataplane)
        config, table = loaded
        push = config.push_policies
        take_back = self._policies.replace(table, push=push, now=self._now())
        try:
            self._furnish(asyncio.get_running_loop())
            self._dataplane.apply(self._build())
        except DataplaneError:
            # more than this kernel takes: it holds what it held, and goes on with that
            take_back()
            self._furnish(asyncio.get_running_loop())
            self._apply()
            raise
        self._mobile = config
        correspondents = config.settings.correspondents
        return [*self._start_events(), CorrespondentsChanged(correspondents)]

    def _act(self, effect: Effect) -> None:
        home = self._find_home_path()
        if isinstance(effect, AdvertiseNeighbour) and home is not None:
            try:
                with closing(HomeLink(home.interface)) as home_link:
                    for address in effect.addresses:
                        home_link.advertise(address)
            except OSError as error:
                note("home-link-unavailable", logging.ERROR, error=str(error))

    def _find_home_path(self) -> HomePath | None:
        """Return the way from here while the primary interface is at home (the draft §7.8)."""
        priorities = self._mobile.priorities
        up = [link for link in self._links if link.up and not self._prober.is_dead(link)]
        primary = min(up, key=lambda link: priorities[link.name], default=None)
        if primary is None or not primary.at_home:
            return None
        return HomePath(primary.name, primary.interface, primary.gateway)

    def _remember(self) -> Any:
        role, names = self._role, self._names.list_rows()
        return encode_router_memory(
            MobileRouterMemory(
                role.home_agent, role.entries, role.routes, names, self._drained.names
            )
        )

    def _home_networks(self) -> tuple[IPv6Network, ...]:
        return (IPv6Network(self._settings.home_address), *self._settings.prefixes)

    def _build(self) -> DataplaneState:
        if self._links_towards != self._role.home_agent:
            self._find_links()  # the next hop may be another
        paths = self._find_paths()
        egress = tuple(link.interface for link in self._mobile.links)
        local = find_local_addresses(self._snapshot, self._home_networks())
        return build_mobile_router(
            MobileRouterView(
                encapsulation=self._encapsulation,
                home_agent=self._role.home_agent,
                home_address=self._settings.home_address,
                prefixes=self._settings.prefixes,
                ingress=self._mobile.ingress,
                egress=egress,
                links=tuple(link.name for link in self._mobile.links),
                paths=paths,
                local_addresses=tuple(sorted({*local, self._settings.home_address})),
                device=self._find_device((*self._mobile.ingress, *egress)),
                policies=self._policies.timetable.active,
                numbers=self._policies.steering.numbers,
                treatments=self._policies.steering.treatments,
                size_steps=self._policies.steering.size_steps,
                known_names=self._names.list_known(),
                correspondents=self._list_correspondents(),
                optimized=self._find_optimized(paths),
                optimization=self._optimization,
                home_path=self._find_home_path(),
                waiting=self._waiting.device,
                ipv4_prefixes=self._settings.ipv4_prefixes,
            )
        )

    def _list_correspondents(self) -> tuple[IPv6Address, ...]:
        return tuple(dict.fromkeys(route.correspondent for route in self._role.routes))

    def _find_device(self, names: tuple[str, ...]) -> str:
        device = find_up_interface(self._snapshot, names)
        if device is None:
            raise DataplaneError(
                "find an interface that is up",
                f"none of {', '.join(names)} is",
                "set one up; the agent tries again by itself",
            )
        return device

    def _find_paths(self) -> tuple[TunnelPath, ...]:
        learnt = self._path_mtus.learnt
        return find_paths(self._role.entries, self._links, self._role.home_agent, learnt)

    def _find_optimized(self, paths: Iterable[TunnelPath]) -> tuple[OptimizedRoute, ...]:
        return find_optimized(self._role.routes, paths, self._links, self._path_mtus.learnt)

    def _forwarding_succeeded(self) -> None:
        # what was counted until now was sent as it was before; not earlier, for a failover must
        # not wait until thousands of counters have been read
        self._policies.count_usage(self._dataplane)
        paths = self._find_paths()
        self._prober.follow(self._role.home_agent, paths, self._links)
        up = choose_paths(paths)
        self._policies.take_effect(paths, up)
        if up or self._find_home_path() is not None:
            self._waiting.release()
        begun = self._policies.timetable.take_begun()
        if begun:
            active, names = self._policies.timetable.active, self._policies.names
            forget = partial(forget_overtaken, self._families, active, names, begun)
            # thousands of flows take a while to read
            asyncio.get_running_loop().run_in_executor(None, forget)

    async def _answer(self, command: str) -> Any:
        if command == "flows":
            active = self._policies.steering.list_links(choose_paths(self._find_paths()))
            ipv4 = bool(self._settings.ipv4_prefixes)
            return await asyncio.to_thread(list_flows, self._policies.names, active, ipv4=ipv4)
        if self._drained.obey(command):
            self._process(self._links_changed(), apply=True)
            self._save()
            return list(self._drained.names)
        if command == "policies":
            return await asyncio.to_thread(encode_table, self._policies.table)
        return await super()._answer(command)

    def _describe(self, counters: Traffic) -> dict[str, Any]:
        self._policies.count_usage(self._dataplane)
        now = time.monotonic()
        paths = self._find_paths()
        up = choose_paths(paths)
        return {
            "home_address": str(self._settings.home_address),
            "home_agent": str(self._role.home_agent),
            "route_optimization": self._optimization.value,
            "prefixes": [str(prefix) for prefix in self._settings.prefixes],
            "ipv4_prefixes": describe_ipv4(self._settings.ipv4_prefixes, self._role.ipv4_states),
            "drained": list(self._drained.names),
            "home_prefixes": [describe_prefix(each) for each in self._prefix_watch.prefixes],
            "links": describe_links(
                self._links,
                self._mobile.links,
                paths,
                counters,
                self._quotas.describe(),
                self._prober.describe,
                self._radios.describe,
            ),
            "bindings": [
                describe_entry(entry, now) for entry in sorted(self._role.entries, key=rank_entry)
            ],
            "routes": describe_routes(self._role.routes, self._find_optimized(paths), now),
            "waiting": self._waiting.describe(),
            **self._policies.describe(up, self._role.flow_states, now),
        }


def _find_fixed(config: MobileRouterConfig) -> MobileRouterConfig:
    """Return ``config`` without what may change while the agent runs."""
    settings = replace(config.settings, correspondents=())
    return replace(config, settings=settings, policy=Path(), push_policies=True)
