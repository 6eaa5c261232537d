"""What a packet that could not be parsed is answered with (RFC 6275 §9.2)."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.agent.token_bucket import TokenBucket
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
        self._tokens = TokenBucket(_RATE, _BURST)

    def answer(
        self, error: ParseError, invoking: bytes, local: Container[IPv6Address], now: float
    ) -> bytes | None:
        """Return the whole packet that answers ``error``, None if none is due.

        ``invoking`` is the packet that was wrong; one that was for none of the ``local``
        addresses was only passing by, and is not answered. ``now`` is monotonic seconds.
        """
        if not isinstance(error, UnknownMessageType | ParameterProblem):
            return None
        if error.destination not in local or not self._tokens.take(now):
            return None
        if isinstance(error, ParameterProblem):
            return serialize_parameter_problem(
                error.destination, error.source, error.pointer, invoking
            )
        message = BindingError(
            BindingErrorStatus.UNRECOGNIZED_MH_TYPE, error.home_address or _UNSPECIFIED
        )
        return serialize_packet(Packet(error.destination, error.source, message), self._format)
