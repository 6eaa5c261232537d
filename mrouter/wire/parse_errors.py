"""Why a packet was refused: a bounded set of reasons, and what an answer to it needs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mrouter.errors import ParseError

if TYPE_CHECKING:
    from ipaddress import IPv6Address


class Reason(StrEnum):
    """Every ``ParseError.reason`` of the wire codec; fit to be a metric's label."""

    NOT_IPV6 = "not-ipv6"
    TRUNCATED = "truncated"
    NOT_MOBILITY_HEADER = "not-mobility-header"
    BAD_EXTENSION_HEADER = "bad-extension-header"
    BAD_ADDRESS = "bad-address"
    BAD_CHECKSUM = "bad-checksum"
    UNKNOWN_MH_TYPE = "unknown-mh-type"
    BAD_PAYLOAD_PROTO = "bad-payload-proto"
    BAD_HEADER_LENGTH = "bad-header-length"
    BAD_OPTION_LENGTH = "bad-option-length"
    BAD_OPTION_VALUE = "bad-option-value"
    BAD_OPTION_ORDER = "bad-option-order"
    DUPLICATE_OPTION = "duplicate-option"
    NOT_AN_ANSWER = "not-an-answer"
    BAD_NAME = "bad-name"


class UnknownMessageType(ParseError):  # noqa: N818 - a kind of ParseError, named for what was met
    """A sound Mobility Header of a type that we do not know.

    RFC 6275 §9.2: the receiver MUST discard it and answer with a Binding Error of status 2. All
    that the Binding Error needs is here.
    """

    def __init__(
        self,
        source: IPv6Address,
        destination: IPv6Address,
        home_address: IPv6Address | None,
        mh_type: int,
    ) -> None:
        """Keep the packet's addresses, the Home Address option's if any, and the type."""
        super().__init__(Reason.UNKNOWN_MH_TYPE, f"MH Type {mh_type} from {source}")
        self.source = source
        self.destination = destination
        self.home_address = home_address
        self.mh_type = mh_type


class ParameterProblem(ParseError):  # noqa: N818 - named for the ICMPv6 message that answers it
    """A Mobility Header whose fixed part is wrong, with a right checksum.

    RFC 6275 §9.2: the receiver of a Payload Proto other than 59, or of a Header Len too small for
    the type, SHOULD send an ICMP Parameter Problem, Code 0, to the source; ``pointer`` is the
    offending field's offset in octets from the start of the IPv6 packet.
    """

    def __init__(
        self, cause: ParseError, source: IPv6Address, destination: IPv6Address, pointer: int
    ) -> None:
        """Keep ``cause``'s reason and detail, and whom to tell what."""
        super().__init__(cause.reason, cause.detail)
        self.source = source
        self.destination = destination
        self.pointer = pointer
