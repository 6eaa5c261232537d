"""Boxes that run a real machine: timers, signatures, restarts; home agent, correspondent node."""

from __future__ import annotations

import json
from collections import deque
from random import Random
from typing import TYPE_CHECKING

from fleet_network import Datagram
from fleet_plan import EPOCH, HOME_AGENT, LONGEST_LIFETIME

from mrouter.agent.memory import (
    decode_correspondent_memory,
    decode_home_memory,
    encode_correspondent_memory,
    encode_home_memory,
)
from mrouter.protocol.events import (
    BindingsChanged,
    BindingsUsed,
    Counted,
    HomeAddressOptionSeen,
    Instant,
    SendPacket,
    TimerFired,
)
from mrouter.protocol.keygen_tokens import AuthorizationSigner
from mrouter.protocol.keys import PacketSigner
from mrouter.wire.packet import parse_packet, serialize_packet

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from fleet import Fleet
    from fleet_router import RouterBox

    from mrouter.protocol.bindings import CacheEntry, UpdateListEntry
    from mrouter.protocol.events import Effect, Event
    from mrouter.protocol.settings import CorrespondentNodeSettings

#: So many timers without any time passing are a machine that asks for them for ever.
_TOO_MANY_TIMERS = 1000


class Box:
    """Something that runs one machine, or is switched off (``machine`` is None)."""

    def __init__(self, fleet: Fleet, name: str, skew: float = 0.0) -> None:
        self.fleet = fleet
        self.name = name
        self.skew = skew
        self.machine = None
        self.trail = deque(maxlen=20)  # what it did last, for a failure's message
        self._timer_at: float | None = None
        self._fired = (0.0, 0)
        self._saved = None
        self._saving = False

    def instant(self) -> Instant:
        return Instant(self.fleet.now, EPOCH + self.fleet.now + self.skew)

    def tell(self, event: Event) -> list[Effect]:
        if self.machine is None:
            return []
        effects = self.machine.handle(event, self.instant())
        self.perform(effects)
        return effects

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendPacket):
                self.transmit(effect)
            elif isinstance(effect, Counted):
                self.fleet.count[f"{effect.what}: {effect.reason}"] += 1
            elif isinstance(effect, BindingsChanged) and self._saving:
                self._save()
        self._set_timer()

    def transmit(self, effect: SendPacket) -> None:
        raise NotImplementedError

    # --- timers ---------------------------------------------------------------------------

    def _set_timer(self) -> None:
        deadline = None if self.machine is None else self.machine.next_deadline()
        if deadline is None:
            return
        deadline = max(deadline, self.fleet.now)
        if self._timer_at is None or deadline < self._timer_at:
            self._timer_at = deadline
            self.fleet.call_at(deadline, self._fire, deadline)

    def _fire(self, deadline: float) -> None:
        if deadline != self._timer_at:
            return  # an earlier one was set after this
        self._timer_at = None
        wanted = None if self.machine is None else self.machine.next_deadline()
        if wanted is None or wanted > self.fleet.now:
            self._set_timer()
            return
        times = self._fired[1] + 1 if self._fired[0] == self.fleet.now else 1
        self._fired = self.fleet.now, times
        if times > _TOO_MANY_TIMERS:
            self.fleet.fail(f"{self.name} asks for timers without end", self)
        self.tell(TimerFired())

    # --- memory ---------------------------------------------------------------------------

    def crash_soon(self, delay: float, *, keeps_memory: bool) -> None:
        """Crash in ``delay`` seconds.

        As the agents do it, the state file of that moment is ``delay`` old, but for changes of
        bindings, which are written before they are promised.
        """
        if self.machine is None:
            return
        self._saving = keeps_memory
        self._saved = None
        if keeps_memory:
            self._save()
        self.fleet.call_later(delay, self._crash)

    def _crash(self) -> None:
        self._saving = False
        if self.machine is not None:
            self.crashed(self._saved is not None)

    def _save(self) -> None:
        self._saved = json.dumps(self.encode())

    def encode(self) -> object:
        raise NotImplementedError

    def crashed(self, kept: bool) -> None:
        raise NotImplementedError


