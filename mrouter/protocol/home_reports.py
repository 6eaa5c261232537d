"""What the home agent counts, and writes into its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.events import Counted, Noted
from mrouter.protocol.statuses import name_status
from mrouter.wire.constants import FIRST_IPV4_REFUSAL, BindingStatus, FlowStatus, IPv4Status
from mrouter.wire.options import FlowIdentification

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.wire.options import IPv4AddressAcknowledgement, MobilityOption


def count_refusal(status: BindingStatus) -> Counted:
    """Return what to count for a Binding Update that was refused with ``status``."""
    what = {
        BindingStatus.AUTHENTICATION_FAILED: "authentication-failed",
        BindingStatus.ID_MISMATCH: "replay-rejected",
        BindingStatus.MESSAGE_ID_REQUIRED: "replay-rejected",
    }.get(status, "binding-refused")
    return Counted(what, name_status(status))


def count_refused_flows(answers: Iterable[MobilityOption]) -> list[Counted]:
    """Return what to count for the Flow Identifications of an answer."""
    return [
        Counted("flow-binding-refused", FlowStatus(answer.status).name.lower().replace("_", "-"))
        for answer in answers
        if isinstance(answer, FlowIdentification) and answer.status
    ]


def count_refused_ipv4(answers: Iterable[IPv4AddressAcknowledgement]) -> list[Counted]:
    """Return what to count for the IPv4 Address Acknowledgements of an answer."""
    return [
        Counted("ipv4-prefix-refused", IPv4Status(answer.status).name.lower().replace("_", "-"))
        for answer in answers
        if answer.status >= FIRST_IPV4_REFUSAL
    ]


def note_flows(home_address: IPv6Address, number: int) -> Noted:
    """Return a log line that a home address has ``number`` flow bindings now."""
    fields = (("home_address", str(home_address)), ("flow_bindings", str(number)))
    return Noted("flow-bindings-changed", fields)


def note_entry(name: str, entry: CacheEntry) -> Noted:
    """Return a log line ``name`` about ``entry``."""
    return Noted(
        name,
        (
            ("home_address", str(entry.home_address)),
            ("care_of_address", str(entry.care_of_address)),
            ("ifid", "none" if entry.ifid is None else str(entry.ifid)),
            ("ifpri", str(entry.ifpri)),
        ),
    )
