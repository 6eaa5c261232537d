"""What must hold in a fleet, whatever the network does; each check says which time it is about."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mrouter.protocol.events import PacketReceived, SendPacket
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, find_option
from mrouter.wire.options import AlternateCareOfAddress, CareOfAddressInformation

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from fleet import Fleet
    from fleet_network import Datagram
    from fleet_nodes import AgentBox, CorrespondentBox
    from fleet_router import RouterBox

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.wire.messages import Packet

#: A care-of address on a good link may be unregistered that long, in seconds: seven Binding
#: Updates 32 seconds apart (MAX_BINDACK_TIMEOUT), of which each fails one time in ten.
REGISTERED_WITHIN = 240.0
#: What floating point may lose, and the timers of one instant.
_EPSILON = 1e-6
#: Seconds that a home agent takes timestamps from either side of its clock (RFC 4285 §6).
_WINDOW = 7.0


class Checks:
    """All that is checked; a failure ends the simulation."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def watch(self, box: AgentBox | CorrespondentBox, *, forgives: bool) -> CacheWatch:
        return CacheWatch(self._fleet, box, forgives=forgives)

    # --- a router's belief ----------------------------------------------------------------

    def check_belief(self, router: RouterBox) -> None:
        """No router takes a binding for usable longer than was granted."""
        if router.machine is None:
            return
        for entry in router.machine.entries:
            self._check_entry(router, self._fleet.agent.watch, entry)
        for route in router.machine.routes:
            watch = self._fleet.correspondents[route.correspondent].watch
            self._check_entry(router, watch, route.binding)

    def _check_entry(self, router: RouterBox, watch: CacheWatch, entry) -> None:
        if not entry.usable:
            return
        granted = watch.granted.get((router.home, entry.ifid), 0.0)
        if entry.expires_at > granted + _EPSILON:
            self._fleet.fail(
                f"{router.name} believes in IFID {entry.ifid} until {entry.expires_at:.3f}, "
                f"{watch.box.name} granted it until {granted:.3f}",
                router,
            )

    # --- while it runs --------------------------------------------------------------------

    def sweep(self) -> None:
        """Look at every binding, whoever has been heard of lately."""
        fleet, now = self._fleet, self._fleet.now
        for box in fleet.peers:
            if box.machine is not None:
                box.watch.check_all()
        if fleet.agent.machine is None:
            return
        for router in fleet.routers:
            if router.machine is None:
                continue
            bound = {entry.care_of_address for entry in fleet.agent.list_of(router.home)}
            wanted = list_wanted(router)
            for address, link in wanted.items():
                if address in bound or link.good_since is None:
                    router.bound_at[address] = now
                    continue
                since = max(
                    link.good_since,
                    router.bound_at.get(address, 0.0),
                    fleet.agent.up_since,
                    fleet.agent.settled_since,
                )
                if now - since > REGISTERED_WITHIN:
                    fleet.fail(
                        f"{router.name}'s {address} has been on a good link for "
                        f"{now - since:.0f} s and is not registered",
                        router,
                    )
            for address in [a for a in router.bound_at if a not in wanted]:
                del router.bound_at[address]

    # --- once it is quiet -----------------------------------------------------------------

    def check_agreement(self) -> None:
        """Both ends of each binding agree; those are counted that memories were lost of."""
        fleet = self._fleet
        for router in fleet.routers:
            if fleet.now < max(router.unsettled_until, fleet.agent.settled_since):
                fleet.count["agreements put off"] += 1
                continue
            self._check_home(router)
            self._check_flows(router)
            if fleet.now < max(router.route_unsettled_until, fleet.agent.settled_since):
                fleet.count["agreements put off"] += 1
                continue
            for correspondent in router.settings.correspondents:
                self._check_route(router, fleet.correspondents[correspondent])

    def _check_home(self, router: RouterBox) -> None:
        fleet = self._fleet
        held = fleet.agent.list_of(router.home)
        if router.machine is None:
            if router.stopped_at + router.lifetime < fleet.now and held:
                fleet.fail(f"{router.name} is off, the home agent holds {held}", router)
            return
        if not router.is_on_air:
            return  # the home agent can't be told
        wanted = list_wanted(router)
        entries = router.machine.entries
        fleet.count["agreements at the home agent"] += 1
        self._compare(router, "home agent", held, [e for e in entries if e.usable])
        addresses = {entry.care_of_address for entry in entries}
        if addresses != set(wanted):
            fleet.fail(f"{router.name} has {set(wanted)} and registers {addresses}", router)

    def _check_flows(self, router: RouterBox) -> None:
        """The home agent has those flow bindings that the router takes for accepted, no other."""
        fleet = self._fleet
        if not router.flows or not router.is_on_air:
            return
        fleet.count["agreements about flows"] += 1
        states = dict(enumerate(router.machine.flow_states, start=1))
        believed = {fid: each.ifids for fid, each in states.items() if each.name == "accepted"}
        flows = fleet.agent.machine.flows
        held = {flow.fid: flow.ifids for flow in flows if flow.home_address == router.home}
        unsettled = {each.name for each in states.values()} - {"accepted", "no-link"}
        if held != believed or unsettled:
            fleet.fail(f"{router.name}'s flows: {states}, the home agent has {held}", router)

    def _check_route(self, router: RouterBox, box: CorrespondentBox) -> None:
        fleet = self._fleet
        if not router.is_on_air:
            return
        fleet.count["agreements at correspondent nodes"] += 1
        entries = [
            route.binding
            for route in router.machine.routes
            if route.correspondent == box.settings.address and route.binding.usable
        ]
        self._compare(router, box.name, box.list_of(router.home), entries)
        wanted = list_wanted(router)
        bound = {entry.care_of_address for entry in entries}
        if bound != set(wanted):
            fleet.fail(f"{router.name}: {set(wanted)}, at {box.name} {bound}", router)

    def _compare(self, router: RouterBox, name: str, held, believed) -> None:
        for entries in (held, believed):
            slots = [entry.slot for entry in entries]
            if len(slots) != len(set(slots)):
                self._fleet.fail(f"{router.name} at the {name}: slots {slots}", router)
        at_peer = {(e.ifid, e.care_of_address, e.ifpri) for e in held}
        at_router = {(e.ifid, e.care_of_address, e.ifpri) for e in believed}
        if at_peer != at_router:
            self._fleet.fail(
                f"{router.name} and the {name} disagree once it is quiet\n"
                f"  {name} only: {at_peer - at_router}\n  router only: {at_router - at_peer}",
                router,
            )


