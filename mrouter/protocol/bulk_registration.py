"""What one Binding Update does to the bindings of its home address (RFC 5648 §6.2).

It may be about several bindings; the same rules serve for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrouter.protocol.bindings import CacheEntry, find_free_slot, find_replaced
from mrouter.protocol.home_registration import Claim, Refuse
from mrouter.wire.constants import BindingStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from ipaddress import IPv6Address, IPv6Network

    from mrouter.protocol.home_registration import Request
    from mrouter.protocol.ipv4_networks import IPv4Grant
    from mrouter.wire.options import CareOfAddressInformation, IPv4AddressAcknowledgement


def read_claims(
    request: Request, bindings: Iterable[CacheEntry], *, require_addresses: bool
) -> list[Claim]:
    """Return what ``request`` asks for each binding; ``bindings`` are its home address's.

    Refuse with 164 what names a binding twice, or has an option that could not be read. The
    care-of address is the option's or, without, the packet's (the draft §8.3). With
    ``require_addresses`` an option may leave out that of a known binding alone, which keeps its
    own (RFC 5648 §6.2).
    """
    if len(set(request.ifids)) < len(request.ifids):
        raise Refuse(BindingStatus.MCOA_MALFORMED)
    if any(option.malformed for option in request.informations):
        # "If the length is incorrect, the receiver MUST reject the Binding Update and return the
        # status value set to [MCOA MALFORMED]"; the same for an address that is no "unicast
        # routable address" (RFC 5648 §6.2).
        raise Refuse(BindingStatus.MCOA_MALFORMED)
    kept: dict[int | None, IPv6Address] = {}
    if require_addresses:
        kept = {entry.ifid: entry.care_of_address for entry in bindings}
    if not request.informations:
        return [_make_claim(request, None, request.care_of_address)]
    return [
        _make_claim(
            request,
            option,
            option.care_of_address or kept.get(option.ifid, request.care_of_address),
            lacks_address=require_addresses
            and option.care_of_address is None
            and option.ifid not in kept,
        )
        for option in request.informations
    ]


def _make_claim(
    request: Request,
    option: CareOfAddressInformation | None,
    address: IPv6Address,
    *,
    lacks_address: bool = False,
) -> Claim:
    is_deletion = request.update.lifetime == 0 or address == request.home_address
    return Claim(option, address, is_deletion, lacks_address)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the home agent grants to all bindings that one Binding Update registers."""

    prefixes: tuple[IPv6Network, ...]
    lifetime: int
    expires_at: float
    mobile_router: bool
    ipv4: IPv4Grant


