"""The working entries of the mobile router's Binding Update List, and their timers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mrouter.protocol.bindings import BindingState, UpdateListEntry, find_free_slot
from mrouter.protocol.events import EgressAddress, Noted
from mrouter.protocol.settings import INITIAL_BINDACK_TIMEOUT_FIRST_REG

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from ipaddress import IPv4Network, IPv6Address
    from random import Random

    from mrouter.protocol.flow_push import FlowRequest

#: Seconds (RFC 6275 §12) before the first repetition of a Binding Update that is no first home
#: registration (``first_interval``), and at most between two repetitions.
INITIAL_BINDACK_TIMEOUT = 1.0
MAX_BINDACK_TIMEOUT = 32.0

#: Seconds before a refused registration is tried again, doubled up to the second value.
REFUSED_RETRY = 60.0
MAX_REFUSED_RETRY = 960.0

#: Seconds between two Binding Updates for one binding that somebody else asks for; RFC 6275 §12
#: allows three a second (MAX_UPDATE_RATE), and a Binding Refresh Request is not authenticated.
REQUESTED_REFRESH_INTERVAL = 1.0

#: Seconds before a renewal of an IFID that could not begin, or was refused, is tried again.
RENEWAL_RETRY = 60.0

#: Seconds that a binding holds back its Binding Updates while one with a fresh IFID, which is to
#: take its place, is unanswered.
REPLACED_PAUSE = 1.0

#: How much of the lifetime is left when a binding is refreshed, and at least how many seconds.
_REFRESH_SHARE = 0.2
_REFRESH_MARGIN = 3.0

#: Immediate corrected repetitions (statuses 135, 144, 145) before the timer has to be waited for.
_MAX_CORRECTIONS = 3

SEQUENCES = 1 << 16


@dataclass(slots=True)
class Binding:
    """One binding towards one peer, from its first Binding Update to its end.

    Times are monotonic seconds. ``due_at`` is when something is to be sent next: a repetition, a
    refresh, a new try; ``held_until`` is how long the home agent may hold the binding at most;
    ``awaiting`` says that the last Binding Update is unanswered, ``sent_from`` whence it went,
    ``timestamp`` and ``flow_request`` what it said for replay protection and of flow bindings.
    ``interval`` is how long it waits for its answer, ``first_interval`` how long a first one. A
    ``plain`` binding is registered without CoAINFO. ``replaces`` is the one that ends when this
    one, with a fresh IFID, is accepted. ``overwrote``: a Binding Update since its last acceptance
    had the O flag. ``ipv4_prefixes`` are what its last acceptance granted.
    """

    egress: EgressAddress
    ifid: int
    slot: int
    sequence: int
    plain: bool = False
    state: BindingState = BindingState.REGISTERING
    status: int | None = None
    expires_at: float | None = None
    held_until: float = 0.0
    due_at: float | None = None
    interval: float = INITIAL_BINDACK_TIMEOUT
    first_interval: float = INITIAL_BINDACK_TIMEOUT_FIRST_REG
    sent_at: float | None = None
    sent_from: IPv6Address | None = None
    timestamp: int | None = None
    flow_request: FlowRequest | None = None
    awaiting: bool = False
    corrections: int = 0
    refusals: int = 0
    renew_at: float | None = None
    replaces: Binding | None = None
    overwrote: bool = False
    ipv4_prefixes: tuple[IPv4Network, ...] = ()

    @property
    def key(self) -> tuple[str, IPv6Address]:
        """What this binding is for: a link's care-of address."""
        return self.egress.link, self.egress.address

    @property
    def usable(self) -> bool:
        """Whether the home agent has accepted it and its lifetime runs."""
        return self.state in (BindingState.REGISTERED, BindingState.REFRESHING)

    @property
    def may_renew(self) -> bool:
        """Whether a fresh IFID may take its place: nothing about it is under way.

        A Binding Update about the old IFID that comes after one about the fresh IFID would take
        the care-of address back, and then be de-registered with it.
        """
        return self.state is BindingState.REGISTERED

    @property
    def is_ending(self) -> bool:
        """Whether it is being de-registered."""
        return self.state is BindingState.DEREGISTERING

    def set_egress(self, egress: EgressAddress) -> bool:
        """Take over a new priority or interface name; return whether the priority changed."""
        changed = egress.ifpri != self.egress.ifpri
        self.egress = egress
        return changed

    def begin_update(self, now: float) -> None:
        """Restart the repetitions for a Binding Update that is about something new."""
        first = self.state is BindingState.REGISTERING and self.expires_at is None
        self.interval = self.first_interval if first else INITIAL_BINDACK_TIMEOUT
        self.corrections = 0
        self.due_at = now

    def mark_sent(self, now: float, source: IPv6Address, lifetime: int) -> None:
        """Book a Binding Update that goes out now, and when to repeat it (RFC 6275 §11.8)."""
        self.awaiting = True
        self.sent_at = now
        self.sent_from = source
        if lifetime:
            self.held_until = now + lifetime
        self.due_at = now + self.interval
        self.interval = min(2 * self.interval, MAX_BINDACK_TIMEOUT)

    def mark_accepted(self, status: int, lifetime: int, advice: int | None) -> None:
        """Book an acceptance for ``lifetime`` seconds, counted from when the update was sent.

        Refresh when a fifth of the lifetime is left, at least 3 seconds ahead where the lifetime
        allows it, or sooner if the home agent advises so (RFC 6275 §6.2.4).
        """
        sent_at = self.sent_at or 0.0
        self.awaiting = False
        self.state = BindingState.REGISTERED
        self.status = status
        self.expires_at = self.held_until = sent_at + lifetime
        margin = max(_REFRESH_SHARE * lifetime, min(_REFRESH_MARGIN, lifetime / 2))
        after = lifetime - margin
        self.due_at = sent_at + (min(after, advice) if advice else after)
        self.corrections = self.refusals = 0

    def mark_refused(self, now: float, status: int) -> None:
        """Book a refusal, and when to try again.

        "If the status field does not indicate success registration (i.e. more than 128), it SHOULD
        stop registering the care-of address" (the draft §7.4).
        Deviates from the draft §7.4: it is tried again, ever more slowly, so that a vehicle comes
        back by itself when its home agent has been repaired. Deviates from RFC 3963 §5.4, §5.4.1
        and §5.4.2 in the same way. Deviates from RFC 6275 §11.7.1, where a home address that
        another node has (134) is never tried again: it is our only one. Deviates from RFC 6275
        §11.7.3, where nothing more would be sent to such a node.
        """
        self.awaiting = False
        if self.expires_at is None:
            self.held_until = now  # never accepted: nothing to de-register
        else:
            self.held_until = self.expires_at
        self.state = BindingState.REFUSED
        self.status = status
        self.expires_at = None
        self.due_at = now + min(REFUSED_RETRY * 2**self.refusals, MAX_REFUSED_RETRY)
        self.refusals = min(self.refusals + 1, 8)

    def mark_refreshing(self, now: float) -> None:
        """Begin to refresh an accepted binding; it stays usable until it expires."""
        self.state = BindingState.REFRESHING
        self.begin_update(now)

    def tell_change(self, now: float) -> None:
        """Send soon what changed in it, unless it was refused and waits."""
        if self.state is BindingState.REGISTERED:
            self.mark_refreshing(now)
        elif self.state is not BindingState.REFUSED:
            self.begin_update(now)

    def mark_registering(self, now: float) -> None:
        """Begin to register from nothing."""
        self.state = BindingState.REGISTERING
        self.expires_at = None
        self.begin_update(now)

    def mark_expired(self) -> None:
        """Book that the lifetime ran out with no refresh accepted; go on registering."""
        self.state = BindingState.REGISTERING
        self.expires_at = None

    def mark_ending(self, now: float) -> None:
        """Begin to de-register; the home agent forgets by itself at ``held_until``."""
        self.state = BindingState.DEREGISTERING
        self.awaiting = False
        self.renew_at = None
        self.begin_update(now)

    def answer_request(self, now: float) -> None:
        """Refresh a binding because somebody asks for it, unless that has just been done."""
        rested = self.sent_at is None or now - self.sent_at >= REQUESTED_REFRESH_INTERVAL
        if rested and self.state is BindingState.REGISTERED:
            self.mark_refreshing(now)

    def allow_correction(self) -> bool:
        """Count one immediate corrected repetition; return False once there were too many."""
        self.corrections += 1
        return self.corrections <= _MAX_CORRECTIONS

    def list_deadlines(self) -> list[float]:
        """Return when something has to happen to this binding."""
        moments = [self.due_at]
        if self.usable:
            moments.append(self.expires_at)
        if self.may_renew:
            moments.append(self.renew_at)
        if self.is_ending:
            moments.append(self.held_until)
        return [moment for moment in moments if moment is not None]

    def snapshot(self) -> UpdateListEntry:
        """Return this binding as others see it."""
        return UpdateListEntry(
            link=self.egress.link,
            interface=self.egress.interface,
            care_of_address=self.egress.address,
            ifid=self.ifid,
            ifpri=self.egress.ifpri,
            slot=self.slot,
            state=self.state,
            sequence=self.sequence,
            status=self.status,
            expires_at=self.expires_at,
            usable=self.usable,
            plain=self.plain,
            ipv4_prefixes=self.ipv4_prefixes if self.usable else (),
        )


