"""What a Binding Acknowledgement means to the mobile router (RFC 6275 §11.7.3, the draft §7.4)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from mrouter.protocol.events import Counted
from mrouter.protocol.home_registration import is_later
from mrouter.protocol.keys import verify_authenticator
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import find_option
from mrouter.wire.options import (
    CareOfAddressInformation,
    MnHaAuthentication,
    ReplayProtection,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.protocol.settings import MobileRouterSettings
    from mrouter.protocol.update_list import Binding
    from mrouter.wire.messages import BindingAcknowledgement, Packet


class Verdict(Enum):
    """What an acknowledgement that is ours and authentic says."""

    ACCEPTED = "accepted"
    DEREGISTERED = "deregistered"
    SINGLE_ONLY = "single-only"
    NOT_A_NEMO_HOME_AGENT = "not-a-nemo-home-agent"
    CORRECT = "correct"
    DOUBTFUL = "doubtful"
    REFUSED = "refused"


#: Answered by putting something right and sending again (RFC 6275 §11.7.3, RFC 4285 §6).
_CORRECTABLE = frozenset(
    {
        BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW,
        BindingStatus.ID_MISMATCH,
        BindingStatus.MESSAGE_ID_REQUIRED,
    }
)
#: May follow an acceptance.
_LATE = frozenset({BindingStatus.INVALID_PREFIX, BindingStatus.FORWARDING_SETUP_FAILED})


def judge(
    packet: Packet,
    acknowledgement: BindingAcknowledgement,
    settings: MobileRouterSettings,
    bindings: Iterable[Binding],
) -> Counted | tuple[Verdict, Binding]:
    """Decide which binding ``acknowledgement`` is about, and what it says of it.

    Return what to count if it is to be ignored: not for us, not authentic, or not the answer to a
    binding's last Binding Update.
    """
    if (packet.routing_home_address or packet.destination) != settings.home_address:
        return Counted("signalling-dropped", "not-for-this-node")
    if settings.security is not None and not verify_authenticator(settings.security, packet):
        signed = find_option(acknowledgement, MnHaAuthentication) is not None
        return Counted("authentication-failed", "wrong" if signed else "missing")
    information = find_option(acknowledgement, CareOfAddressInformation)
    if information is None:
        binding = _find_by_address(packet, acknowledgement, bindings)
    else:
        binding = next((b for b in bindings if b.ifid == information.ifid and not b.plain), None)
    if binding is None:
        return Counted("signalling-dropped", "unknown-binding")
    if not _answers_last_update(acknowledgement, binding):
        return Counted("signalling-dropped", "not-the-last-update")
    return _read(acknowledgement, binding, information, settings), binding


def _find_by_address(
    packet: Packet, acknowledgement: BindingAcknowledgement, bindings: Iterable[Binding]
) -> Binding | None:
    """Find the binding whose unanswered Binding Update came from where the answer went."""
    return next(
        (
            binding
            for binding in bindings
            if binding.sent_from == packet.destination
            and _answers_last_update(acknowledgement, binding)
        ),
        None,
    )


def _answers_last_update(acknowledgement: BindingAcknowledgement, binding: Binding) -> bool:
    """Say whether the answer belongs to the last Binding Update (RFC 6275 §11.7.3).

    Where timestamps are used the answer echoes ours, but in one of status 144, which tells the
    home agent's clock (RFC 4285 §6): so a replayed answer never counts. Statuses 141 and 143 may
    follow an acceptance: forwarding has failed (RFC 3963 §6.2).
    """
    status = acknowledgement.status
    if not binding.awaiting and status not in _LATE:
        return False
    if not answers_sequence(acknowledgement, binding.sequence):
        return False
    if binding.timestamp is None or status == BindingStatus.ID_MISMATCH:
        return True
    replay = find_option(acknowledgement, ReplayProtection)
    return replay is not None and replay.timestamp == binding.timestamp


def answers_sequence(acknowledgement: BindingAcknowledgement, sequence: int) -> bool:
    """Say whether the answer may be one to a Binding Update of number ``sequence``.

    It is the same number, but in an answer of status 135, which tells the last one accepted: that
    refuses none which follows it, so it is about an earlier one (RFC 6275 §11.7.3).
    """
    if acknowledgement.status == BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW:
        return not is_later(sequence, than=acknowledgement.sequence)
    return acknowledgement.sequence == sequence


def _read(
    acknowledgement: BindingAcknowledgement,
    binding: Binding,
    information: CareOfAddressInformation | None,
    settings: MobileRouterSettings,
) -> Verdict:
    status = acknowledgement.status
    if status in _CORRECTABLE:
        return Verdict.CORRECT
    if status == BindingStatus.AUTHENTICATION_FAILED:
        return Verdict.DOUBTFUL
    if binding.is_ending:
        return Verdict.DEREGISTERED
    if status == BindingStatus.MCOA_NON_MCOA_BINDING_EXISTS and settings.follow_rfc5648:
        return Verdict.CORRECT
    if status == BindingStatus.MCOA_PROHIBITED and not binding.plain:
        # "the mobile node MUST stop registering multiple bindings with the node that sent the
        # Binding Acknowledgement" (RFC 5648 §5.7).
        return Verdict.SINGLE_ONLY
    if status >= BindingStatus.REASON_UNSPECIFIED or acknowledgement.lifetime == 0:
        return Verdict.REFUSED
    if not binding.plain and (information is None or status == BindingStatus.ACCEPTED):
        # "If BA does not have the CoAINFO sub-option ... The MN SHOULD stop registering multiple
        # care-of addresses", and it MAY when the status is 0 (the draft §7.4).
        return Verdict.SINGLE_ONLY
    if settings.prefixes and not acknowledgement.mobile_router:
        return Verdict.NOT_A_NEMO_HOME_AGENT
    return Verdict.ACCEPTED
