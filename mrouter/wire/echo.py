"""ICMPv6 Echo Request and Echo Reply (RFC 4443 §4), as a raw ICMPv6 socket takes and gives them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mrouter.errors import ParseError
from mrouter.wire.parse_errors import Reason

ECHO_REPLY = 129
_ECHO_REQUEST = 128
#: Type, code, checksum, identifier and sequence number.
_ECHO = struct.Struct("!BBHHH")


@dataclass(frozen=True, slots=True)
class Echo:
    """What an Echo Request carries, and its Echo Reply brings back."""

    identifier: int
    sequence: int
    data: bytes


def serialize_echo_request(echo: Echo) -> bytes:
    """Return the message; its checksum is left to the kernel."""
    return _ECHO.pack(_ECHO_REQUEST, 0, 0, echo.identifier, echo.sequence) + echo.data


def parse_echo_reply(message: bytes) -> Echo:
    """Read an Echo Reply, whose checksum the kernel has seen to.

    :raises ParseError: if ``message`` is something else.
    """
    if len(message) < _ECHO.size:
        raise ParseError(Reason.TRUNCATED, f"{len(message)} octets are no Echo Reply")
    kind, code, _checksum, identifier, sequence = _ECHO.unpack_from(message)
    if (kind, code) != (ECHO_REPLY, 0):
        raise ParseError(Reason.NOT_MOBILITY_HEADER, f"ICMPv6 type {kind}, code {code}")
    return Echo(identifier, sequence, message[_ECHO.size :])
