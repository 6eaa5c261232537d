"""The home agent: Binding Updates in, a Binding Cache and answers out (RFC 6275 §10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.answers import (
    build_acknowledgement,
    build_binding_error,
    build_refresh_request,
    copy_informations,
    describe,
)
from mrouter.protocol.binding_cache import BindingCache
from mrouter.protocol.bulk_registration import Plan, Terms, check_mixed, make_plan, read_claims
from mrouter.protocol.ended_bindings import EndedBindings
from mrouter.protocol.events import (
    AdvertiseNeighbour,
    BindingsChanged,
    CheckDuplicate,
    Counted,
    DiscoveryReceived,
    DuplicateChecked,
    ForwardingFailed,
    PacketReceived,
    SendPacket,
    UnboundPacketSeen,
)
from mrouter.protocol.flow_table import FlowTable
from mrouter.protocol.forgotten_bindings import ForgottenBindings
from mrouter.protocol.home_defence import HeldRequests, find_undefended
from mrouter.protocol.home_directory import HomeDirectory
from mrouter.protocol.home_memory import list_restorable, list_restorable_flows, save_tables
from mrouter.protocol.home_registration import (
    Discard,
    Refuse,
    Request,
    authenticate,
    check_care_of_address,
    check_home_address,
    check_nesting,
    check_sequence,
    check_type,
    find_prefixes,
    read_request,
)
from mrouter.protocol.home_reports import (
    count_refusal,
    count_refused_flows,
    count_refused_ipv4,
    note_entry,
    note_flows,
)
from mrouter.protocol.ipv4_networks import grant_ipv4
from mrouter.protocol.keys import to_ntp_timestamp
from mrouter.protocol.prefix_table import PrefixTable
from mrouter.protocol.replay import ReplayGuard
from mrouter.wire.constants import BindingErrorStatus, BindingStatus
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingUpdate,
    CareOfTestInit,
    HomeTestInit,
    Packet,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv6Address

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.events import Effect, Event, Instant
    from mrouter.protocol.flow_bindings import FlowBinding
    from mrouter.protocol.home_memory import HomeAgentMemory
    from mrouter.protocol.home_registration import Claim
    from mrouter.protocol.settings import HomeAgentSettings, ServedMobileRouter
    from mrouter.wire.options import MobilityOption

#: Seconds between two Binding Errors (RFC 6275 §9.3.3: their rate SHOULD be limited).
_ERROR_INTERVAL = 0.1


class HomeAgent:
    """The home agent's machine: ``handle`` events, obey ``next_deadline``, read ``entries``.

    It serves home registrations only; it is no correspondent node.
    """

    def __init__(self, settings: HomeAgentSettings, started: Instant) -> None:
        self._settings = settings
        self._table = PrefixTable(settings.served)
        self._cache = BindingCache()
        self._replay = ReplayGuard(started.unix, settings.timestamp_window)
        self._ended = EndedBindings()
        self._flows = FlowTable()
        self._held = HeldRequests()
        self._directory = HomeDirectory(settings, started.monotonic)
        self._next_error_at = started.monotonic
        self._forgotten = ForgottenBindings(settings.address, self._table)

    @property
    def entries(self) -> tuple[CacheEntry, ...]:
        """All bindings, by home address and IFID; the same object until one changes."""
        return self._cache.entries

    @property
    def flows(self) -> tuple[FlowBinding, ...]:
        """All flow bindings, by home address and priority; the same object until one changes.

        One whose bindings have all gone is inactive.
        """
        return self._flows.flows

    def next_deadline(self) -> float | None:
        """Return when ``handle`` wants a ``TimerFired``, in monotonic seconds; None for never."""
        return self._cache.next_deadline()

    def save(self) -> HomeAgentMemory:
        """Return what another run needs to go on where this one is."""
        return save_tables(self._cache, self._replay, self._flows)

    def restore(self, memory: HomeAgentMemory) -> None:
        """Take over what a former run saved, as far as the settings still allow it.

        A binding whose lifetime is over meanwhile ends at the next event.
        """
        self._replay.restore(memory.timestamps)
        nemo = self._settings.nemo
        for entry, path in list_restorable(memory.bindings, self._table, nemo=nemo):
            self._cache.put(entry, path)
        homes = {entry.home_address for entry in self._cache.entries}
        flows = list_restorable_flows(memory.flows, self._table, homes)
        self._flows.restore(flows, memory.flows_taken_at)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take one event in at ``now`` and return what to do about it, in this order."""
        effects = self._run_deadlines(now)
        if isinstance(event, PacketReceived):
            effects += self._receive(event.packet, now)
        elif isinstance(event, ForwardingFailed):
            effects += self._give_up_forwarding(event)
        elif isinstance(event, DuplicateChecked):
            effects += self._finish_check(event, now)
        elif isinstance(event, DiscoveryReceived):
            home = event.packet.home_address
            bindings = [] if home is None else self._cache.list_of(home)
            effects += self._directory.answer(event.packet, bindings, now.monotonic)
        elif isinstance(event, UnboundPacketSeen):
            effects += self._forgotten.answer(event, self._cache.entries, now.monotonic)
        return effects

    # --- deadlines ------------------------------------------------------------------------

    def _run_deadlines(self, now: Instant) -> list[Effect]:
        at = self._cache.next_deadline()
        if at is None or at > now.monotonic:
            return []
        effects: list[Effect] = []
        ended = False
        for entry, is_over in self._cache.take_due(now.monotonic):
            if is_over:
                ended = True
                self._end_flows(entry.home_address)
                effects.append(note_entry("binding-expired", entry))
            else:
                effects.append(build_refresh_request(self._settings.address, entry))
        return [BindingsChanged(), *effects] if ended else effects

    def _end_flows(self, home_address: IPv6Address) -> None:
        """Forget a home address's flow bindings if its last binding has ended."""
        if not self._cache.list_of(home_address):
            self._flows.drop(home_address)

    # --- packets --------------------------------------------------------------------------

    def _receive(self, packet: Packet, now: Instant) -> list[Effect]:
        if packet.destination != self._settings.address:
            return [Counted("signalling-dropped", "not-for-this-node")]
        if packet.source.is_multicast or packet.source.is_unspecified:
            return [Counted("signalling-dropped", "bad-source")]  # nowhere to answer to
        message = packet.message
        if isinstance(message, BindingUpdate):
            return self._process_update(packet, message, now)
        effects: list[Effect] = [Counted("signalling-dropped", "unexpected-message")]
        if isinstance(message, HomeTestInit | CareOfTestInit) and now.monotonic >= (
            self._next_error_at
        ):
            # No correspondent node here: to us these are unrecognized (RFC 6275 §9.2).
            self._next_error_at = now.monotonic + _ERROR_INTERVAL
            effects.append(build_binding_error(packet, BindingErrorStatus.UNRECOGNIZED_MH_TYPE))
        return effects

    def _process_update(self, packet: Packet, update: BindingUpdate, now: Instant) -> list[Effect]:
        request = read_request(packet, update)
        try:
            router = self._admit(request, now)
            return self._obey(request, router, now)
        except Discard as discard:
            return [discard.counted]
        except Refuse as refusal:
            return self._refuse(request, refusal)

    def _admit(self, request: Request, now: Instant) -> ServedMobileRouter:
        """Check who sent a Binding Update, and that it is fresh (RFC 6275 §9.5.1, RFC 4285)."""
        update = request.update
        if update.multiple and not request.informations:
            # "If it does not contains a CoAINFO sub-option, the CN MUST silently drop the BU"
            # (the draft §8.3).
            raise Discard("signalling-dropped", "coainfo-missing")
        bindings = self._cache.list_of(request.home_address)
        if not (update.home_registration or update.mobile_router or bindings):
            # Without a return routability key no correspondent registration can be valid.
            raise Discard("signalling-dropped", "not-home-registration")
        router = self._table.get(request.home_address)
        if router is None:
            # Nobody's key fits, so these two answers are not authenticated (RFC 6275 §10.3.1).
            home = request.home_address
            if any(home in prefix for prefix in self._settings.home_prefixes):
                raise Refuse(BindingStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE)
            raise Refuse(BindingStatus.NOT_HOME_SUBNET)
        authenticate(request, router)
        if router.security:
            self._check_replay(request, now)
        else:
            self._ended.check(request, now.monotonic)
        check_sequence(request, bindings)
        if update.lifetime or not update.home_registration:
            check_type(request, bindings)
        if update.mobile_router and not update.home_registration:
            # "The Home Registration (H) Flag MUST be set. If it is not, the Home Agent MUST reject
            # the Binding Update and send a Binding Acknowledgement with status set to 140"
            # (RFC 3963 §6.2).
            raise Refuse(BindingStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED)
        return router

    def _check_replay(self, request: Request, now: Instant) -> None:
        if request.timestamp is None:
            raise Refuse(BindingStatus.MESSAGE_ID_REQUIRED)
        # One that ends all other bindings speaks for the whole home address.
        ifids = {*request.ifids, None} if request.overwrites else request.ifids
        if not self._replay.admit(request.home_address, ifids, request.timestamp, now.unix):
            # The answer tells our own time, so that the mobile router can set its clock. Deviates
            # from RFC 4285 §6, which copies the low 32 bits: ours whole are more exact.
            raise Refuse(BindingStatus.ID_MISMATCH, timestamp=to_ntp_timestamp(now.unix))

    # --- registrations --------------------------------------------------------------------

    def _finish_check(self, event: DuplicateChecked, now: Instant) -> list[Effect]:
        """Answer what waited for duplicate address detection (RFC 6275 §10.3.1)."""
        effects: list[Effect] = []
        for request in self._held.take(event.home_address):
            router = self._table.get(event.home_address)
            try:
                if event.duplicate or router is None:
                    raise Refuse(BindingStatus.DUPLICATE_ADDRESS_DETECTION_FAILED)
                effects += self._obey(request, router, now, checked=True)
            except Refuse as refusal:
                effects += self._refuse(request, refusal)
        return effects

    def _obey(
        self,
        request: Request,
        router: ServedMobileRouter,
        now: Instant,
        *,
        checked: bool = False,
    ) -> list[Effect]:
        """Register, refresh and end what ``request`` asks for, each binding on its own."""
        home = request.home_address
        bindings = self._cache.list_of(home)
        claims = read_claims(request, bindings, require_addresses=self._settings.require_addresses)
        ending = [claim.ifid for claim in claims if claim.is_deletion]
        if ending:
            self._held.drop(home, ending)
        if self._settings.refuse_mixed:
            check_mixed(request, claims, bindings)
        terms = None
        if len(ending) < len(claims):
            terms = self._grant(request, router, now)

        def check(claim: Claim, known: CacheEntry | None) -> None:
            check_home_address(request)
            if known is None or known.care_of_address != claim.care_of_address:
                check_care_of_address(claim, router, self._settings.address)
                check_nesting(claim, home, self._table, self._cache)

        plan = make_plan(request, claims, bindings, terms, check)
        if not plan.registered:
            return self._carry_out(request, router, plan, now)
        undefended: tuple[IPv6Address, ...] = ()
        if self._settings.home_link is not None:
            undefended = find_undefended(request, bindings)
        if undefended and not checked:
            # "the home agent MUST perform Duplicate Address Detection ... before returning the
            # Binding Acknowledgement" (RFC 6275 §10.3.1).
            fresh = self._held.hold(request)
            return [CheckDuplicate(home, undefended)] if fresh else []
        effects = self._carry_out(request, router, plan, now)
        if undefended:
            effects.append(AdvertiseNeighbour(undefended, router=request.update.mobile_router))
        return effects

    def _grant(self, request: Request, router: ServedMobileRouter, now: Instant) -> Terms:
        mobile_router = request.update.mobile_router
        if mobile_router and not self._settings.nemo:
            # "If the Home Agent is not configured to support Mobile Routers, it sets the status
            # code in the Binding Acknowledgement to 140" (RFC 3963 §6.6).
            raise Refuse(BindingStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED)
        prefixes = find_prefixes(request, router) if mobile_router else ()
        # "MUST NOT be greater than the remaining valid lifetime for the subnet prefix in the mobile
        # node's home address" (RFC 6275 §10.3.1).
        allowed = min(self._settings.max_lifetime, self._settings.prefix_lifetime)
        lifetime = min(request.update.lifetime, allowed) // 4 * 4
        if lifetime < self._settings.min_lifetime:
            raise Refuse(BindingStatus.ADMINISTRATIVELY_PROHIBITED)
        ipv4 = grant_ipv4(request.update.options, router)
        return Terms(prefixes, lifetime, now.monotonic + lifetime, mobile_router, ipv4)

    def _carry_out(
        self, request: Request, router: ServedMobileRouter, plan: Plan, now: Instant
    ) -> list[Effect]:
        home = request.home_address
        counted: list[Effect] = [count_refusal(status) for status in plan.refused.values()]
        if not plan.accepted:
            return [*counted, self._answer(request, plan.status, own=plan.own_statuses)]
        for entry in (*plan.ended, *plan.replaced):
            self._cache.remove(home, entry.ifid)
        if plan.ended and not router.security:
            self._ended.remember(request, plan.ended, now.monotonic)
        registered = [
            entry for entry in plan.registered if self._cache.put(entry, request.reply_path)
        ]
        is_changed = bool(registered or plan.ended or plan.replaced)
        notes = [note_entry("binding-registered", entry) for entry in registered]
        notes += [note_entry("binding-deregistered", entry) for entry in plan.ended]
        flow_answers: list[MobilityOption] = []
        if not plan.ifids:
            self._flows.drop(home)
        else:
            flows_changed, flow_answers = self._flows.take(request, router, plan.ifids)
            if flows_changed:
                is_changed = True
                notes.append(note_flows(home, self._flows.count(home)))
            counted += count_refused_flows(flow_answers)
        counted += count_refused_ipv4(plan.ipv4_answers)
        lifetime = plan.registered[0].lifetime if plan.registered else 0
        acknowledgement = self._answer(
            request,
            plan.status,
            lifetime=lifetime,
            own=plan.own_statuses,
            first=plan.ipv4_answers,
            more=flow_answers,
        )
        # Forwarding stands before it is acknowledged.
        changed = [BindingsChanged()] if is_changed else []
        return [*changed, acknowledgement, *counted, *notes]

    # --- answers --------------------------------------------------------------------------

    def _refuse(self, request: Request, refusal: Refuse) -> list[Effect]:
        if refusal.timestamp is not None:
            request.timestamp = refusal.timestamp
        answer = self._answer(request, refusal.status, sequence=refusal.sequence)
        return [count_refusal(refusal.status), answer]

    def _answer(
        self,
        request: Request,
        status: BindingStatus,
        *,
        sequence: int | None = None,
        lifetime: int = 0,
        own: Mapping[int | None, BindingStatus] | None = None,
        first: Iterable[MobilityOption] = (),
        more: Iterable[MobilityOption] = (),
    ) -> SendPacket:
        """Build the answer; ``own`` are single bindings' statuses that aren't the whole's.

        ``first`` and ``more`` are options before and after those that name bindings: an IPv4
        Address Acknowledgement has to stand before any Binding Identifier (RFC 5648 §8.2).
        """
        acknowledgement = BindingAcknowledgement(
            status=status,
            sequence=request.update.sequence if sequence is None else sequence,
            lifetime=lifetime,
            mobile_router=request.update.mobile_router and self._settings.nemo,
            options=(*first, *copy_informations(request.informations, own or {}), *more),
        )
        return build_acknowledgement(
            self._settings, request.home_address, request.reply_path, acknowledgement
        )

    def _give_up_forwarding(self, event: ForwardingFailed) -> list[Effect]:
        """End a binding that cannot be forwarded to, and say so.

        With 141 if the mobile router named the prefixes, else with 143 (RFC 3963 §6.2).
        """
        path = self._cache.get_reply_path(event.home_address, event.ifid)
        entry = self._cache.remove(event.home_address, event.ifid)
        if entry is None or path is None:
            return []
        self._end_flows(entry.home_address)
        information = describe(entry)
        status = (
            BindingStatus.INVALID_PREFIX if path.explicit else BindingStatus.FORWARDING_SETUP_FAILED
        )
        acknowledgement = BindingAcknowledgement(
            status=status,
            sequence=entry.sequence,
            lifetime=0,
            mobile_router=entry.mobile_router,
            options=() if information is None else (information,),
        )
        return [
            BindingsChanged(),
            count_refusal(status),
            build_acknowledgement(self._settings, entry.home_address, path, acknowledgement),
            note_entry("forwarding-failed", entry),
        ]