class AgentBox(Box):
    """The home agent, which also forwards what goes through its tunnels."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet, "home agent")
        self.watch = fleet.checks.watch(self, forgives=True)
        self.up_since = self.settled_since = 0.0
        self._settings = fleet.agent_settings
        self._signers = {
            router.home_address: PacketSigner(router.security[0])
            for router in self._settings.served
        }

    def start(self) -> None:
        self.machine = self.fleet.make_agent(self._settings, self.instant())
        if self._saved is not None:
            self.machine.restore(decode_home_memory(json.loads(self._saved)))
        self.watch.restarted()
        self.up_since = self.fleet.now
        self._timer_at = None
        self._set_timer()

    def encode(self) -> object:
        return encode_home_memory(self.machine.save())

    def crashed(self, kept: bool) -> None:
        self.machine = None
        self.fleet.count[f"home agent restarts, memory {'kept' if kept else 'lost'}"] += 1
        if not kept:
            self.settled_since = self.fleet.now + LONGEST_LIFETIME + 100.0
        self.fleet.call_later(self.fleet.random.uniform(1.0, 20.0), self.start)

    def receive(self, datagram: Datagram) -> None:
        if self.machine is None:
            return
        if datagram.outer is None:
            self.watch.receive(datagram, parse_packet(datagram.data, self.fleet.format))
            return
        # out of a tunnel: only what came by a binding's care-of address
        inner = datagram.data[8:24]
        router = self.fleet.by_home.get(inner)
        bound = [] if router is None else self.list_of(router.home)
        if any(entry.care_of_address == datagram.outer[0] for entry in bound):
            self.fleet.network.send(Datagram(datagram.data))

    def has_bindings(self, home: bytes) -> bool:
        return self.machine is not None and bool(self.list_of(self.fleet.by_home[home].home))

    def forward(self, datagram: Datagram) -> None:
        """Tunnel what came for a home address to its primary care-of address."""
        if self.has_bindings(datagram.destination):
            entries = self.list_of(self.fleet.by_home[datagram.destination].home)
            primary = min(entries, key=lambda entry: entry.ifpri)
            datagram = Datagram(datagram.data, outer=(HOME_AGENT, primary.care_of_address))
            self.fleet.network.send(datagram)

    def list_of(self, home: IPv6Address) -> list[CacheEntry]:
        return self.machine._cache.list_of(home)

    def find_believed(self, router: RouterBox) -> list[UpdateListEntry]:
        return list(router.machine.entries)

    def transmit(self, effect: SendPacket) -> None:
        signer = None if effect.key_for is None else self._signers[effect.key_for]
        self.fleet.network.send(
            Datagram(serialize_packet(effect.packet, self.fleet.format, signer))
        )


class CorrespondentBox(Box):
    """A correspondent node."""

    def __init__(self, fleet: Fleet, settings: CorrespondentNodeSettings) -> None:
        super().__init__(fleet, f"correspondent node {settings.address}")
        self.settings = settings
        self.watch = fleet.checks.watch(self, forgives=False)

    def start(self) -> None:
        generator = Random(self.fleet.random.getrandbits(64))
        self.machine = self.fleet.make_correspondent(self.settings, generator)
        if self._saved is not None:
            self.machine.restore(decode_correspondent_memory(json.loads(self._saved)))
        self.watch.restarted()
        self._timer_at = None

    def encode(self) -> object:
        return encode_correspondent_memory(self.machine.save())

    def crashed(self, kept: bool) -> None:
        memory = "kept" if kept else "lost"
        self.fleet.count[f"correspondent node restarts, memory {memory}"] += 1
        self.machine = None
        for router in self.fleet.routers:
            if not kept and self.settings.address in router.settings.correspondents:
                router.route_unsettled_until = self.fleet.now + 600.0
        self.fleet.call_later(self.fleet.random.uniform(1.0, 20.0), self.start)

    def receive(self, datagram: Datagram) -> None:
        if self.machine is not None:
            self.watch.receive(datagram, parse_packet(datagram.data, self.fleet.format))

    def list_of(self, home: IPv6Address) -> list[CacheEntry]:
        return self.machine._cache.list_of(home)

    def find_believed(self, router: RouterBox) -> list[UpdateListEntry]:
        own = self.settings.address
        return [route.binding for route in router.machine.routes if route.correspondent == own]

    def note_use(self) -> None:
        """Say that traffic goes by all bindings, so that the router is asked to refresh them."""
        if self.machine is not None:
            keys = frozenset((e.home_address, e.ifid) for e in self.machine.entries)
            self.tell(BindingsUsed(keys))

    def see_traffic(self, source: IPv6Address, home: IPv6Address) -> None:
        self.tell(HomeAddressOptionSeen(source, home))

    def transmit(self, effect: SendPacket) -> None:
        signer = None
        if effect.authorization is not None:
            signer = AuthorizationSigner(effect.authorization)
        self.fleet.network.send(
            Datagram(serialize_packet(effect.packet, self.fleet.format, signer))
        )
