"""A simulated mobile router: the real machine, its links, restarts and memory."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

from fleet_network import Datagram
from fleet_nodes import Box
from fleet_plan import EPOCH, HOME_AGENT, LONGEST_LIFETIME, list_flows, make_router_settings

from mrouter.agent.memory import (
    MobileRouterMemory,
    decode_router_memory,
    encode_router_memory,
)
from mrouter.protocol.events import (
    EgressAddress,
    EgressChanged,
    FlowsWanted,
    PacketReceived,
    SendPacket,
    StopRequested,
)
from mrouter.protocol.keygen_tokens import AuthorizationSigner
from mrouter.protocol.keys import PacketSigner, to_ntp_timestamp
from mrouter.protocol.mobile_router import MobileRouter
from mrouter.protocol.update_list import Binding, restore_binding
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, Packet
from mrouter.wire.options import CareOfAddressInformation, MnHaAuthentication, ReplayProtection
from mrouter.wire.packet import parse_packet, serialize_packet

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from fleet import Fleet
    from fleet_network import Link


class RouterBox(Box):
    """A mobile router with its links."""

    def __init__(self, fleet: Fleet, number: int, skew: float) -> None:
        super().__init__(fleet, f"router {number}", skew)
        self.number = number
        self.settings = make_router_settings(fleet.plan, number)
        self.home = self.settings.home_address
        self.flows = list_flows(number)
        self.lifetime = min(self.settings.lifetime, LONGEST_LIFETIME)
        self.links: list[Link] = []
        self.unsettled_until = 0.0  # the home agent may hold what nobody here knows of
        self.route_unsettled_until = 0.0
        self.stopped_at = 0.0
        self.bound_at: dict[IPv6Address, float] = {}  # when the home agent was last seen to know it
        self._signer = PacketSigner(self.settings.security)

    @property
    def is_on_air(self) -> bool:
        return self.machine is not None and any(link.up for link in self.links)

    def start(self) -> None:
        if self.machine is not None:
            return
        now = self.fleet.now
        generator = Random(self.fleet.random.getrandbits(64))
        kept = MobileRouterMemory(HOME_AGENT, ())
        if self._saved is not None:
            kept = decode_router_memory(json.loads(self._saved))
        renewal = self.settings.ifid_renewal
        bindings = [restore_binding(Binding, entry, now, renewal) for entry in kept.bindings]
        self.machine = MobileRouter(self.settings, generator, bindings)
        self.machine.restore_routes(kept.routes, now)
        self._timer_at = None
        for link in self.links:
            link.good_since = now if link.up and link.outage_until <= now else None
        if self.flows:
            self.tell(FlowsWanted(self.flows))
        self.tell_links()

    def tell_links(self) -> None:
        self.tell(EgressChanged(self.list_addresses()))

    def list_addresses(self) -> tuple[EgressAddress, ...]:
        return tuple(
            EgressAddress(link.kind.name, f"wan{number}", address, link.ifpri)
            for number, link in enumerate(self.links)
            for address in link.addresses
        )

    def shut_down(self, *, deregister: bool) -> None:
        if self.machine is None:
            return
        self._book_loss()
        self.tell(StopRequested(deregister))
        self._save()  # after the farewell, as the agent does
        self._turn_off()

    def _turn_off(self) -> None:
        self.machine = None
        self.stopped_at = self.fleet.now

    def encode(self) -> object:
        memory = MobileRouterMemory(HOME_AGENT, self.machine.entries, self.machine.routes)
        return encode_router_memory(memory)

    def crashed(self, kept: bool) -> None:
        if not kept or not all(entry.usable for entry in self.machine.entries):
            self._book_loss()
        if not all(route.binding.usable for route in self.machine.routes):
            self._book_route_loss()
        self._turn_off()

    def _book_loss(self) -> None:
        self.unsettled_until = self.fleet.now + self.lifetime + 100.0
        self._book_route_loss()

    def _book_route_loss(self) -> None:
        self.route_unsettled_until = self.fleet.now + self.settings.route_lifetime + 100.0

    # --- packets --------------------------------------------------------------------------

    def receive(self, datagram: Datagram, link: Link) -> None:
        if self.machine is None:
            return
        packet = parse_packet(datagram.data, self.fleet.format)
        self.trail.append((self.fleet.now, "got", packet))
        came_home = datagram.outer is not None and datagram.outer[0] == HOME_AGENT
        self.tell(PacketReceived(packet, came_home))
        if isinstance(packet.message, BindingAcknowledgement):
            self.fleet.checks.check_belief(self)

    def transmit(self, effect: SendPacket) -> None:
        packet = effect.packet
        self.trail.append((self.fleet.now, "sent", packet))
        signer = self._signer
        if effect.authorization is not None:
            signer = AuthorizationSigner(effect.authorization)
        datagram = Datagram(serialize_packet(packet, self.fleet.format, signer))
        if isinstance(packet.message, BindingUpdate):
            self.fleet.count["binding updates sent"] += 1
            datagram.order = self.fleet.count_update()
        link = self._find_link(effect.link)
        if effect.via_home_agent:
            link = self._enter_tunnel(datagram)
        if link is not None:
            self.fleet.network.send(datagram, link)

    def _find_link(self, name: str | None) -> Link | None:
        up = (link for link in self.links if link.up and name in (None, link.kind.name))
        return next(up, None)

    def _enter_tunnel(self, datagram: Datagram) -> Link | None:
        usable = [entry for entry in self.machine.entries if entry.usable]
        for entry in sorted(usable, key=lambda entry: entry.ifpri):
            link = self.fleet.network.links.get(entry.care_of_address.packed)
            if link in self.links:
                datagram.outer = entry.care_of_address, HOME_AGENT
                return link
        return None

    def forge(self, victim: RouterBox) -> None:
        """Send what this router would say of its own, but about ``victim``, with its own key."""
        link = self._find_link(None)
        usable = [entry for entry in victim.machine.entries if entry.usable]
        if link is None or not usable or link.addresses[0] == self.home:
            return
        options = (
            CareOfAddressInformation(usable[0].ifid, 0),
            ReplayProtection(to_ntp_timestamp(EPOCH + self.fleet.now)),
            MnHaAuthentication(self.settings.security.spi),
        )
        update = BindingUpdate(
            sequence=(usable[0].sequence + 1) % 65536,
            lifetime=self.fleet.random.choice((0, 120)),
            acknowledge=True,
            home_registration=True,
            mobile_router=True,
            multiple=True,
            options=options,
        )
        packet = Packet(link.addresses[0], HOME_AGENT, update, home_address=victim.home)
        data = serialize_packet(packet, self.fleet.format, self._signer)
        self.fleet.count["binding updates forged"] += 1
        self.fleet.network.send(Datagram(data, forged=True), link)
