"""Home registrations: every care-of address with the home agent (RFC 6275 §11, RFC 3963 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.acknowledgements import Verdict, judge
from mrouter.protocol.bindings import BindingState
from mrouter.protocol.egress import find_source, find_wanted
from mrouter.protocol.events import (
    AdvertiseNeighbour,
    BindingsChanged,
    Counted,
    EgressChanged,
    HomeAgentReached,
    Noted,
    PacketReceived,
    StopRequested,
)
from mrouter.protocol.home_sender import HomeSender
from mrouter.protocol.ipv4_networks import keep_permitted
from mrouter.protocol.statuses import name_status
from mrouter.protocol.update_list import (
    RENEWAL_RETRY,
    REPLACED_PAUSE,
    create_binding,
    describe_for_dataplane,
    note_binding,
)
from mrouter.wire.constants import BindingErrorStatus
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    find_option,
)
from mrouter.wire.options import (
    BindingRefreshAdvice,
    CareOfAddressInformation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.bindings import UpdateListEntry
    from mrouter.protocol.events import Effect, EgressAddress, Event, Instant
    from mrouter.protocol.flow_bindings import FlowState, WantedFlow
    from mrouter.protocol.ipv4_networks import IPv4State
    from mrouter.protocol.settings import MobileRouterSettings
    from mrouter.protocol.update_list import Binding
    from mrouter.wire.messages import Packet


class HomeRegistrar:
    """The machine towards the home agent: ``handle`` events, obey ``next_deadline``.

    Deviates from the draft §7.3, which would register the primary care-of address alone with the
    home agent: a mobile router registers them all (the draft §9).

    A home agent that turns out not to know CoAINFO gets the primary care-of address only, as plain
    RFC 3963 (the draft §7.4, §7.6), until every link has been gone. ``kept`` are bindings of a
    former run (``restore_binding``).
    """

    def __init__(
        self,
        settings: MobileRouterSettings,
        random: Random,
        find_ifids: Callable[[IPv6Address], set[int]],
        kept: Iterable[Binding] = (),
    ) -> None:
        self._settings = settings
        self._random = random
        self._find_ifids = find_ifids
        self._lifetime = min(max(settings.lifetime // 4 * 4, 4), 262140)
        self._addresses: tuple[EgressAddress, ...] = ()
        self._bindings = list(kept)
        for binding in self._bindings:  # the configuration may be another one by now
            binding.ipv4_prefixes = keep_permitted(binding.ipv4_prefixes, settings.ipv4_prefixes)
        self._last_ifids = {binding.egress.link: binding.ifid for binding in self._bindings}
        self._single = any(binding.plain for binding in self._bindings)
        self._stopped = False
        self._sender = HomeSender(settings, random, self._bindings)

    @property
    def flow_states(self) -> tuple[FlowState, ...]:
        """Where each of the wanted flows stands at the home agent, in their order."""
        return self._sender.flows.states

    @property
    def ipv4_states(self) -> tuple[IPv4State, ...]:
        """Where each IPv4 network on board stands at the home agent."""
        return self._sender.ipv4.states

    def want_flows(self, flows: tuple[WantedFlow, ...]) -> None:
        """Take over what is wanted for the downlink; ``handle`` draws the consequences."""
        self._sender.flows.want(flows)

    @property
    def entries(self) -> tuple[UpdateListEntry, ...]:
        """The Binding Update List, by slot."""
        ordered = sorted(self._bindings, key=lambda binding: binding.slot)
        return tuple(binding.snapshot() for binding in ordered)

    @property
    def is_registered(self) -> bool:
        """Whether the home agent has accepted a binding that stands."""
        return any(binding.usable for binding in self._bindings)

    def next_deadline(self) -> float | None:
        """Return when ``handle`` wants a ``TimerFired``, in monotonic seconds; None for never."""
        if self._stopped:
            return None
        moments = [moment for binding in self._bindings for moment in binding.list_deadlines()]
        if self._sender.flows.next_deadline is not None:
            moments.append(self._sender.flows.next_deadline)
        return min(moments, default=None)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take one event in at ``now`` and return what to do about it, in this order."""
        if self._stopped:
            return []
        before = describe_for_dataplane(self._bindings)
        effects = self._run_expiries(now.monotonic)
        if isinstance(event, PacketReceived):
            effects += self._receive(event.packet, now)
        elif isinstance(event, EgressChanged):
            self._take_addresses(event, now.monotonic)
        elif isinstance(event, HomeAgentReached):
            self._send_again(event, now.monotonic)
        elif isinstance(event, StopRequested):
            effects += self._stop(event, now)
        if not self._stopped:
            effects += self._reconcile(now.monotonic)
            self._push_flows(now.monotonic)
            effects += self._send_due(now)
        if describe_for_dataplane(self._bindings) != before:
            # First of all: traffic leaves a dead link before anybody is told.
            effects.insert(0, BindingsChanged())
        return effects

    # --- what happens ---------------------------------------------------------------------

    def _take_addresses(self, event: EgressChanged, now: float) -> None:
        self._addresses = tuple({(a.link, a.address): a for a in event.addresses}.values())
        self._sender.forget_idle(now)
        if not self._addresses:
            self._end_single_mode()
        for binding in self._bindings:
            if binding.is_ending and binding.due_at is None:
                binding.due_at = now  # there may be a way to say so again

    def _send_again(self, event: HomeAgentReached, now: float) -> None:
        for binding in self._bindings:
            if binding.awaiting and binding.sent_from in event.care_of_addresses:
                binding.begin_update(now)

    def _stop(self, event: StopRequested, now: Instant) -> list[Effect]:
        self._stopped = True
        if not event.deregister:
            return []
        held = [binding for binding in self._bindings if binding.held_until > now.monotonic]
        sources = [(binding, self._find_source(binding)) for binding in held]
        self._bindings = []
        return [
            self._sender.send(binding, source, 0, now, others_stay=False)
            for binding, source in sources
            if source
        ]

    def _receive(self, packet: Packet, now: Instant) -> list[Effect]:
        message = packet.message
        if packet.source != self._settings.home_agent:
            return [Counted("signalling-dropped", "not-from-home-agent")]
        if isinstance(message, BindingAcknowledgement):
            return self._receive_acknowledgement(packet, message, now)
        if isinstance(message, BindingRefreshRequest):
            return self._receive_refresh_request(packet, message, now.monotonic)
        if isinstance(message, BindingError):
            return self._receive_error(message, now.monotonic)
        return [Counted("signalling-dropped", "unexpected-message")]

    def _receive_refresh_request(
        self, packet: Packet, request: BindingRefreshRequest, now: float
    ) -> list[Effect]:
        """Refresh the binding that CoAINFO names, or all (RFC 6275 §11.7.4, the draft §7.5)."""
        if (packet.routing_home_address or packet.destination) != self._settings.home_address:
            return [Counted("signalling-dropped", "not-for-this-node")]
        information = find_option(request, CareOfAddressInformation)
        asked = [
            binding
            for binding in self._bindings
            if binding.usable and (information is None or binding.ifid == information.ifid)
        ]
        if not asked:
            return [Counted("signalling-dropped", "unknown-binding")]
        for binding in asked:
            binding.answer_request(now)
        return []

    def _receive_error(self, error: BindingError, now: float) -> list[Effect]:
        """Register only the primary care-of address from now on (the draft §7.6), or all anew.

        Status 2 is "unrecognized MH Type value" in RFC 6275 and in the draft's §7.6, 1 in its
        §8.6: both count. Deviates from the draft §7.6: nobody vouches for a Binding Error, so it
        is only believed while no registration with CoAINFO stands that the home agent accepted.
        Where one stands, status 1 is "unknown binding": the home agent has lost it, as in a reboot.
        All are registered again at once (RFC 6275 §11.3.6), and are used meanwhile.
        """
        statuses = (BindingErrorStatus.UNKNOWN_BINDING, BindingErrorStatus.UNRECOGNIZED_MH_TYPE)
        waiting = any(binding.awaiting for binding in self._bindings)
        proven = any(binding.usable for binding in self._bindings)
        is_ours = error.home_address == self._settings.home_address
        if proven and is_ours and error.status == BindingErrorStatus.UNKNOWN_BINDING:
            self._sender.flows.begin_anew()
            for binding in self._bindings:
                binding.answer_request(now)
            return [Counted("bindings-forgotten", "by-home-agent")]
        if self._single or proven or not waiting or error.status not in statuses:
            return [Counted("signalling-dropped", "binding-error-ignored")]
        return self._fall_back(now)

    def _receive_acknowledgement(
        self, packet: Packet, acknowledgement: BindingAcknowledgement, now: Instant
    ) -> list[Effect]:
        judgement = judge(packet, acknowledgement, self._settings, self._bindings)
        if isinstance(judgement, Counted):
            return [judgement]
        verdict, binding = judgement
        at = now.monotonic
        if verdict is Verdict.ACCEPTED:
            return self._accept(binding, acknowledgement, at)
        if verdict is Verdict.DEREGISTERED:
            self._bindings.remove(binding)
            return self._come_home()
        if verdict is Verdict.SINGLE_ONLY:
            return self._fall_back(at)
        if verdict is Verdict.DOUBTFUL:
            # Signed by the home agent, but about a Binding Update that was not ours or was
            # damaged on its way: our own is repeated by the timer. Deviates from RFC 4285 §5.3,
            # where a forged Binding Update could so silence its victim.
            return [Counted("authentication-failed", "refused-by-home-agent")]
        if verdict is Verdict.CORRECT:
            self._sender.correct(binding, acknowledgement, now.unix)
            if binding.allow_correction():
                binding.due_at = at  # repeated at once
            return [Counted("registration-corrected", name_status(acknowledgement.status))]
        return self._take_refusal(binding, verdict, acknowledgement, now)

    def _come_home(self) -> list[Effect]:
        """Say on the home link that the home address is here, once no binding is left.

        "the mobile node MUST ... multicast onto the home link a Neighbor Advertisement message, to
        advertise the mobile node's own link-layer address" (RFC 6275 §11.5.5).
        """
        home = self._settings.home_address
        primary = min(self._addresses, key=lambda each: each.ifpri, default=None)
        at_home = primary is not None and primary.address == home
        return [AdvertiseNeighbour((home,))] if at_home and not self._bindings else []

    def _accept(
        self, binding: Binding, acknowledgement: BindingAcknowledgement, now: float
    ) -> list[Effect]:
        fresh = not binding.usable
        advice = find_option(acknowledgement, BindingRefreshAdvice)
        binding.mark_accepted(
            acknowledgement.status,
            min(acknowledgement.lifetime, self._lifetime),
            advice.interval if advice else None,
        )
        renewal = self._settings.ifid_renewal
        if binding.renew_at is None and renewal is not None and not binding.plain and fresh:
            binding.renew_at = now + renewal
        old, binding.replaces = binding.replaces, None
        if old in self._bindings and not old.is_ending:
            old.mark_ending(now)
        effects = self._sender.take_acceptance(
            binding, self._bindings, acknowledgement, now, fresh=fresh
        )
        return [note_binding("binding-registered", binding), *effects] if fresh else effects

    def _take_refusal(
        self,
        binding: Binding,
        verdict: Verdict,
        acknowledgement: BindingAcknowledgement,
        now: Instant,
    ) -> list[Effect]:
        old, status = binding.replaces, name_status(acknowledgement.status)
        effects: list[Effect] = [Counted("registration-refused", status)]
        if old is not None:  # a fresh IFID was refused: the old one goes on
            self._bindings.remove(binding)
            old.renew_at = now.monotonic + RENEWAL_RETRY
            return effects
        effects.append(note_binding("registration-refused", binding, ("status", status)))
        if verdict is Verdict.NOT_A_NEMO_HOME_AGENT:
            # Accepted, but without R: it would not forward for the prefixes (RFC 3963 §5.3).
            # De-registered once; what gets lost ends with its lifetime.
            effects.append(note_binding("nemo-not-supported", binding))
            source = self._find_source(binding)
            if source is not None:
                effects.append(self._sender.send(binding, source, 0, now))
        binding.mark_refused(now.monotonic, acknowledgement.status)
        return effects

    def _fall_back(self, now: float) -> list[Effect]:
        """Keep the primary care-of address only, registered without M and CoAINFO.

        The plain Binding Update overwrites whatever the home agent has, so nothing else is
        de-registered.
        """
        self._single = True
        wanted = find_wanted(self._addresses, self._settings.home_address, primary_only=True)
        kept = next((b for b in self._bindings if b.key in wanted and not b.is_ending), None)
        self._bindings = [] if kept is None else [kept]
        if kept is not None:
            kept.plain = True
            kept.renew_at = kept.replaces = None
            kept.mark_registering(now)
        return [Noted("multiple-registration-not-supported")]

    def _end_single_mode(self) -> None:
        # No de-registration without CoAINFO may linger: it would end what is registered next.
        self._single = False
        self._bindings = [binding for binding in self._bindings if not binding.plain]

    # --- what has to be done --------------------------------------------------------------

    def _run_expiries(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for binding in tuple(self._bindings):
            if binding.is_ending and binding.held_until <= now:
                self._bindings.remove(binding)
                effects.append(note_binding("deregistration-unanswered", binding))
            elif binding.expires_at is not None and binding.expires_at <= now and binding.usable:
                binding.mark_expired()
                effects.append(note_binding("binding-expired", binding))
        return effects

    def _reconcile(self, now: float) -> list[Effect]:
        """Make the list match the addresses: end what has gone, begin what is new."""
        wanted = find_wanted(
            self._addresses, self._settings.home_address, primary_only=self._single
        )
        for binding in tuple(self._bindings):
            if binding.key in wanted and not binding.is_ending:
                if binding.set_egress(wanted[binding.key]) and binding.due_at is not None:
                    binding.tell_change(now)
            elif binding.plain and wanted:
                # The next plain Binding Update overwrites it, or its de-registration.
                self._bindings.remove(binding)
            elif not binding.is_ending:
                self._end(binding, now)
        present = {binding.key for binding in self._bindings if not binding.is_ending}
        missing = [address for key, address in wanted.items() if key not in present]
        effects = [effect for address in missing for effect in self._begin(address, now)]
        self._renew(now)
        return effects

    def _begin(self, address: EgressAddress, now: float) -> list[Effect]:
        binding = self._create(address)
        if binding is None:
            return [Counted("registration-refused", "no-free-slot")]
        if self._single:
            binding.plain = True
        binding.begin_update(now)
        self._bindings.append(binding)
        return []

    def _create(self, egress: EgressAddress) -> Binding | None:
        # "MUST assign a new ID for the new CoA" (the draft §7.2): not by chance the link's last.
        # Deviates from the draft §4, where the IFID stays with the interface: both cannot be.
        avoid = {*self._find_ifids(egress.address), self._last_ifids.get(egress.link, 0)}
        first_interval = self._settings.first_registration_timeout
        binding = create_binding(egress, self._bindings, self._random, avoid, first_interval)
        if binding is not None:
            self._last_ifids[egress.link] = binding.ifid
        return binding

    def _end(self, binding: Binding, now: float) -> None:
        """De-register what the home agent may still hold.

        "Once the address is deleted from the interface, MN MUST de-register the address by sending
        BU with lifetime zero and correspond CoAINFO sub-option" (the draft §7.2).
        """
        if binding.held_until > now:
            binding.mark_ending(now)
        else:
            self._bindings.remove(binding)

    def _renew(self, now: float) -> None:
        """Begin a binding with a fresh IFID where one is due (the draft §5.2).

        The old one is de-registered once the new one is accepted.
        """
        for old in tuple(self._bindings):
            if not old.may_renew or old.renew_at is None or old.renew_at > now:
                continue
            fresh = self._create(old.egress)
            if fresh is None:
                old.renew_at = now + RENEWAL_RETRY
                continue
            old.renew_at = None
            fresh.replaces = old
            fresh.begin_update(now)
            self._bindings.append(fresh)

    def _push_flows(self, now: float) -> None:
        ordered = sorted(self._bindings, key=lambda each: (each.egress.ifpri, each.slot))
        carrier = self._sender.flows.choose_carrier(ordered, now)
        if carrier is not None:
            carrier.mark_refreshing(now)

    def _send_due(self, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        for binding in self._sender.order(self._bindings):
            if binding.due_at is None or binding.due_at > now.monotonic:
                continue
            source = self._find_source(binding)
            if source is None:
                binding.due_at = None  # until there is a link again
                continue
            allowed_at = self._sender.find_time(binding, self._bindings, now.monotonic)
            if not binding.is_ending and allowed_at > now.monotonic:
                binding.due_at = allowed_at
                continue
            if not binding.is_ending and any(b.replaces is binding for b in self._bindings):
                # the home agent has (or will have) put the fresh IFID's binding in its place
                binding.due_at = now.monotonic + REPLACED_PAUSE
                continue
            if binding.state is BindingState.REGISTERED:
                binding.mark_refreshing(now.monotonic)
            elif binding.state is BindingState.REFUSED:
                binding.mark_registering(now.monotonic)
            lifetime = 0 if binding.is_ending else self._lifetime
            effects.append(self._sender.send(binding, source, lifetime, now))
        return effects

    def _find_source(self, binding: Binding) -> EgressAddress | None:
        return find_source(self._addresses, self._settings.home_address, binding)
