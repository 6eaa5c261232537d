"""The correspondent node: return routability, bindings and answers (RFC 6275 §9, draft §6, §8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.accepted_sequences import AcceptedSequences
from mrouter.protocol.answers import ReplyPath, copy_informations, describe
from mrouter.protocol.binding_cache import BindingCache
from mrouter.protocol.bindings import CacheEntry, find_free_slot, find_replaced
from mrouter.protocol.correspondent_memory import CorrespondentNodeMemory
from mrouter.protocol.correspondent_registration import (
    RouteRequest,
    authorize,
    check_form,
    is_routable,
    read_route_request,
)
from mrouter.protocol.events import (
    BindingsChanged,
    BindingsUsed,
    CareOfAddressFailed,
    Counted,
    HomeAddressOptionSeen,
    PacketReceived,
    SendPacket,
)
from mrouter.protocol.home_registration import Discard, Refuse
from mrouter.protocol.home_reports import note_entry
from mrouter.protocol.keygen_tokens import (
    compute_care_of_keygen_token,
    compute_home_keygen_token,
)
from mrouter.protocol.loss_watch import LossWatch
from mrouter.protocol.node_keys import MAX_NONCE_LIFETIME, NodeKeys
from mrouter.protocol.route_choice import RouteChoice
from mrouter.protocol.settings import MAX_RR_BINDING_LIFETIME
from mrouter.protocol.statuses import name_status
from mrouter.wire.constants import BindingErrorStatus, BindingStatus
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Packet,
    find_option,
)
from mrouter.wire.options import BindingAuthorizationData, CareOfAddressInformation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.events import Effect, Event, Instant
    from mrouter.protocol.settings import CorrespondentNodeSettings
    from mrouter.wire.options import MobilityOption

    Key = tuple[IPv6Address, int | None]

#: Seconds between two Binding Errors (RFC 6275 §9.3.3: their rate SHOULD be limited).
_ERROR_INTERVAL = 0.1


class CorrespondentNode:
    """The correspondent node's machine: ``handle`` events, obey ``next_deadline``.

    Read ``entries`` for its Binding Cache, ``routes`` for what to send by. Home and Care-of Test
    Inits leave no state behind. ``random`` must be unpredictable: node keys come from it.
    """

    def __init__(self, settings: CorrespondentNodeSettings, random: Random) -> None:
        self._settings = settings
        self._keys = NodeKeys(random)
        self._cache = BindingCache()
        self._sequences = AcceptedSequences()
        self._max_lifetime = min(settings.max_lifetime, MAX_RR_BINDING_LIFETIME)
        self._choice = RouteChoice(self._cache)
        self._watch = LossWatch()
        self._next_error_at: float | None = None

    @property
    def entries(self) -> tuple[CacheEntry, ...]:
        """All bindings, by home address and IFID; the same object until one changes."""
        return self._cache.entries

    @property
    def routes(self) -> tuple[CacheEntry, ...]:
        """The binding to send by, of every home address that has one."""
        return self._choice.routes

    def save(self) -> CorrespondentNodeMemory:
        """Return what another run needs to go on where this one is; no node key."""
        return CorrespondentNodeMemory(self.entries, tuple(self._sequences.list_all()))

    def restore(self, memory: CorrespondentNodeMemory) -> None:
        """Take over what a former run saved.

        A binding whose lifetime is over meanwhile ends at the next event. Its tokens are void with
        the node keys that made them: a mobile node that uses one is told so, and asks for others.
        """
        for home_address, ifid, sequence, until in memory.sequences:
            self._sequences.remember(home_address, ifid, sequence, until)
        for entry in memory.bindings:
            self._put(entry, entry.care_of_address)

    def next_deadline(self) -> float | None:
        """Return when ``handle`` wants a ``TimerFired``, in monotonic seconds; None for never."""
        return self._cache.next_deadline()

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take one event in at ``now`` and return what to do about it, in this order."""
        if isinstance(event, BindingsUsed):
            self._watch.see_traffic(event.keys, event.received, now.monotonic)
        effects = self._run_deadlines(now.monotonic)
        if isinstance(event, PacketReceived):
            effects += self._receive(event.packet, now.monotonic)
        elif isinstance(event, BindingsUsed):
            effects += self._look_for_losses(now.monotonic)
        elif isinstance(event, CareOfAddressFailed):
            effects += self._give_up(event.care_of_address)
        elif isinstance(event, HomeAddressOptionSeen):
            effects += self._check_home_address(event, now.monotonic)
        return effects

    # --- deadlines ------------------------------------------------------------------------

    def _run_deadlines(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        ended = False
        for entry, is_over in self._cache.take_due(now):
            key = (entry.home_address, entry.ifid)
            if is_over:
                ended = True
                self._forget(entry)
                effects.append(note_entry("binding-expired", entry))
            elif self._watch.is_used(key, now):
                # Deviates from the draft §8.5, which asks for every binding: only "if the sender
                # knows that the Binding Cache entry is still in active use" (RFC 6275 §9.5.5).
                effects.append(self._build_refresh_request(entry))
        return [BindingsChanged(), *effects] if ended else effects

    def _build_refresh_request(self, entry: CacheEntry) -> SendPacket:
        """Build a Binding Refresh Request with the binding's CoAINFO (the draft §8.5).

        "This message is always sent to the home address of the mobile node" (RFC 6275 §9.5.5).
        """
        information = describe(entry)
        message = BindingRefreshRequest((information,) if information else ())
        return SendPacket(Packet(self._settings.address, entry.home_address, message))

    # --- packets --------------------------------------------------------------------------

    def _receive(self, packet: Packet, now: float) -> list[Effect]:
        if packet.destination != self._settings.address:
            return [Counted("signalling-dropped", "not-for-this-node")]
        if packet.source.is_multicast or packet.source.is_unspecified:
            return [Counted("signalling-dropped", "bad-source")]  # nowhere to answer to
        if packet.routing_home_address is not None:
            # "Unless the correspondent node is also acting as a mobile node, it MUST ignore type 2
            # routing headers and silently discard all packets" with them (RFC 6275 §8.2).
            return [Counted("signalling-dropped", "routing-header")]
        message = packet.message
        if isinstance(message, BindingUpdate):
            return self._process_update(packet, message, now)
        if isinstance(message, HomeTestInit | CareOfTestInit):
            return self._answer_test(packet, message, now)
        return [Counted("signalling-dropped", "unexpected-message")]

    def _answer_test(
        self, packet: Packet, init: HomeTestInit | CareOfTestInit, now: float
    ) -> list[Effect]:
        """Answer with a keygen token, and remember nothing (RFC 6275 §9.4, the draft §6)."""
        if packet.home_address is not None:
            # "The packet MUST NOT include a Home Address destination option."
            return [Counted("signalling-dropped", "test-with-home-address")]
        if not is_routable(packet.source):
            return [Counted("signalling-dropped", "bad-source")]
        secret = self._keys.get_current(now)
        answer: HomeTest | CareOfTest
        if isinstance(init, HomeTestInit):
            token = compute_home_keygen_token(secret.key, packet.source, secret.nonce)
            answer = HomeTest(secret.index, init.cookie, token)
        else:
            information = find_option(init, CareOfAddressInformation)
            token = compute_care_of_keygen_token(
                secret.key, packet.source, secret.nonce, information
            )
            answer = CareOfTest(secret.index, init.cookie, token)
        return [SendPacket(Packet(self._settings.address, packet.source, answer))]

    def _process_update(self, packet: Packet, update: BindingUpdate, now: float) -> list[Effect]:
        request = read_route_request(
            packet, update, self._cache, require_addresses=self._settings.require_addresses
        )
        try:
            check_form(request, self._settings.address)
            authorize(request, self._keys, now)
            self._check_sequence(request, now)
            if request.is_deletion:
                return self._deregister(request, now)
            return self._register(request, now)
        except Discard as discard:
            return [discard.counted]
        except Refuse as refusal:
            # Whatever the A flag says, an error is answered (RFC 6275 §9.5.4, the draft §8.4).
            sequence = update.sequence if refusal.sequence is None else refusal.sequence
            return [
                Counted("binding-refused", name_status(refusal.status)),
                self._acknowledge(request, refusal.status, sequence, lifetime=0),
            ]

    def _check_sequence(self, request: RouteRequest, now: float) -> None:
        last = self._sequences.find_conflict(
            request.home_address, request.ifid, request.update.sequence, now
        )
        if last is not None:
            raise Refuse(BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, sequence=last)

    def _register(self, request: RouteRequest, now: float) -> list[Effect]:
        home, ifid = request.home_address, request.ifid
        if request.lacks_address:
            raise Refuse(BindingStatus.MCOA_UNKNOWN_COA)
        lifetime = min(request.update.lifetime, self._max_lifetime) // 4 * 4
        if lifetime == 0:
            raise Refuse(BindingStatus.ADMINISTRATIVELY_PROHIBITED)
        known = self._cache.get(home, ifid)
        bound = self._cache.list_of(home)
        replaced = find_replaced(ifid, request.care_of_address, known, bound)
        slot = known.slot if known else find_free_slot(e.slot for e in bound if e not in replaced)
        if slot is None or not self._has_room(home, ifid, now):
            raise Refuse(BindingStatus.INSUFFICIENT_RESOURCES)
        for entry in replaced:
            self._cache.remove(home, entry.ifid)
            self._forget(entry)
        entry = CacheEntry(
            home_address=home,
            ifid=ifid,
            ifpri=request.information.ifpri if request.information else 0,
            care_of_address=request.care_of_address,
            prefixes=(),
            slot=slot,
            sequence=request.update.sequence,
            lifetime=lifetime,
            expires_at=now + lifetime,
            mobile_router=False,
        )
        changed = self._put(entry, request.packet.source)
        self._remember(request, now + max(lifetime, MAX_NONCE_LIFETIME))
        effects = self._accept(request, lifetime)
        key = (home, ifid)
        if not self._watch.hear(key, now, lifetime=lifetime, changed=changed or bool(replaced)):
            return [*self._give_up(entry.care_of_address), *effects]
        # no repetition: it may be used again, as it has been tested
        revived = self._choice.revive(entry)
        if changed or replaced or revived:
            # Forwarding stands before it is acknowledged.
            return [BindingsChanged(), *effects, note_entry("binding-registered", entry)]
        return effects

    def _put(self, entry: CacheEntry, destination: IPv6Address) -> bool:
        changed = self._cache.put(entry, ReplyPath(destination, None, None))
        if changed:
            self._choice.take_change(entry)
        return changed

    def _forget(self, entry: CacheEntry) -> None:
        self._choice.forget(entry)
        self._watch.forget((entry.home_address, entry.ifid))

    def _has_room(self, home: IPv6Address, ifid: int | None, now: float) -> bool:
        if self._sequences.knows(home, ifid):
            return True
        if len(self._sequences) >= self._settings.max_bindings:
            self._sequences.forget_old(now)
        return len(self._sequences) < self._settings.max_bindings

    def _deregister(self, request: RouteRequest, now: float) -> list[Effect]:
        """End one binding if CoAINFO names it, else all of the home address (the draft §7.7).

        That there is no such binding is no error (RFC 6275 §9.5.3).
        """
        home = request.home_address
        ended = [
            entry
            for entry in self._cache.list_of(home)
            if request.information is None or entry.ifid == request.ifid
        ]
        if not self._has_room(home, request.ifid, now):
            raise Refuse(BindingStatus.INSUFFICIENT_RESOURCES)
        self._remember(request, now + MAX_NONCE_LIFETIME)
        for entry in ended:
            self._cache.remove(home, entry.ifid)
            self._forget(entry)
        effects = self._accept(request, lifetime=0)
        if not ended:
            return effects
        notes = [note_entry("binding-deregistered", entry) for entry in ended]
        return [BindingsChanged(), *effects, *notes]

    def _remember(self, request: RouteRequest, until: float) -> None:
        """Keep the sequence number until the binding has ended and its nonces are too old."""
        self._sequences.remember(request.home_address, request.ifid, request.update.sequence, until)

    # --- answers --------------------------------------------------------------------------

    def _accept(self, request: RouteRequest, lifetime: int) -> list[Effect]:
        if not request.update.acknowledge:
            return []
        # "If the CN successfully registered the care-of address which identified in CoAINFO
        # sub-option, it returns BA with status set to '1'" (the draft §8.4).
        plain = request.information is None
        status = BindingStatus.ACCEPTED if plain else BindingStatus.ACCEPTED_NP_COA
        return [self._acknowledge(request, status, request.update.sequence, lifetime)]

    def _acknowledge(
        self, request: RouteRequest, status: BindingStatus, sequence: int, lifetime: int
    ) -> SendPacket:
        """Build the answer to ``request`` (RFC 6275 §9.5.4, the draft §8.4).

        CoAINFO is copied, without a status. Binding Authorization Data stands in every answer to
        an authorized request; those of status 136, 137 and 138 MUST NOT have it, and without Kbm
        none can.
        """
        informations = (request.information,) if request.information else ()
        options: list[MobilityOption] = [*copy_informations(informations, refused={})]
        if request.authorization is not None:
            options.append(BindingAuthorizationData())
        source = request.packet.source
        packet = Packet(
            source=self._settings.address,
            destination=source,
            message=BindingAcknowledgement(status, sequence, lifetime, options=tuple(options)),
            routing_home_address=None if source == request.home_address else request.home_address,
        )
        return SendPacket(packet, authorization=request.authorization)

    # --- traffic --------------------------------------------------------------------------

    def _look_for_losses(self, now: float) -> list[Effect]:
        asked, lost = self._watch.judge(now)
        effects: list[Effect] = []
        for entry in self._list_chosen(lost):
            effects += self._give_up(entry.care_of_address)
        effects += [self._build_refresh_request(entry) for entry in self._list_chosen(asked)]
        return effects

    def _list_chosen(self, keys: Iterable[Key]) -> list[CacheEntry]:
        """Return the bindings of ``keys`` that packets are still sent by."""
        found = (self._choice.choose(home) for home, _ifid in keys)
        chosen = {(e.home_address, e.ifid): e for e in found if e is not None}
        return [chosen[key] for key in keys if key in chosen]

    def _give_up(self, care_of_address: IPv6Address) -> list[Effect]:
        lost = self._choice.give_up(care_of_address)
        changed = [BindingsChanged()] if lost else []
        return [*changed, *(note_entry("care-of-address-failed", entry) for entry in lost)]

    def _check_home_address(self, event: HomeAddressOptionSeen, now: float) -> list[Effect]:
        """Answer a data packet whose Home Address option no binding vouches for.

        "If the source address is not registered in the CN's binding cache, the CN MUST return BE
        to the sender MN" (the draft §8.6), with limited rate. Deviates from the draft §8.6, whose
        number for it is 0: RFC 6275 §9.3.3's is 1.
        """
        bound = self._cache.list_of(event.home_address)
        if any(entry.care_of_address == event.source for entry in bound):
            return []
        effects: list[Effect] = [Counted("data-dropped", "unknown-binding")]
        limited = self._next_error_at is not None and now < self._next_error_at
        if not limited and is_routable(event.source):
            self._next_error_at = now + _ERROR_INTERVAL
            error = BindingError(BindingErrorStatus.UNKNOWN_BINDING, event.home_address)
            effects.append(SendPacket(Packet(self._settings.address, event.source, error)))
        return effects
