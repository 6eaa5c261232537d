"""The home agent's agent."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from dataclasses import fields
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Any

from mrouter.agent.base import NO_TRAFFIC, Agent, Traffic
from mrouter.agent.duplicates import DuplicateDetector
from mrouter.agent.journal import note
from mrouter.agent.memory import decode_home_memory, encode_home_memory
from mrouter.agent.router_status import describe_mtu
from mrouter.agent.tunnel_paths import find_narrow_paths
from mrouter.control import ControlError
from mrouter.dataplane.home_agent import HomeAgentView, build_home_agent
from mrouter.dataplane.path_mtu import MINIMUM_MTU
from mrouter.dataplane.state import IPv4Exit
from mrouter.errors import DataplaneError
from mrouter.links.anycast import AnycastMembership
from mrouter.links.egress import find_interface_of
from mrouter.links.home_link import HomeLink
from mrouter.links.outer_sender import Tunnel
from mrouter.protocol.events import (
    AdvertiseNeighbour,
    CheckDuplicate,
    ForwardingFailed,
    SendPacket,
    UnboundPacketSeen,
)
from mrouter.protocol.home_agent import HomeAgent
from mrouter.protocol.home_defence import list_defended
from mrouter.protocol.keys import PacketSigner
from mrouter.wire.home_discovery import find_anycast_address
from mrouter.wire.messages import find_option
from mrouter.wire.options import CareOfAddressInformation, MnHaAuthentication

if TYPE_CHECKING:
    import asyncio
    from ipaddress import IPv6Address

    from mrouter.config.model import HomeAgentConfig
    from mrouter.dataplane.state import DataplaneState
    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.events import DuplicateChecked, Effect, Event, Instant
    from mrouter.wire.messages import Packet
    from mrouter.wire.traffic_selectors import TrafficSelector
    from mrouter.wire.tunnelled import TunnelledPacket


class HomeAgentAgent(Agent):
    """Serves mobile routers: answers their updates, and tunnels to their care-of addresses."""

    role_name = "home-agent"

    def __init__(self, config: HomeAgentConfig) -> None:
        """Open the sockets.

        :raises DataplaneError: where a privilege or a kernel feature is missing.
        """
        super().__init__(config, str(config.settings.address))
        self._settings = config.settings
        self._ipv4_exit = IPv4Exit[config.ipv4_exit.name]
        self._mtu = MINIMUM_MTU  # until the interface is looked at
        self._role = HomeAgent(config.settings, self._now())
        memory = self._memory.load(decode_home_memory)
        if memory is not None:
            self._role.restore(memory)
        self._signers = {
            (router.home_address, association.spi): PacketSigner(association)
            for router in config.settings.served
            for association in router.security
        }
        self._served = tuple(
            network
            for router in config.settings.served
            for network in (IPv6Network(router.home_address), *router.prefixes)
        )
        self._served_ipv4 = tuple(
            network for router in config.settings.served for network in router.ipv4_prefixes
        )
        self._at_home = {
            prefix: router.home_address
            for router in config.settings.served
            for prefix in router.prefixes
            if config.settings.home_link is not None
        }
        self._anycast = tuple(map(find_anycast_address, config.settings.home_prefixes))
        self._membership = AnycastMembership()
        self._joined = False
        self._home_link: HomeLink | None = None
        self._detector: DuplicateDetector | None = None
        if config.settings.home_link is not None:
            self._home_link = HomeLink(config.settings.home_link)
            self._detector = DuplicateDetector(self._home_link, self._on_checked)
        # what a former run acknowledged stands in the kernel: no reason to take it back
        self._forwarded = self._list_bindings()

    def _handle(self, event: Event, now: Instant) -> list[Effect]:
        return self._role.handle(event, now)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._home_link is not None and self._detector is not None:
            loop.add_reader(self._home_link.fileno(), self._detector.listen)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        self._membership.close()
        if self._home_link is not None and self._detector is not None:
            loop.remove_reader(self._home_link.fileno())
            self._detector.stop()
            self._home_link.close()

    def _act(self, effect: Effect) -> None:
        if isinstance(effect, CheckDuplicate) and self._detector is not None:
            self._detector.start(effect)
        elif isinstance(effect, AdvertiseNeighbour) and self._home_link is not None:
            self._advertise(effect, self._home_link)

    def _advertise(self, effect: AdvertiseNeighbour, home_link: HomeLink) -> None:
        defended = self._list_defended()
        for address in effect.addresses:
            if address in defended:  # else it could not be forwarded to, and was given up
                try:
                    home_link.advertise(address, router=effect.router)
                except OSError as error:
                    note("home-link-unavailable", logging.ERROR, error=str(error))

    def _on_checked(self, event: DuplicateChecked) -> None:
        self._process([event])

    def _list_defended(self) -> frozenset[IPv6Address]:
        if self._settings.home_link is None:
            return frozenset()
        return frozenset(
            address
            for entry in self._role.entries
            for address in list_defended(entry.home_address, link_local=entry.link_local)
        )

    def _next_deadline(self) -> float | None:
        return self._role.next_deadline()

    def _find_signer(self, home_address: IPv6Address, packet: Packet) -> PacketSigner | None:
        option = find_option(packet.message, MnHaAuthentication)
        return None if option is None else self._signers.get((home_address, option.spi))

    def _find_path_mtu(self, packet: TunnelledPacket) -> int | None:
        if packet.source != self._settings.address:
            return None
        known = any(
            entry.care_of_address == packet.destination
            and _is_served(entry, packet.inner_destination)
            for entry in self._role.entries
        )
        return self._path_mtu(packet.destination) if known else None

    def _read_rejected(self, packet: TunnelledPacket) -> list[Event]:
        return [UnboundPacketSeen(packet.source, packet.inner_source)]

    def _find_tunnel(self, slot: int, destination: IPv6Address) -> Tunnel | None:
        entries = [entry for entry in self._role.entries if _is_served(entry, destination)]
        # what has no slot of this mobile router's goes by the primary care-of address
        entry = min(entries, key=lambda e: (e.slot != slot, e.ifpri, e.slot), default=None)
        if entry is None:
            return None
        address = entry.care_of_address
        return Tunnel(self._settings.address, address, self._path_mtu(address))

    def _path_mtu(self, care_of_address: IPv6Address) -> int:
        learnt = self._path_mtus.learnt.find(self._settings.address, care_of_address)
        return self._mtu if learnt is None else min(self._mtu, learnt)

    async def _reload(self) -> list[Event]:
        raise ControlError("a home agent reads its file when it starts: restart it")

    def _build(self) -> DataplaneState:
        device = self._find_device()
        self._mtu = self._snapshot.interfaces[device].mtu
        learnt = self._path_mtus.learnt.list_from(self._settings.address)
        return build_home_agent(
            HomeAgentView(
                encapsulation=self._encapsulation,
                address=self._settings.address,
                local_addresses=(self._settings.address, *self._anycast),
                device=device,
                served=self._served,
                bindings=self._role.entries,
                home_link=self._settings.home_link,
                defended=self._list_defended(),
                flows=self._role.flows,
                at_home=self._at_home,
                served_ipv4=self._served_ipv4,
                ipv4_exit=self._ipv4_exit,
                mtu=self._mtu,
                narrow=find_narrow_paths(learnt, self._mtu, self._snapshot, self._served),
            )
        )

    def _find_device(self) -> str:
        """Return the interface that has the home agent's address.

        :raises DataplaneError: while no interface has it.
        """
        device = find_interface_of(self._snapshot, self._settings.address)
        if device is None:
            raise DataplaneError(
                "find the home agent's interface",
                f"no interface that is up has {self._settings.address}",
                "set the address, or [home-agent] address",
            )
        return device

    def _forwarding_succeeded(self) -> None:
        self._forwarded = self._list_bindings()
        if not self._joined:
            self._join_anycast()  # only now that the kernel forwards may it

    def _links_changed(self) -> list[Event]:
        self._joined = False  # an interface that went down has forgotten
        return []

    def _join_anycast(self) -> None:
        """Be one of the home agents that discovery requests reach (RFC 6275 §10.5)."""
        try:
            self._membership.join(self._settings.home_link or self._find_device(), self._anycast)
        except OSError as error:
            note("home-link-unavailable", logging.ERROR, error=str(error))
        else:
            self._joined = True

    def _list_bindings(self) -> frozenset[tuple[IPv6Address, int | None]]:
        return frozenset((entry.home_address, entry.ifid) for entry in self._role.entries)

    def _remember(self) -> Any:
        return encode_home_memory(self._role.save())

    def _forwarding_failed(self, sends: list[SendPacket]) -> list[SendPacket]:
        """Take back what was granted but can't be forwarded, and say so (RFC 3963 §6.2)."""
        failed = [
            (entry.home_address, entry.ifid)
            for entry in self._role.entries
            if (entry.home_address, entry.ifid) not in self._forwarded
        ]
        kept = [send for send in sends if _binding_of(send.packet) not in failed]
        for home_address, ifid in failed:
            self._perform(self._handle(ForwardingFailed(home_address, ifid), self._now()), kept, [])
        return kept

    def _describe(self, counters: Traffic) -> dict[str, Any]:
        now = time.monotonic()
        names = {router.home_address: router.name for router in self._settings.served}
        by_router: dict[IPv6Address, list[CacheEntry]] = defaultdict(list)
        for entry in self._role.entries:
            by_router[entry.home_address].append(entry)
        slots = sorted({entry.slot for entry in self._role.entries})
        flows = Counter(flow.home_address for flow in self._role.flows)
        return {
            "address": str(self._settings.address),
            "mobile_routers": [
                {
                    "name": names[home_address],
                    "home_address": str(home_address),
                    "bindings": len(by_router[home_address]),
                    "flow_bindings": flows[home_address],
                    "lifetime_left": max(
                        (entry.expires_at - now for entry in by_router[home_address]), default=0.0
                    ),
                }
                for home_address in names
            ],
            "bindings": [
                {
                    "mobile_router": names[entry.home_address],
                    "home_address": str(entry.home_address),
                    "care_of_address": str(entry.care_of_address),
                    "ifid": entry.ifid,
                    "ifpri": entry.ifpri,
                    "slot": entry.slot,
                    "prefixes": [str(prefix) for prefix in entry.prefixes],
                    "ipv4_prefixes": [str(prefix) for prefix in entry.ipv4_prefixes],
                    **describe_mtu(self._path_mtu(entry.care_of_address)),
                    "lifetime_left": round(entry.expires_at - now, 3),
                }
                for entry in self._role.entries
            ],
            "flow_bindings": [
                {
                    "mobile_router": names[flow.home_address],
                    "fid": flow.fid,
                    "priority": flow.priority,
                    "ifids": list(flow.ifids),
                    "selector": _describe_selector(flow.selector),
                }
                for flow in self._role.flows
            ],
            "slots": [
                {
                    "slot": slot,
                    "uplink": counters.get(f"uplink-{slot}", NO_TRAFFIC),
                    "downlink": counters.get(f"downlink-{slot}", NO_TRAFFIC),
                }
                for slot in slots
            ],
        }


def _describe_selector(selector: TrafficSelector) -> dict[str, str]:
    """Return what ``selector`` asks for; nothing if it matches every packet."""
    return {
        each.name: str(first) if first == last else f"{first}-{last}"
        for each in fields(selector)
        if (both_ends := getattr(selector, each.name)) is not None
        for first, last in [both_ends]
    }


def _is_served(entry: CacheEntry, address: IPv6Address) -> bool:
    return address == entry.home_address or any(address in prefix for prefix in entry.prefixes)


def _binding_of(packet: Packet) -> tuple[IPv6Address | None, int | None]:
    information = find_option(packet.message, CareOfAddressInformation)
    return packet.routing_home_address, None if information is None else information.ifid
