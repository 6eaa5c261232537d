"""The correspondent node's agent."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any

from mrouter.agent.base import Agent, Traffic
from mrouter.agent.binding_traffic import BindingTraffic
from mrouter.agent.journal import note
from mrouter.agent.memory import decode_correspondent_memory, encode_correspondent_memory
from mrouter.agent.tunnel_paths import find_narrow_paths
from mrouter.control import ControlError
from mrouter.dataplane.correspondent_node import CorrespondentNodeView, build_correspondent_node
from mrouter.dataplane.path_mtu import MINIMUM_MTU
from mrouter.dataplane.state import RouteOptimization
from mrouter.dataplane.xfrm import require_mip6
from mrouter.errors import DataplaneError
from mrouter.links.egress import find_interface_of
from mrouter.links.outer_sender import Tunnel
from mrouter.links.packet_errors import PacketErrorSocket, PacketErrorType
from mrouter.protocol.correspondent_node import CorrespondentNode
from mrouter.protocol.events import (
    CareOfAddressFailed,
    HomeAddressOptionSeen,
    TimerFired,
)
from mrouter.wire.tunnelled import parse_unreachable

if TYPE_CHECKING:
    import asyncio
    from ipaddress import IPv6Address

    from mrouter.config.model import CorrespondentNodeConfig
    from mrouter.dataplane.state import DataplaneState
    from mrouter.protocol.events import Effect, Event, Instant
    from mrouter.wire.tunnelled import TunnelledPacket


class CorrespondentNodeAgent(Agent):
    """Lets mobile nodes prove their addresses, and sends straight to where they are."""

    role_name = "correspondent-node"

    def __init__(self, config: CorrespondentNodeConfig) -> None:
        """Open the sockets.

        :raises DataplaneError: where a privilege or a kernel feature is missing.
        """
        super().__init__(config, str(config.settings.address))
        self._settings = config.settings
        self._mtu = MINIMUM_MTU  # until the interface is looked at
        self._optimization = RouteOptimization[config.route_optimization.name]
        require_mip6(self._optimization)
        self._role = CorrespondentNode(config.settings, random.SystemRandom())
        memory = self._memory.load(decode_correspondent_memory)
        if memory is not None:
            self._role.restore(memory)
        by_headers = self._optimization is RouteOptimization.MIP6
        self._traffic = BindingTraffic(self._dataplane, by_headers=by_headers)
        self._unreachable = PacketErrorSocket(
            PacketErrorType.DESTINATION_UNREACHABLE, parse_unreachable
        )

    def _handle(self, event: Event, now: Instant) -> list[Effect]:
        if isinstance(event, TimerFired):
            # it may be time to ask for a binding's refresh
            event = self._traffic.look(self._role.entries, self._role.routes)
        return self._role.handle(event, now)

    def _find_path_mtu(self, packet: TunnelledPacket) -> int | None:
        ends = packet.source, packet.inner_destination, packet.destination
        known = any(
            (self._settings.address, entry.home_address, entry.care_of_address) == ends
            for entry in self._role.entries
        )
        return self._path_mtu(packet.destination) if known else None

    def _find_tunnel(self, slot: int, destination: IPv6Address) -> Tunnel | None:
        return next(
            (
                Tunnel(
                    self._settings.address,
                    entry.care_of_address,
                    self._path_mtu(entry.care_of_address),
                )
                for entry in self._role.routes
                if entry.home_address == destination
            ),
            None,
        )

    def _path_mtu(self, care_of_address: IPv6Address) -> int:
        learnt = self._path_mtus.learnt.find(self._settings.address, care_of_address)
        return self._mtu if learnt is None else min(self._mtu, learnt)

    def _next_deadline(self) -> float | None:
        deadline = self._role.next_deadline()
        if deadline is None or not self._role.entries:
            return deadline
        return min(deadline, self._traffic.next_look_at)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_reader(self._unreachable.fileno(), self._on_unreachable)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._unreachable.fileno())
        self._unreachable.close()
        # nobody would tell the kernel where the mobile nodes go from here, nor when a binding
        # has ended: without us they are reached through their home agents
        try:
            self._dataplane.remove()
        except DataplaneError as error:
            note("dataplane-failed", logging.ERROR, error=str(error))

    def _on_unreachable(self) -> None:
        lost = {
            packet.destination
            for _router, packet in self._unreachable.receive()
            if packet.source == self._settings.address
        }
        self._process(CareOfAddressFailed(address) for address in sorted(lost))

    def _read_rejected(self, packet: TunnelledPacket) -> list[Event]:
        return [HomeAddressOptionSeen(packet.source, packet.inner_source)]

    def _remember(self) -> Any:
        return encode_correspondent_memory(self._role.save())

    async def _reload(self) -> list[Event]:
        raise ControlError("a correspondent node reads its file when it starts: restart it")

    def _build(self) -> DataplaneState:
        device = self._find_device()
        self._mtu = self._snapshot.interfaces[device].mtu
        learnt = self._path_mtus.learnt.list_from(self._settings.address)
        return build_correspondent_node(
            CorrespondentNodeView(
                encapsulation=self._encapsulation,
                address=self._settings.address,
                device=device,
                bindings=self._role.entries,
                routes=self._role.routes,
                optimization=self._optimization,
                mtu=self._mtu,
                narrow=find_narrow_paths(learnt, self._mtu, self._snapshot),
            )
        )

    def _find_device(self) -> str:
        """Return the interface that has the correspondent node's address.

        :raises DataplaneError: while no interface has it.
        """
        device = find_interface_of(self._snapshot, self._settings.address)
        if device is None:
            raise DataplaneError(
                "find the correspondent node's interface",
                f"no interface that is up has {self._settings.address}",
                "set the address, or [correspondent-node] address",
            )
        return device

    def _describe(self, counters: Traffic) -> dict[str, Any]:
        now = time.monotonic()
        in_use = {(entry.home_address, entry.ifid) for entry in self._role.routes}
        return {
            "address": str(self._settings.address),
            "route_optimization": self._optimization.value,
            "bindings": [
                {
                    "home_address": str(entry.home_address),
                    "care_of_address": str(entry.care_of_address),
                    "ifid": entry.ifid,
                    "ifpri": entry.ifpri,
                    "in_use": (entry.home_address, entry.ifid) in in_use,
                    "lifetime_left": round(entry.expires_at - now, 3),
                }
                for entry in self._role.entries
            ],
        }