BindingT = TypeVar("BindingT", bound=Binding)


def create_binding(
    egress: EgressAddress,
    others: Iterable[Binding],
    random: Random,
    avoid: Collection[int] = (),
    first_interval: float = INITIAL_BINDACK_TIMEOUT_FIRST_REG,
) -> Binding | None:
    """Return a new binding with an IFID and a slot of its own, or None if none is free.

    The sequence number begins anywhere. ``avoid`` is as for ``choose_identity``.
    """
    identity = choose_identity(others, random, avoid)
    if identity is None:
        return None
    ifid, slot = identity
    return Binding(egress, ifid, slot, sequence=0, first_interval=first_interval)


def choose_identity(
    others: Iterable[Binding], random: Random, avoid: Collection[int] = ()
) -> tuple[int, int] | None:
    """Return an IFID and a slot that none of ``others`` has, or None if none is free.

    The IFID is random, from 1 to 255 (the draft §3, §5.2). "MN has to assign different IFID for
    each destination node" (the draft §3): ``avoid`` are those that other destinations know the
    same care-of address by; one of them is used only if there is no other.
    """
    others = list(others)
    slot = find_free_slot(binding.slot for binding in others)
    free = set(range(1, 256)) - {binding.ifid for binding in others}
    free = free - set(avoid) or free
    if slot is None or not free:
        return None
    return random.choice(sorted(free)), slot


