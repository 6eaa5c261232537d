"""A role's life as a fuzzer tells it: which events come, with what in them, and when."""

from __future__ import annotations

from random import Random

import atheris
from hostile_packets import FORMATS, make_raw
from protocol_world import EPOCH

from mrouter.errors import ParseError
from mrouter.protocol.bindings import MAX_SLOT
from mrouter.protocol.events import Instant, SendDiscovery, SendPacket, TimerFired
from mrouter.wire.constants import Dialect
from mrouter.wire.home_discovery import parse_discovery, serialize_discovery
from mrouter.wire.options import (
    BindingAuthorizationData,
    MnHaAuthentication,
    UnknownOption,
)
from mrouter.wire.packet import parse_packet, serialize_packet

_MAX_STEPS = 40
_MOBILITY_HEADER_TYPES = 9
_BODY_OCTETS = 120
_BEGIN = 1000.0
_AUTHENTICATION = 9
_MAX_IFID = {Dialect.DRAFT_01: 0xFF, Dialect.RFC5648: 0xFFFF}


class Story:
    """The fuzzer's choices, a clock that only moves forward, and the world's random numbers."""

    def __init__(self, data):
        self.choices = atheris.FuzzedDataProvider(data)
        self.random = Random(1)
        self.fmt = self.pick(FORMATS[:2])
        self.monotonic = _BEGIN
        self.steps_left = _MAX_STEPS

    @property
    def now(self):
        return Instant(self.monotonic, EPOCH + self.monotonic - _BEGIN)

    def goes_on(self):
        """Say whether there is another step; every story ends."""
        self.steps_left -= 1
        return self.steps_left >= 0 and self.choices.remaining_bytes() > 0

    # --- choices --------------------------------------------------------------------------

    def pick(self, values):
        return values[self.number(0, len(values) - 1)]

    def chance(self):
        return self.choices.ConsumeBool()

    def ifid(self):
        """Return an IFID as the format holds it; small ones meet again."""
        return self.pick((1, 2, 3, self.number(0, _MAX_IFID[self.fmt.dialect])))

    def number(self, low, high):
        return self.choices.ConsumeIntInRange(low, high)

    def octets(self, most):
        return self.choices.ConsumeBytes(self.number(0, most))

    def let_time_pass(self, deadline):
        """Move on: not at all, a little, long, or just to or past the role's ``deadline``."""
        way = self.number(0, 5)
        if way == 1:
            self.monotonic += self.number(1, 2000) / 1000
        elif way == 2:
            self.monotonic += self.number(1, 700)
        elif way >= 3 and deadline is not None:
            late = 0.0 if way < 5 else self.number(1, 5000) / 1000
            self.monotonic = max(self.monotonic, deadline) + late

    # --- packets --------------------------------------------------------------------------

    def invent_packet(self, sources, destinations, homes):
        """Return what any octets say in a Mobility Header between these addresses, or None."""
        data = make_raw(
            self.pick(sources),
            self.pick(destinations),
            self.number(0, _MOBILITY_HEADER_TYPES),
            self.octets(_BODY_OCTETS),
            self.pick((None, *homes)),
            self.pick((None, *homes)),
        )
        try:
            return parse_packet(data, self.fmt)
        except ParseError:
            return None

    def deliver(self, packet, signer=None):
        """Return ``packet`` as its receiver reads it; None if no such packet reaches him.

        Either it has no place on the wire, or he does not take its addresses.
        """
        try:
            data = serialize_packet(packet, self.fmt, signer)
        except ValueError:
            return None
        try:
            return parse_packet(data, self.fmt)
        except ParseError as error:
            refusal = error
        assert refusal.reason == "bad-address", refusal
        return None


def without_authenticators(options):
    """Return ``options`` so that an authenticator may follow them."""
    return tuple(
        option
        for option in options
        if not isinstance(option, MnHaAuthentication | BindingAuthorizationData)
        and not (isinstance(option, UnknownOption) and option.type == _AUTHENTICATION)
    )


def fire_if_due(machine, story):
    """Fire the timer as the agent does; return the effects. It must not be due at once again."""
    deadline = machine.next_deadline()
    if deadline is None or deadline > story.monotonic:
        return []
    effects = machine.handle(TimerFired(), story.now)
    deadline = machine.next_deadline()
    assert deadline is None or deadline > story.monotonic, "a timer that is due for ever"
    return effects


def check_effects(effects, story, find_signer):
    """Check that all that is to be sent can be written, and be read by who gets it."""
    for effect in effects:
        if isinstance(effect, SendPacket):
            data = serialize_packet(effect.packet, story.fmt, find_signer(effect))
            parse_packet(data, story.fmt)
        elif isinstance(effect, SendDiscovery):
            assert parse_discovery(serialize_discovery(effect.packet)) == effect.packet


def check_slots(bindings):
    slots = [binding.slot for binding in bindings]
    assert len(set(slots)) == len(slots), "two bindings in one slot"
    assert all(1 <= slot <= MAX_SLOT for slot in slots)


def make_random_seeds():
    """Return choices of several lengths; they mean nothing, and let every event happen."""
    random = Random(1)
    return [random.randbytes(length) for length in (60, 120, 250, 250, 500, 500, 1000, 1000)]
