"""Route optimization with one correspondent node (RFC 6275 §11.6 and §11.7, draft §7.3 to §7.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.acknowledgements import Verdict
from mrouter.protocol.bindings import BindingState, RouteEntry
from mrouter.protocol.events import Counted, Noted
from mrouter.protocol.home_registration import is_later
from mrouter.protocol.route_answers import (
    CARE_OF_NONCE_EXPIRED,
    HOME_NONCE_EXPIRED,
    judge_route_answer,
)
from mrouter.protocol.route_binding import (
    RouteBinding,
)
from mrouter.protocol.route_list import RouteList
from mrouter.protocol.route_sender import RouteSender
from mrouter.protocol.statuses import name_status
from mrouter.protocol.update_list import (
    RENEWAL_RETRY,
    REPLACED_PAUSE,
    describe_for_dataplane,
    note_binding,
    restore_binding,
)
from mrouter.wire.constants import BindingErrorStatus, BindingStatus
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    CareOfTest,
    HomeTest,
    find_option,
)
from mrouter.wire.options import CareOfAddressInformation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.bindings import UpdateListEntry
    from mrouter.protocol.events import Effect, PacketReceived
    from mrouter.protocol.route_list import Situation
    from mrouter.protocol.settings import MobileRouterSettings
    from mrouter.wire.messages import Packet

#: The draft §8.6 numbers "unknown binding" 0, RFC 6275 §6.1.9 numbers it 1.
_DRAFT_UNKNOWN_BINDING = 0


class Route:
    """The mobile node's machine towards one correspondent node.

    The primary care-of address goes first: Home Test and Care-of Test at once, Binding Update, and
    its acknowledgement; then the others, each with a Care-of Test of its own and the same home
    keygen token while that is fresh (the draft §7.3). All bindings share one sequence number.

    ``find_ifids`` tells which IFIDs other destinations know a care-of address by.

    Deviates from RFC 6275 §11.7.2, where no lifetime is longer than what is left of the home
    registration: ours are short and always refreshed, so that a route would be renewed several
    times a minute, and the home address is no less valid while the home agent is not reached.
    """

    def __init__(
        self,
        correspondent: IPv6Address,
        settings: MobileRouterSettings,
        random: Random,
        find_ifids: Callable[[IPv6Address], set[int]],
    ) -> None:
        self._correspondent = correspondent
        self._settings = settings
        self._list = RouteList(settings.home_address, random, find_ifids)
        self._sender = RouteSender(correspondent, settings, random, self._list)

    @property
    def entries(self) -> tuple[RouteEntry, ...]:
        """The Binding Update List for this correspondent node, by slot."""
        ordered = sorted(self._list.bindings, key=lambda binding: binding.slot)
        return tuple(RouteEntry(self._correspondent, binding.snapshot()) for binding in ordered)

    def describe(self) -> tuple[tuple[object, ...], ...]:
        """Return what has a bearing on forwarding, for comparison."""
        return describe_for_dataplane(self._list.bindings)

    @property
    def is_over(self) -> bool:
        """Whether it is not wanted, and the correspondent node holds no binding any more."""
        return self._list.retired and not self._list.bindings

    def next_deadline(self) -> float | None:
        """Return when ``run`` is to be called next, in monotonic seconds; None for never."""
        moments = [self._sender.home_test.due_at, self._sender.updates_at]
        for binding in self._list.bindings:
            moments.append(binding.test.due_at)
            if self._list.is_held_back(binding):
                continue  # nothing of it runs yet
            moments += binding.list_deadlines()
        return min((moment for moment in moments if moment is not None), default=None)

    def restore(self, entries: Iterable[UpdateListEntry], now: float) -> None:
        """Take over the bindings of a former run, which were usable; tests begin anew."""
        renewal = self._settings.ifid_renewal
        for entry in entries:
            binding = restore_binding(RouteBinding, entry, now, renewal)
            self._list.bindings.append(binding)
            self._list.single = self._list.single or binding.plain
            first = len(self._list.bindings) == 1
            if first or is_later(binding.sequence, than=self._sender.sequence):
                self._sender.sequence = binding.sequence

    # --- what happens ---------------------------------------------------------------------

    def place(self, situation: Situation, *, wanted: bool, now: float) -> None:
        """Take note of where the mobile node is, and whether it wants this route optimized.

        ``run`` draws the consequences.
        """
        self._list.retired = not wanted
        self._list.place(situation, now)

    def receive(self, event: PacketReceived, now: float) -> list[Effect]:
        """Take in a packet that the correspondent node has sent."""
        packet, message = event.packet, event.packet.message
        if isinstance(message, HomeTest):
            # It "has been received in a tunnel from the home agent" (RFC 6275 §11.6.2).
            came_home = self._list.situation.at_home or event.via_home_agent
            if packet.destination != self._settings.home_address or not came_home:
                return [Counted("signalling-dropped", "not-through-home-agent")]
            return [] if self._sender.home_test.take(message) else [_DROPPED_TEST]
        if isinstance(message, CareOfTest):
            tested = [b for b in self._list.bindings if b.egress.address == packet.destination]
            return [] if any(b.test.take(message) for b in tested) else [_DROPPED_TEST]
        if isinstance(message, BindingError):
            return self._receive_error(packet, message, now)
        if isinstance(message, BindingAcknowledgement | BindingRefreshRequest):
            if not self._is_to_home(packet):
                return [Counted("signalling-dropped", "not-for-this-node")]
            if isinstance(message, BindingAcknowledgement):
                return self._receive_acknowledgement(packet, message, now)
            information = find_option(message, CareOfAddressInformation)
            return self._refresh(None if information is None else information.ifid, now)
        return [Counted("signalling-dropped", "unexpected-message")]

    def _is_to_home(self, packet: Packet) -> bool:
        return (packet.routing_home_address or packet.destination) == self._settings.home_address

    def _refresh(self, ifid: int | None, now: float) -> list[Effect]:
        """Refresh the binding that is asked for, or all (RFC 6275 §11.7.4, the draft §7.5).

        Nobody vouches for who asks, so it is done at most once a second.
        """
        asked = [b for b in self._list.bindings if b.usable and ifid in (None, b.ifid)]
        if not asked:
            return [Counted("signalling-dropped", "unknown-binding")]
        for binding in asked:
            binding.answer_request(now)
        return []

    def _receive_error(self, packet: Packet, error: BindingError, now: float) -> list[Effect]:
        """Register anew, or only the primary care-of address, or nothing (the draft §7.6).

        While a binding stands, status 1 is RFC 6275's "unknown binding" (the draft's 0): the
        correspondent node has lost it. Before, 1 and 2 are both "unrecognized MH Type": the draft
        has the one in §8.6, the other in §7.6. Deviates from the draft §7.6: nobody vouches for a
        Binding Error, so status 2 does not end what the correspondent node has accepted. Deviates
        from RFC 6275 §11.3.6: for the same reason a route that is unknown to the correspondent
        node stays in use while it is registered again.
        """
        proven = self._is_proven
        unknown_binding = (_DRAFT_UNKNOWN_BINDING, BindingErrorStatus.UNKNOWN_BINDING)
        if proven and error.status in unknown_binding:
            information = find_option(error, CareOfAddressInformation)
            if information is not None:
                return self._refresh(information.ifid, now)
            at = packet.destination
            sender = next(
                (b for b in self._list.bindings if b.usable and b.egress.address == at), None
            )
            return self._refresh(None if sender is None else sender.ifid, now)
        if proven or not self._sender.is_asking or error.status not in tuple(BindingErrorStatus):
            return [Counted("signalling-dropped", "binding-error-ignored")]
        if not self._list.single:
            self._list.fall_back(now)
            return [self._note_peer("multiple-registration-not-supported")]
        return self._give_up(now)

    def hear_of_no_mobility(self, now: float) -> list[Effect]:
        """Leave the correspondent node alone for a while, as it knows no Mobility Header.

        "future Binding Updates SHOULD NOT be sent to this destination ... removed after a period
        of time in order to allow for retrying" (RFC 6275 §11.3.5, §11.6.2). Nobody vouches for an
        ICMPv6 error, so it counts while an answer is waited for, and ends nothing that stands.
        """
        if self._is_proven or not self._sender.is_asking:
            return [Counted("signalling-dropped", "parameter-problem-ignored")]
        return self._give_up(now)

    @property
    def _is_proven(self) -> bool:
        """Whether the correspondent node has accepted a binding that stands."""
        return any(binding.usable for binding in self._list.bindings)

    def _receive_acknowledgement(
        self, packet: Packet, answer: BindingAcknowledgement, now: float
    ) -> list[Effect]:
        judgement = judge_route_answer(packet, answer, self._list.bindings)
        if isinstance(judgement, Counted):
            return [judgement]
        verdict, binding = judgement
        if verdict is Verdict.ACCEPTED:
            return self._accept(binding, answer, now)
        if verdict is Verdict.SINGLE_ONLY:
            return self._take_as_single(binding, answer, now)
        if verdict is Verdict.DEREGISTERED:
            self._list.remove(binding)
            return []
        if verdict is Verdict.CORRECT:
            self._correct(binding, answer, now)
            return [Counted("registration-corrected", name_status(answer.status))]
        return self._take_refusal(binding, answer, now)

    def _accept(
        self, binding: RouteBinding, answer: BindingAcknowledgement, now: float
    ) -> list[Effect]:
        # Binding Refresh Advice "MUST be ignored if the acknowledgement came from a correspondent
        # node" (RFC 6275 §11.7.3).
        fresh = not binding.usable
        lifetime = min(answer.lifetime, self._sender.lifetime)
        binding.mark_accepted(answer.status, lifetime, advice=None)
        renewal = self._settings.ifid_renewal
        if fresh and renewal is not None and not binding.plain:
            binding.renew_at = now + renewal
        old, binding.replaces = binding.replaces, None
        if isinstance(old, RouteBinding) and old in self._list.bindings and not old.is_ending:
            old.end(now)
        return [self._note("route-registered", binding)] if fresh else []

    def _take_as_single(
        self, binding: RouteBinding, answer: BindingAcknowledgement, now: float
    ) -> list[Effect]:
        """Go on as plain Mobile IPv6 (the draft §7.4): with what was accepted, if it is primary."""
        notes: list[Effect] = [self._note_peer("multiple-registration-not-supported")]
        if binding.key != self._list.primary:
            self._list.fall_back(now)
            return notes
        self._list.keep_single(binding)
        return notes + self._accept(binding, answer, now)

    def _correct(self, binding: RouteBinding, answer: BindingAcknowledgement, now: float) -> None:
        """Put right what the correspondent node complains of, and go on (RFC 6275 §11.7.3).

        135: the sequence number goes on from the one in the answer; 136 to 138: the tokens are
        too old, so return routability is done again.
        """
        if answer.status == BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW:
            self._sender.sequence = answer.sequence
        if answer.status in HOME_NONCE_EXPIRED:
            self._sender.home_test.forget()
        if answer.status in CARE_OF_NONCE_EXPIRED:
            binding.test.forget()
        if binding.allow_correction():
            binding.due_at = now

    def _take_refusal(
        self, binding: RouteBinding, answer: BindingAcknowledgement, now: float
    ) -> list[Effect]:
        status = name_status(answer.status)
        old = binding.replaces
        if old is not None:  # a fresh IFID was refused: the old one goes on
            self._list.bindings.remove(binding)
            old.renew_at = now + RENEWAL_RETRY
            return [Counted("registration-refused", status)]
        binding.mark_refused(now, answer.status)
        return [
            Counted("registration-refused", status),
            self._note("route-refused", binding, ("status", status)),
        ]

    def _give_up(self, now: float) -> list[Effect]:
        """Try a node that is no correspondent node again much later (RFC 6275 §11.3.5, §11.3.6)."""
        self._sender.home_test.stop()
        for binding in self._list.bindings:
            if not binding.is_ending:
                binding.test.stop()
                binding.waits = False
                binding.mark_refused(now, BindingStatus.REASON_UNSPECIFIED)
        return [self._note_peer("route-optimization-not-supported")]

    # --- what has to be done --------------------------------------------------------------

    def run(self, now: float) -> list[Effect]:
        """Do what is due at ``now``; to be called after whatever has happened."""
        effects = self._run_expiries(now)
        self._list.reconcile(now)
        for binding in self._list.bindings:
            if binding.due_at is None or binding.due_at > now or self._list.is_held_back(binding):
                continue
            if not binding.is_ending and any(b.replaces is binding for b in self._list.bindings):
                # the correspondent node has (or will have) put the fresh IFID's in its place
                binding.due_at = now + REPLACED_PAUSE
                continue
            if binding.state is BindingState.REGISTERED:
                binding.mark_refreshing(now)
            elif binding.state is BindingState.REFUSED:
                binding.mark_registering(now)
            binding.due_at = None
            binding.waits = True
        effects += self._sender.send_updates(now)
        effects += self._sender.send_tests(now)
        return effects + self._leave_unproven()

    def farewell(self, now: float) -> list[Effect]:
        """De-register all at once, without waiting for an answer: the mobile node stops.

        It takes a fresh home keygen token; without one the correspondent node forgets by itself.
        """
        self._list.retired = True
        self._list.reconcile(now)
        updates = [self._sender.send_update(binding, now) for binding in self._list.bindings]
        self._list.bindings = []
        self._sender.home_test.stop()
        return [update for update in updates if update is not None]

    def _run_expiries(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for binding in tuple(self._list.bindings):
            if binding.is_ending and binding.held_until <= now:
                self._list.bindings.remove(binding)
                effects.append(self._note("route-deregistration-unanswered", binding))
            elif binding.usable and binding.expires_at is not None and binding.expires_at <= now:
                binding.mark_expired()
                effects.append(self._note("route-expired", binding))
        return effects

    def _leave_unproven(self) -> list[Effect]:
        """Leave the routes whose return routability cannot be shown any more.

        "If Return Routability signaling timed out after MAX_RO_FAILURE attempts, the mobile node
        MUST revert to sending packets ... through its home agent" (RFC 6275 §5.2.9).
        """
        effects: list[Effect] = []
        for binding in self._list.bindings:
            failed = binding.test.has_failed or self._sender.home_test.has_failed
            if binding.usable and binding.waits and failed:
                binding.mark_expired()
                effects.append(self._note("route-unproven", binding))
        return effects

    def _note(self, name: str, binding: RouteBinding, *more: tuple[str, str]) -> Noted:
        return note_binding(name, binding, ("correspondent", str(self._correspondent)), *more)

    def _note_peer(self, name: str) -> Noted:
        return Noted(name, (("correspondent", str(self._correspondent)),))


_DROPPED_TEST = Counted("signalling-dropped", "unexpected-test")