def list_wanted(router: RouterBox) -> dict[IPv6Address, object]:
    """Return what ``router`` should have registered, with the link of each (the draft §7.8)."""
    ordered = sorted((link for link in router.links if link.up), key=lambda link: link.ifpri)
    if not ordered or router.home in ordered[0].addresses:
        return {}
    return {
        address: link for link in ordered for address in link.addresses if address != router.home
    }


class CacheWatch:
    """Watches one Binding Cache: what it accepts, and that nothing else changes it.

    ``accepted`` holds the order of the newest Binding Update accepted by home address and IFID,
    ``granted`` until when a binding may live at most, ``known`` what it held last.
    """

    def __init__(self, fleet: Fleet, box: AgentBox | CorrespondentBox, *, forgives: bool) -> None:
        self._fleet = fleet
        self.box = box
        self._forgives = forgives
        self.accepted: dict[IPv6Address, dict[int | None, int]] = defaultdict(dict)
        self.granted: dict[tuple[IPv6Address, int | None], float] = {}
        self.known: dict[IPv6Address, list[CacheEntry]] = {}
        self._watched: set[tuple[IPv6Address, int | None]] = set()
        self._started_at = 0.0
        self._started_order = 0

    def restarted(self) -> None:
        """Take note of what a new run has taken over; it must not have invented any of it."""
        self._started_at = self._fleet.now
        self._started_order = self._fleet.updates_sent
        restored = defaultdict(list)
        for entry in self.box.machine.entries:
            restored[entry.home_address].append(entry)
            if not any(
                _says_the_same(entry, old) for old in self.known.get(entry.home_address, ())
            ):
                self._fail(f"{self.box.name} restored {entry}, which it did not have", entry)
        self.known = dict(restored)

    def list_of(self, home: IPv6Address) -> list[CacheEntry]:
        """Return what the cache holds of one router, by IFID."""
        return sorted(self.box.list_of(home), key=lambda entry: entry.ifid or 0)

    # --- nobody else's binding ------------------------------------------------------------

    def check_all(self) -> None:
        """Compare the whole cache with what its own routers' messages have made of it."""
        homes = {entry.home_address for entry in self.box.machine.entries}
        for home in homes | self.known.keys():
            self._check_unchanged(home)
        self.known = {home: entries for home, entries in self.known.items() if home in homes}

    def _check_unchanged(self, home: IPv6Address) -> None:
        now = self._fleet.now
        held = [entry for entry in self.list_of(home) if entry.expires_at > now]
        known = [entry for entry in self.known.get(home, ()) if entry.expires_at > now]
        if held != known:
            router = self._fleet.by_home[home.packed]
            self._fleet.fail(
                f"{self.box.name} changed {router.name}'s bindings without a message of its own:\n"
                f"  before: {known}\n  after: {held}",
                router,
            )

    # --- what is accepted -----------------------------------------------------------------

    def receive(self, datagram: Datagram, packet: Packet) -> None:
        """Hand ``packet`` over, and judge what became of it."""
        update = packet.message
        if not isinstance(update, BindingUpdate):
            self.box.tell(PacketReceived(packet))
            return
        home = packet.home_address or packet.source
        self._check_unchanged(home)
        before = self.box.list_of(home)
        effects = self.box.tell(PacketReceived(packet))
        answers = [
            effect.packet.message
            for effect in effects
            if isinstance(effect, SendPacket)
            and isinstance(effect.packet.message, BindingAcknowledgement)
        ]
        count = self._fleet.count
        for answer in answers:
            if answer.status < BindingStatus.REASON_UNSPECIFIED:
                count[f"accepted by {type(self.box).__name__}"] += 1
                self._check_accepted(datagram, packet, answer, before)
            else:
                name = BindingStatus(answer.status).name.lower()
                count[f"refused by {type(self.box).__name__}: {name}"] += 1
        self.known[home] = self.list_of(home)

    def _check_accepted(
        self,
        datagram: Datagram,
        packet: Packet,
        answer: BindingAcknowledgement,
        before: list[CacheEntry],
    ) -> None:
        home = packet.home_address or packet.source
        router = self._fleet.by_home[home.packed]
        if datagram.forged:
            self._fleet.fail(f"{self.box.name} believed a forgery about {router.name}", router)
        update = packet.message
        named = [o for o in update.options if isinstance(o, CareOfAddressInformation)]
        for ifid in [information.ifid for information in named] or [None]:
            self._check_order(router, ifid, datagram.order)
        self._check_effect(router, packet, answer, named, before)

    def _check_order(self, router: RouterBox, ifid: int | None, order: int) -> None:
        """No stale Binding Update wins: whatever is accepted was sent after what was before."""
        accepted = self.accepted[router.home]
        if ifid is None:
            newest = max(accepted.values(), default=0)
        else:
            newest = max(accepted.get(ifid, 0), accepted.get(None, 0))
        if order > newest:
            accepted[ifid] = order
            return
        # Timestamps of a clock that is ahead may be after the start of a home agent which has
        # lost what it accepted just before: only sequence numbers, lost too, would tell.
        recent = self._fleet.now <= self._started_at + 2 * _WINDOW
        if self._forgives and recent and newest <= self._started_order and router.skew > 0:
            self._fleet.count["stale updates accepted after a restart"] += 1
            return
        self._fleet.fail(
            f"{self.box.name} accepted a stale Binding Update of {router.name}, IFID {ifid}: "
            f"number {order} after number {newest}",
            router,
        )

    def _check_effect(
        self,
        router: RouterBox,
        packet: Packet,
        answer: BindingAcknowledgement,
        named: list[CareOfAddressInformation],
        before: list[CacheEntry],
    ) -> None:
        """What is accepted is what the cache holds, and the others are as they were or gone."""
        update = packet.message
        alternate = find_option(update, AlternateCareOfAddress)
        care_of = packet.source if alternate is None else alternate.address
        ending = update.lifetime == 0 or care_of == router.home
        held = {entry.ifid: entry for entry in self.box.list_of(router.home)}
        ifids = {information.ifid for information in named} or {None}
        if ending:
            left = set(held) & ifids if named else set(held)
            if left:
                self._fleet.fail(f"{router.name} ended {ifids}, {left} is left", router)
        elif not ifids <= set(held):
            self._fleet.fail(f"{router.name} registered {ifids}, not in {held}", router)
        for ifid, entry in held.items():
            if ifid not in ifids and entry not in before:
                self._fleet.fail(f"{ifids} of {router.name} made {entry}", router)
            if ifid in ifids and not (
                entry.sequence == update.sequence
                and entry.care_of_address == care_of
                and entry.expires_at <= self._fleet.now + answer.lifetime + _EPSILON
                and all(entry.ifpri == each.ifpri for each in named if each.ifid == ifid)
            ):
                self._fleet.fail(f"{self.box.name} took {update} as {entry}", router)
            if ifid in ifids:
                self._grant((router.home, ifid), self._fleet.now + answer.lifetime)

    # --- lifetimes ------------------------------------------------------------------------

    def _grant(self, key: tuple[IPv6Address, int | None], until: float) -> None:
        self.granted[key] = max(until, self.granted.get(key, 0.0))
        if key not in self._watched:
            self._watched.add(key)
            self._fleet.call_at(until + _EPSILON, self._check_ended, key)

    def _check_ended(self, key: tuple[IPv6Address, int | None]) -> None:
        """No binding outlives its lifetime, at neither end."""
        home, ifid = key
        until = self.granted[key] + _EPSILON
        if until > self._fleet.now:
            self._fleet.call_at(until, self._check_ended, key)
            return
        self._watched.remove(key)
        del self.granted[key]
        router = self._fleet.by_home[home.packed]
        if self.box.machine is not None and any(e.ifid == ifid for e in self.box.list_of(home)):
            self._fleet.fail(f"IFID {ifid} of {router.name} outlives its lifetime", router)
        if router.machine is None:
            return
        believed = self.box.find_believed(router)
        if any(entry.ifid == ifid and entry.usable for entry in believed):
            self._fleet.fail(f"{router.name} goes on believing in IFID {ifid}", router)

    def _fail(self, text: str, entry: CacheEntry) -> None:
        self._fleet.fail(text, self._fleet.by_home[entry.home_address.packed])


def _says_the_same(one: CacheEntry, other: CacheEntry) -> bool:
    return (one.ifid, one.care_of_address, one.ifpri, one.slot, one.prefixes) == (
        other.ifid,
        other.care_of_address,
        other.ifpri,
        other.slot,
        other.prefixes,
    )
