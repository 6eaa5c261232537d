"""What a packet that could not be parsed is answered with (RFC 6275 §9.2)."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.wire.constants import BindingErrorStatus
from mrouter.wire.icmpv6 import serialize_parameter_problem
from mrouter.wire.messages import BindingError, Packet
from mrouter.wire.packet import serialize_packet
from mrouter.wire.parse_errors import ParameterProblem, UnknownMessageType

if TYPE_CHECKING:
    from collections.abc import Container

    from mrouter.errors import ParseError
    from mrouter.wire.format import WireFormat

#: Answers a second: an error must not become a flood (RFC 6275 §9.3.3, RFC 4443 §2.4 f).
_RATE = 10.0
_BURST = 10.0
_UNSPECIFIED = IPv6Address("::")


class ParseAnswerer:
    """Makes the answers, and limits their rate."""

    def __init__(self, fmt: WireFormat) -> None:
        """Answer in ``fmt``."""
        self._format = fmt
        self._tokens = _BURST
        self._filled_at = 0.0

    def answer(
        self, error: ParseError, invoking: bytes, local: Container[IPv6Address], now: float
    ) -> bytes | None:
        """Return the whole packet that answers ``error``, None if none is due.

        ``invoking`` is the packet that was wrong; one that was for none of the ``local``
        addresses was only passing by, and is not answered. ``now`` is monotonic seconds.
        """
        if not isinstance(error, UnknownMessageType | ParameterProblem):
            return None
        if error.destination not in local or not self._take_token(now):
            return None
        if isinstance(error, ParameterProblem):
            return serialize_parameter_problem(
                error.destination, error.source, error.pointer, invoking
            )
        message = BindingError(
            BindingErrorStatus.UNRECOGNIZED_MH_TYPE, error.home_address or _UNSPECIFIED
        )
        return serialize_packet(Packet(error.destination, error.source, message), self._format)

    def _take_token(self, now: float) -> bool:
        self._tokens = min(_BURST, self._tokens + (now - self._filled_at) * _RATE)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
