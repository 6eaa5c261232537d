"""Flow Identification and Flow Summary: bytes to model and back (RFC 6089 §4.2, §4.2.2).

Both dialects have them, with the IFID in the place of the BID in draft-01.
"""

from __future__ import annotations

from struct import Struct, pack, unpack_from
from typing import TYPE_CHECKING

from mrouter.errors import ParseError
from mrouter.wire.constants import OptionType
from mrouter.wire.option_walk import walk_options
from mrouter.wire.options import FlowIdentification, FlowSummary
from mrouter.wire.parse_errors import Reason
from mrouter.wire.traffic_selector_codec import parse_selector, serialize_selector

if TYPE_CHECKING:
    from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

_FIXED = Struct("!HHBB")  # FID, FID-PRI, reserved, status
_BID_REFERENCE = 2
_TRAFFIC_SELECTOR = 3
_LONGEST = 255


# --- reading ------------------------------------------------------------------------------


def parse_flow_identification(header: bytes, start: int, length: int) -> FlowIdentification:
    """Read the option whose value is the ``length`` octets of ``header`` at ``start``.

    One whose sub-options cannot be read is ``malformed``, without any of them: its FID is there
    to be answered with status 130. Raises ParseError if the option is too short for a FID.
    """
    if length < _FIXED.size:
        raise ParseError(Reason.BAD_OPTION_LENGTH, f"Flow Identification of length {length}")
    fid, priority, _, status = _FIXED.unpack_from(header, start)
    # RFC 6089 §4.2: 0 is reserved and MUST NOT be used, neither as FID nor as FID-PRI. A status
    # marks an answer, where the priority says nothing.
    if fid and (priority or status):
        try:
            ifids, selector = _parse_sub_options(header[start : start + length])
        except ParseError:
            pass
        else:
            return FlowIdentification(fid, priority, ifids, selector, status)
    return FlowIdentification(fid, priority, status=status, malformed=True)


def _parse_sub_options(
    data: bytes,
) -> tuple[tuple[int, ...], TrafficSelector | UnknownSelector | None]:
    ifids: tuple[int, ...] = ()
    selector = None
    for kind, start, length in walk_options(data, _FIXED.size):
        # "A node MUST NOT include more than one" of each (RFC 6089 §4.2.1.3, §4.2.1.4): of two
        # nobody could say which counts.
        if kind == _BID_REFERENCE:
            if ifids:
                raise ParseError(Reason.DUPLICATE_OPTION, "several Binding References")
            ifids = _parse_numbers(data, start, length)
        elif kind == _TRAFFIC_SELECTOR:
            if selector is not None:
                raise ParseError(Reason.DUPLICATE_OPTION, "several Traffic Selectors")
            if length < 2:
                raise ParseError(Reason.BAD_OPTION_LENGTH, "Traffic Selector without a format")
            selector = parse_selector(data[start], data[start + 2 : start + length])
    return ifids, selector


def parse_flow_summary(header: bytes, start: int, length: int) -> FlowSummary:
    """Read the option whose value is the ``length`` octets of ``header`` at ``start``.

    Raises ParseError unless those are one FID or more.
    """
    return FlowSummary(_parse_numbers(header, start, length))


def _parse_numbers(data: bytes, start: int, length: int) -> tuple[int, ...]:
    if not length or length % 2:
        raise ParseError(Reason.BAD_OPTION_LENGTH, f"a list of 16-bit numbers in {length} octets")
    return unpack_from(f"!{length // 2}H", data, start)


# --- writing ------------------------------------------------------------------------------


def find_flow_alignment(option: FlowIdentification) -> tuple[int, int]:
    """Return (x, y) for an alignment of xn+y that suits ``option`` and its sub-options.

    The option itself asks for 2n (RFC 6089 §4.2), a Traffic Selector with addresses for 8n (RFC
    6088 §3.2): it comes first, 8 octets from the option's start.
    """
    return (2 if option.selector is None else 8), 0


def serialize_flow_identification(option: FlowIdentification) -> bytes:
    """Write ``option``; that it is ``malformed`` is not on the wire.

    Raises ValueError for a malformed one with sub-options, or without a status to answer it with,
    and for what does not fit an option.
    """
    unreadable = option.malformed or not option.fid or not option.priority
    if unreadable and not option.status:
        raise ValueError(f"FID {option.fid} of priority {option.priority} is malformed")
    if (option.malformed or not option.fid) and (option.ifids or option.selector is not None):
        raise ValueError("the sub-options of a malformed Flow Identification cannot be told")
    body = _FIXED.pack(option.fid, option.priority, 0, option.status)
    if option.selector is not None:
        kind, selector = serialize_selector(option.selector)
        body += _frame(_TRAFFIC_SELECTOR, bytes((kind, 0)) + selector)
    if option.ifids:
        body += bytes(len(body) % 2)  # Pad1: a Binding Reference's alignment is 2n (§4.2.1.3)
        body += _frame(_BID_REFERENCE, _pack_numbers(option.ifids))
    return _frame(OptionType.FLOW_IDENTIFICATION, body)


def serialize_flow_summary(option: FlowSummary) -> bytes:
    """Write ``option``; raises ValueError unless it has 1 to 127 FIDs."""
    if not option.fids:
        raise ValueError("a Flow Summary without any FID")
    return _frame(OptionType.FLOW_SUMMARY, _pack_numbers(option.fids))


def _pack_numbers(numbers: tuple[int, ...]) -> bytes:
    return pack(f"!{len(numbers)}H", *numbers)


def _frame(kind: int, data: bytes) -> bytes:
    if len(data) > _LONGEST:
        raise ValueError(f"{len(data)} octets are too many for option {kind}")
    return bytes((kind, len(data))) + data
