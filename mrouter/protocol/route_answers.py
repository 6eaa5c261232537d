"""What a correspondent node's Binding Acknowledgement means (RFC 6275 §11.7.3, the draft §7.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.acknowledgements import Verdict, answers_sequence
from mrouter.protocol.events import Counted
from mrouter.protocol.keygen_tokens import verify_authorization
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import find_option
from mrouter.wire.options import BindingAuthorizationData, CareOfAddressInformation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.protocol.route_binding import RouteBinding
    from mrouter.wire.messages import BindingAcknowledgement, Packet

#: The correspondent node does not know the nonces any more: it cannot authenticate its answer.
HOME_NONCE_EXPIRED = frozenset(
    {BindingStatus.EXPIRED_HOME_NONCE_INDEX, BindingStatus.EXPIRED_NONCES}
)
CARE_OF_NONCE_EXPIRED = frozenset(
    {BindingStatus.EXPIRED_CARE_OF_NONCE_INDEX, BindingStatus.EXPIRED_NONCES}
)


def judge_route_answer(
    packet: Packet, answer: BindingAcknowledgement, bindings: Iterable[RouteBinding]
) -> Counted | tuple[Verdict, RouteBinding]:
    """Decide which binding ``answer`` is about, and what it says of it.

    Return what to count if it is to be ignored: about nothing of ours, not the answer to the last
    Binding Update, or not authorized (RFC 6275 §11.7.3; answers of status 136 to 138 MUST NOT be,
    §9.5.4).
    """
    information = find_option(answer, CareOfAddressInformation)
    status = answer.status
    awaiting = [binding for binding in bindings if binding.awaiting]
    awaiting = [b for b in awaiting if answers_sequence(answer, b.sequence)]
    if information is None:
        awaiting = [binding for binding in awaiting if binding.sent_from == packet.destination]
    else:
        ifid = information.ifid
        awaiting = [binding for binding in awaiting if binding.ifid == ifid and not binding.plain]
    binding = awaiting[0] if awaiting else None
    if binding is None or binding.authorization is None:
        return Counted("signalling-dropped", "not-the-last-update")
    if status in HOME_NONCE_EXPIRED | CARE_OF_NONCE_EXPIRED:
        return Verdict.CORRECT, binding
    if not verify_authorization(binding.authorization, packet):
        signed = find_option(answer, BindingAuthorizationData) is not None
        return Counted("authentication-failed", "wrong" if signed else "missing")
    return _read(answer, binding, information), binding


def _read(
    answer: BindingAcknowledgement,
    binding: RouteBinding,
    information: CareOfAddressInformation | None,
) -> Verdict:
    if answer.status == BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW:
        return Verdict.CORRECT
    if binding.is_ending:
        return Verdict.DEREGISTERED
    if answer.status >= BindingStatus.REASON_UNSPECIFIED or answer.lifetime == 0:
        return Verdict.REFUSED
    if not binding.plain and (information is None or answer.status == BindingStatus.ACCEPTED):
        # "If BA does not have the CoAINFO sub-option ... The MN SHOULD stop registering multiple
        # care-of addresses", and it MAY when the status is 0 (the draft §7.4).
        return Verdict.SINGLE_ONLY
    return Verdict.ACCEPTED
