"""Types, lengths and padding: what mobility options and their sub-options have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.errors import ParseError
from mrouter.wire.constants import OptionType
from mrouter.wire.parse_errors import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator


def walk_options(data: bytes, offset: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, offset of the value, length of the value), without padding.

    From ``offset`` to the end of ``data``; raises ParseError if an option ends after that. RFC
    6089 §4.2.1 gives Pad1 and PadN the same types among the sub-options of Flow Identification.
    """
    end = len(data)
    while offset < end:
        kind = data[offset]
        if kind == OptionType.PAD1:
            offset += 1
            continue
        start = offset + 2
        if start > end:
            raise ParseError(Reason.TRUNCATED, f"option {kind} has no length")
        length = data[offset + 1]
        offset = start + length
        if offset > end:
            raise ParseError(Reason.TRUNCATED, f"option {kind} ends after its header")
        if kind != OptionType.PADN:
            yield kind, start, length
