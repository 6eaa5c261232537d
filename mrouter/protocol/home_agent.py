"""The home agent: Binding Updates in, a Binding Cache and answers out (RFC 6275 §10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.answers import (
    ReplyPath,
    build_acknowledgement,
    build_binding_error,
    build_refresh_request,
    describe,
)
from mrouter.protocol.binding_cache import BindingCache
from mrouter.protocol.bindings import CacheEntry, find_free_slot
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
)
from mrouter.protocol.home_defence import HeldRequests, find_undefended
from mrouter.protocol.home_directory import HomeDirectory
from mrouter.protocol.home_memory import HomeAgentMemory, SavedBinding
from mrouter.protocol.home_registration import (
    Discard,
    Refuse,
    Request,
    check_care_of_address,
    check_nesting,
    check_sequence,
    check_type,
    find_prefixes,
    find_replaced,
    read_request,
)
from mrouter.protocol.home_reports import count_refusal, note_entry
from mrouter.protocol.keys import to_ntp_timestamp, verify_authenticator
from mrouter.protocol.prefix_table import PrefixTable
from mrouter.protocol.replay import ReplayGuard
from mrouter.wire.constants import BindingErrorStatus, BindingStatus
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingUpdate,
    CareOfTestInit,
    HomeTestInit,
    Packet,
    find_option,
)
from mrouter.wire.options import MnHaAuthentication

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.protocol.events import Effect, Event, Instant
    from mrouter.protocol.settings import HomeAgentSettings, ServedMobileRouter

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
        self._held = HeldRequests()
        self._directory = HomeDirectory(settings, started.monotonic)
        self._next_error_at = started.monotonic

    @property
    def entries(self) -> tuple[CacheEntry, ...]:
        """All bindings, by home address and IFID; the same object until one changes."""
        return self._cache.entries

    def next_deadline(self) -> float | None:
        """Return when ``handle`` wants a ``TimerFired``, in monotonic seconds; None for never."""
        return self._cache.next_deadline()

    def save(self) -> HomeAgentMemory:
        """Return what another run needs to go on where this one is."""
        return HomeAgentMemory(
            bindings=tuple(
                SavedBinding(
                    entry=entry,
                    destination=path.destination,
                    spi=None if path.association is None else path.association.spi,
                    timestamp=path.timestamp,
                )
                for entry, path in self._cache.list_all()
            ),
            timestamps=tuple(self._replay.list_latest()),
        )

    def restore(self, memory: HomeAgentMemory) -> None:
        """Take over what a former run saved, as far as the settings still allow it.

        A binding whose lifetime is over meanwhile ends at the next event.
        """
        self._replay.restore(memory.timestamps)
        for saved in memory.bindings:
            router = self._table.get(saved.entry.home_address)
            if router is None or not self._may_keep(saved.entry, router):
                continue
            association = next((a for a in router.security if a.spi == saved.spi), None)
            if router.security and association is None:
                continue  # made under a key that is accepted no longer
            self._cache.put(saved.entry, ReplyPath(saved.destination, association, saved.timestamp))

    def _may_keep(self, entry: CacheEntry, router: ServedMobileRouter) -> bool:
        allowed = all(self._table.check(router, prefix) is None for prefix in entry.prefixes)
        return allowed and (self._settings.nemo or not entry.mobile_router)

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
                effects.append(note_entry("binding-expired", entry))
            else:
                effects.append(build_refresh_request(self._settings.address, entry))
        return [BindingsChanged(), *effects] if ended else effects

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
            if update.lifetime == 0 or request.care_of_address == request.home_address:
                return self._deregister(request)
            return self._register(request, router, now)
        except Discard as discard:
            return [discard.counted]
        except Refuse as refusal:
            return self._refuse(request, refusal)

    def _admit(self, request: Request, now: Instant) -> ServedMobileRouter:
        """Check who sent a Binding Update, and that it is fresh (RFC 6275 §9.5.1, RFC 4285)."""
        update = request.update
        if update.multiple and request.information is None:
            # "If it does not contains a CoAINFO sub-option, the CN MUST silently drop the BU"
            # (the draft §8.3).
            raise Discard("signalling-dropped", "coainfo-missing")
        bindings = self._cache.list_of(request.home_address)
        if not update.home_registration and not bindings:
            # Without a return routability key no correspondent registration can be valid.
            raise Discard("signalling-dropped", "not-home-registration")
        router = self._table.get(request.home_address)
        if router is None:
            # Nobody's key fits, so these two answers are not authenticated (RFC 6275 §10.3.1).
            home = request.home_address
            if any(home in prefix for prefix in self._settings.home_prefixes):
                raise Refuse(BindingStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE)
            raise Refuse(BindingStatus.NOT_HOME_SUBNET)
        if router.security:
            self._authenticate(request, router)
            self._check_replay(request, now)
        check_sequence(request, self._cache.get(request.home_address, request.ifid))
        if update.lifetime or not update.home_registration:
            mobile_router = update.mobile_router and self._settings.nemo
            check_type(request, bindings, mobile_router=mobile_router)
        return router

    def _authenticate(self, request: Request, router: ServedMobileRouter) -> None:
        """Check the MN-HA authentication option (RFC 4285 §5).

        A wrong authenticator MUST be answered with MIPV6-AUTH-FAIL (146); without a shared key
        the Binding Update MUST be discarded: so an unknown SPI, and no option at all, get no
        answer.
        """
        option = find_option(request.update, MnHaAuthentication)
        if option is None:
            raise Discard("authentication-failed", "missing")
        for association in router.security:
            if association.spi == option.spi:
                request.association = association
                if not verify_authenticator(association, request.packet):
                    raise Refuse(BindingStatus.AUTHENTICATION_FAILED)
                return
        raise Discard("authentication-failed", "unknown-spi")

    def _check_replay(self, request: Request, now: Instant) -> None:
        if request.timestamp is None:
            raise Refuse(BindingStatus.MESSAGE_ID_REQUIRED)
        if not self._replay.admit(request.home_address, request.ifid, request.timestamp, now.unix):
            # The answer tells our own time, so that the mobile router can set its clock.
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
                effects += self._register(request, router, now, checked=True)
            except Refuse as refusal:
                effects += self._refuse(request, refusal)
        return effects

    def _register(
        self,
        request: Request,
        router: ServedMobileRouter,
        now: Instant,
        *,
        checked: bool = False,
    ) -> list[Effect]:
        update, home = request.update, request.home_address
        known = self._cache.get(home, request.ifid)
        if known is None or known.care_of_address != request.care_of_address:
            check_care_of_address(request, router, self._settings.address)
            check_nesting(request, self._table, self._cache)
        mobile_router = update.mobile_router and self._settings.nemo
        prefixes = find_prefixes(request, router, self._table) if mobile_router else ()
        lifetime = min(update.lifetime, self._settings.max_lifetime) // 4 * 4
        if lifetime < self._settings.min_lifetime:
            raise Refuse(BindingStatus.ADMINISTRATIVELY_PROHIBITED)
        undefended = self._find_undefended(request)
        if undefended and not checked:
            # "the home agent MUST perform Duplicate Address Detection ... before returning the
            # Binding Acknowledgement" (RFC 6275 §10.3.1).
            fresh = self._held.hold(request)
            return [CheckDuplicate(home, undefended)] if fresh else []
        replaced = find_replaced(request, known, self._cache.list_of(home))
        slot = known.slot if known else self._find_slot(request, replaced)
        for entry in replaced:
            self._cache.remove(home, entry.ifid)
        entry = CacheEntry(
            home_address=home,
            ifid=request.ifid,
            ifpri=request.information.ifpri if request.information else 0,
            care_of_address=request.care_of_address,
            prefixes=prefixes,
            slot=slot,
            sequence=update.sequence,
            lifetime=lifetime,
            expires_at=now.monotonic + lifetime,
            mobile_router=mobile_router,
            link_local=update.link_local_compatible,
        )
        changed = self._cache.put(entry, request.reply_path)
        acknowledgement = self._accept(request, lifetime)
        if changed or replaced:
            # Forwarding stands before it is acknowledged.
            advertised = [AdvertiseNeighbour(undefended)] if undefended else []
            noted = note_entry("binding-registered", entry)
            return [BindingsChanged(), acknowledgement, noted, *advertised]
        return [acknowledgement]

    def _find_undefended(self, request: Request) -> tuple[IPv6Address, ...]:
        if self._settings.home_link is None:
            return ()
        return find_undefended(request, self._cache.list_of(request.home_address))

    def _deregister(self, request: Request) -> list[Effect]:
        """End one binding if CoAINFO names it, else all of the home address (the draft §7.7)."""
        home = request.home_address
        self._held.drop(request)
        known = self._cache.get(home, request.ifid)
        ended = self._cache.list_of(home) if request.information is None else []
        if known is not None and not ended:
            ended = [known]
        if not ended:
            # Without such a binding it MUST be rejected, and SHOULD be with 133 (RFC 6275 §10.3.2).
            raise Refuse(BindingStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE)
        for entry in ended:
            self._cache.remove(home, entry.ifid)
        acknowledgement = self._accept(request, lifetime=0)
        notes = [note_entry("binding-deregistered", entry) for entry in ended]
        return [BindingsChanged(), acknowledgement, *notes]

    def _find_slot(self, request: Request, replaced: list[CacheEntry]) -> int:
        for entry in replaced:
            if entry.care_of_address == request.care_of_address:
                return entry.slot  # the flows that came by it go on
        bindings = self._cache.list_of(request.home_address)
        slot = find_free_slot(entry.slot for entry in bindings if entry not in replaced)
        if slot is None:
            raise Refuse(BindingStatus.INSUFFICIENT_RESOURCES)
        return slot

    # --- answers --------------------------------------------------------------------------

    def _accept(self, request: Request, lifetime: int) -> SendPacket:
        # "If the CN successfully registered the care-of address which identified in CoAINFO
        # sub-option, it returns BA with status set to '1'" (the draft §8.4).
        plain = request.information is None
        status = BindingStatus.ACCEPTED if plain else BindingStatus.ACCEPTED_NP_COA
        return self._answer(request, status, request.update.sequence, lifetime)

    def _refuse(self, request: Request, refusal: Refuse) -> list[Effect]:
        if refusal.timestamp is not None:
            request.timestamp = refusal.timestamp
        sequence = request.update.sequence if refusal.sequence is None else refusal.sequence
        answer = self._answer(request, refusal.status, sequence, lifetime=0)
        return [count_refusal(refusal.status), answer]

    def _answer(
        self, request: Request, status: BindingStatus, sequence: int, lifetime: int
    ) -> SendPacket:
        return build_acknowledgement(
            self._settings.address,
            request.home_address,
            request.reply_path,
            request.information,
            BindingAcknowledgement(
                status=status,
                sequence=sequence,
                lifetime=lifetime,
                mobile_router=request.update.mobile_router and self._settings.nemo,
            ),
        )

    def _give_up_forwarding(self, event: ForwardingFailed) -> list[Effect]:
        """End a binding that cannot be forwarded to, and say so with 143 (RFC 3963 §6.6)."""
        path = self._cache.get_reply_path(event.home_address, event.ifid)
        entry = self._cache.remove(event.home_address, event.ifid)
        if entry is None or path is None:
            return []
        status = BindingStatus.FORWARDING_SETUP_FAILED
        acknowledgement = BindingAcknowledgement(
            status=status,
            sequence=entry.sequence,
            lifetime=0,
            mobile_router=entry.mobile_router,
        )
        return [
            BindingsChanged(),
            count_refusal(status),
            build_acknowledgement(
                self._settings.address, entry.home_address, path, describe(entry), acknowledgement
            ),
            note_entry("forwarding-failed", entry),
        ]
