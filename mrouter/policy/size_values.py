"""Read the sizes of packets and flows that a policy file asks for."""

from __future__ import annotations

import re
from typing import Any

from mrouter.policy.model import SizeRange
from mrouter.policy.size_ranges import (
    LARGEST_FLOW,
    LARGEST_PACKET,
    MAX_PACKET,
    format_size,
)
from mrouter.sizes import parse_size
from mrouter.toml_source import MistakeError, show

_PACKETS = re.compile(r"\s*([0-9]{1,9})\s*(-\s*([0-9]{1,9})?\s*)?")
_NUMBER = re.compile("[0-9]{1,18}")
_FLOW_EXAMPLE = 'as in "10MB-" or "0-500kB"'


def parse_packet_sizes(value: Any) -> SizeRange:
    """Read a packet's size, or a range as text "first-last" or "first-", or raise `MistakeError`.

    Octets of the IP packet, its header included.
    """
    open_ended = False
    if isinstance(value, str) and (found := _PACKETS.fullmatch(value)):
        first = last = int(found[1])
        if found[2] is not None:
            open_ended = found[3] is None
            last = MAX_PACKET if open_ended else int(found[3])
    elif isinstance(value, int) and not isinstance(value, bool):
        first = last = value
    else:
        raise MistakeError(f"{show(value)} is no size of packets", 'as in "0-200" or "1000-"')
    for size in (first, last):
        if not 0 <= size <= MAX_PACKET:
            raise MistakeError(f"a packet has 0 to {MAX_PACKET} bytes, this is {show(size)}")
    if first > last:
        raise MistakeError(f"the range {first}-{last} is reversed", f'write "{last}-{first}"')
    return SizeRange(first, LARGEST_PACKET if open_ended else last)


def parse_flow_sizes(value: Any) -> SizeRange:
    """Read a range of what a flow has carried, as in "10MB-", or raise `MistakeError`."""
    if not isinstance(value, str) or not value.strip():
        raise MistakeError(f"{show(value)} is no range of sizes", _FLOW_EXAMPLE)
    begin, dash, end = (part.strip() for part in value.partition("-"))
    first = _parse_octets(begin)
    if not dash:
        text = format_size(first)
        raise MistakeError(f"{text} is hardly ever met exactly", f'write "{text}-" for "or more"')
    last = _parse_octets(end) if end else LARGEST_FLOW
    if first > last:
        one, other = format_size(first), format_size(last)
        raise MistakeError(f"the range {one}-{other} is reversed", f'write "{other}-{one}"')
    return SizeRange(first, last)


def _parse_octets(text: str) -> int:
    """Read a size with a unit, or a plain number."""
    if _NUMBER.fullmatch(text) and not int(text):
        return 0
    return parse_size(int(text) if _NUMBER.fullmatch(text) else text)