def restore_binding(
    kind: type[BindingT], entry: UpdateListEntry, now: float, ifid_renewal: float | None
) -> BindingT:
    """Return the binding that a former run saw as ``entry``, which was usable.

    It keeps IFID and slot, goes on carrying traffic, and is refreshed at once.
    """
    egress = EgressAddress(entry.link, entry.interface, entry.care_of_address, entry.ifpri)
    return kind(
        egress,
        entry.ifid,
        entry.slot,
        entry.sequence,
        plain=entry.plain,
        state=BindingState.REGISTERED,
        status=entry.status,
        expires_at=entry.expires_at,
        held_until=entry.expires_at or now,
        due_at=now,
        renew_at=None if ifid_renewal is None or entry.plain else now + ifid_renewal,
        ipv4_prefixes=entry.ipv4_prefixes,
    )


def describe_for_dataplane(bindings: Iterable[Binding]) -> tuple[tuple[object, ...], ...]:
    """Return what of ``bindings`` has a bearing on forwarding, for comparison."""
    return tuple((b.slot, b.ifid, b.egress, b.usable, b.plain, b.ipv4_prefixes) for b in bindings)


def note_binding(name: str, binding: Binding, *more: tuple[str, str]) -> Noted:
    """Return a log line ``name`` about ``binding``."""
    egress = binding.egress
    return Noted(
        name,
        (
            ("link", egress.link),
            ("care_of_address", str(egress.address)),
            ("ifid", str(binding.ifid)),
            ("ifpri", str(egress.ifpri)),
            *more,
        ),
    )