class Plan:
    """What one Binding Update will do to the ``bindings`` of its home address.

    ``registered`` are the bindings as they shall be, ``ended`` those it de-registers, ``replaced``
    those that others take the place of; ``refused`` holds a status for each IFID that was refused.
    ``ipv4_answers`` are about the IPv4 networks of those that are registered.
    To be carried out if anything is ``accepted``: first what goes, then what comes.
    """

    def __init__(self, request: Request, bindings: Iterable[CacheEntry]) -> None:
        self.registered: list[CacheEntry] = []
        self.ended: list[CacheEntry] = []
        self.replaced: list[CacheEntry] = []
        self.refused: dict[int | None, BindingStatus] = {}
        self.ipv4_answers: tuple[IPv4AddressAcknowledgement, ...] = ()
        self._request = request
        self._standing = {entry.ifid: entry for entry in bindings}

    @property
    def ifids(self) -> Collection[int | None]:
        """The IFIDs of all bindings that stand in the end."""
        return self._standing.keys()

    @property
    def accepted(self) -> bool:
        """Whether anything is granted."""
        return bool(self.registered or self.ended)

    @property
    def status(self) -> BindingStatus:
        """The status of the whole answer; 4 if single bindings have their own (RFC 5648 §6.2)."""
        if self.own_statuses:
            return BindingStatus.MCOA_NOT_COMPLETE
        if self.refused:
            return next(iter(self.refused.values()))
        # "If the CN successfully registered the care-of address which identified in CoAINFO
        # sub-option, it returns BA with status set to '1'" (the draft §8.4).
        plain = not self._request.informations
        return BindingStatus.ACCEPTED if plain else BindingStatus.ACCEPTED_NP_COA

    @property
    def own_statuses(self) -> Mapping[int | None, BindingStatus]:
        """The statuses by IFID of those that were refused, unless all were and for one reason.

        "If the status value is specific to one of the bindings in the bulk registration, the
        status value MUST be stored in the Status field in the corresponding Binding Identifier
        mobility option. ... Otherwise, the Status field of the Binding Identifier mobility option
        MUST be set to zero" (RFC 5648 §6.2).
        """
        alike = not self.accepted and len(set(self.refused.values())) == 1
        return {} if alike else self.refused

    def end(self, claim: Claim) -> None:
        """End the binding that ``claim`` names, or all if it is a plain one's (the draft §7.7)."""
        ended = [entry for entry in self._standing.values() if claim.ifid in (None, entry.ifid)]
        if not ended:
            # Without such a binding it MUST be rejected, and SHOULD be with 133 (RFC 6275 §10.3.2,
            # RFC 5648 §6.2).
            raise Refuse(BindingStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE)
        for entry in ended:
            del self._standing[entry.ifid]
        self.ended += ended

    def register(self, claim: Claim, terms: Terms) -> None:
        """Add or refresh the binding that ``claim`` names."""
        known = self._standing.get(claim.ifid)
        replaced = find_replaced(claim.ifid, claim.care_of_address, known, self._standing.values())
        if any(entry in self.registered for entry in replaced):
            # Two bindings of one care-of address could not be told apart on the way.
            raise Refuse(BindingStatus.MCOA_MALFORMED)
        slot = known.slot if known else self._find_slot(claim, replaced)
        self._remove(replaced)
        entry = CacheEntry(
            home_address=self._request.home_address,
            ifid=claim.ifid,
            ifpri=claim.ifpri,
            care_of_address=claim.care_of_address,
            prefixes=terms.prefixes,
            slot=slot,
            sequence=self._request.update.sequence,
            lifetime=terms.lifetime,
            expires_at=terms.expires_at,
            mobile_router=terms.mobile_router,
            link_local=self._request.update.link_local_compatible,
            ipv4_prefixes=terms.ipv4.networks,
        )
        self._standing[claim.ifid] = entry
        self.registered.append(entry)
        self.ipv4_answers = terms.ipv4.answers

    def overwrite(self) -> None:
        """Replace all bindings that the Binding Update does not name (RFC 5648 §6.2)."""
        self._remove([e for e in self._standing.values() if e.ifid not in self._request.ifids])

    def overwrite_refused(self) -> None:
        """Replace what stands of the bindings that were refused, too."""
        self._remove([e for e in self._standing.values() if e.ifid in self.refused])

    def _remove(self, replaced: list[CacheEntry]) -> None:
        for entry in replaced:
            del self._standing[entry.ifid]
        self.replaced += replaced

    def _find_slot(self, claim: Claim, replaced: list[CacheEntry]) -> int:
        taken = {entry.slot for entry in self._standing.values() if entry not in replaced}
        for entry in (*replaced, *self.replaced):
            if entry.care_of_address == claim.care_of_address and entry.slot not in taken:
                return entry.slot  # the flows that came by it go on
        slot = find_free_slot(taken)
        if slot is None:
            raise Refuse(BindingStatus.INSUFFICIENT_RESOURCES)
        return slot


def make_plan(
    request: Request,
    claims: Iterable[Claim],
    bindings: Iterable[CacheEntry],
    terms: Terms | None,
    check: Callable[[Claim, CacheEntry | None], None],
) -> Plan:
    """Decide each of ``claims`` on its own; ``check`` refuses one that must not be registered.

    ``terms`` may be None when all are deletions.
    """
    known = {entry.ifid: entry for entry in bindings}
    plan = Plan(request, known.values())
    if request.overwrites:
        plan.overwrite()
    for claim in claims:
        try:
            if claim.option is not None and claim.option.home_and_foreign:
                # A home agent decides for itself whether the home link and foreign links may be
                # used at once (RFC 5648 §5.6): ours takes no packets for a node that is on the
                # home link, since the data plane would need a binding that is no tunnel.
                raise Refuse(BindingStatus.MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED)
            if claim.is_deletion or terms is None:
                plan.end(claim)
            elif claim.lacks_address:
                # "the receiving node MUST reject that Binding Identifier mobility option" (RFC 5648
                # §6.2)
                raise Refuse(BindingStatus.MCOA_UNKNOWN_COA)
            else:
                check(claim, known.get(claim.ifid))
                plan.register(claim, terms)
        except Refuse as refusal:
            plan.refused[claim.ifid] = refusal.status
    if request.overwrites:
        plan.overwrite_refused()
    return plan


def check_mixed(request: Request, claims: Iterable[Claim], bindings: Iterable[CacheEntry]) -> None:
    """Refuse with 165 a binding with a BID while a plain one stands (RFC 5648 §6.2).

    Unless the O flag says that all that stands shall go.
    """
    plain = any(entry.ifid is None for entry in bindings)
    wanted = any(claim.ifid is not None and not claim.is_deletion for claim in claims)
    if plain and wanted and not request.overwrites:
        raise Refuse(BindingStatus.MCOA_NON_MCOA_BINDING_EXISTS)
