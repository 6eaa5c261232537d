"""IPv4 Home Address and IPv4 Address Acknowledgement: bytes to model and back (RFC 5555 §3).

Reserved bits are zero when written and ignored when read (§3.1.1).
"""

from __future__ import annotations

from ipaddress import IPv4Address

from mrouter.errors import ParseError
from mrouter.wire.constants import FIRST_IPV4_REFUSAL, OptionType
from mrouter.wire.options import IPv4AddressAcknowledgement, IPv4HomeAddress
from mrouter.wire.parse_errors import Reason

#: Octets of either option's data (RFC 5555 §3.1.1, §3.2.1).
IPV4_OPTION_LENGTH = 6

_LONGEST_PREFIX = 32
_RESERVED_BITS = 2  # after the six of a prefix length; the first is P in an IPv4 Home Address
_REQUEST_PREFIX = 0x02


def parse_ipv4_home_address(header: bytes, start: int) -> IPv4HomeAddress:
    """Read the option whose six octets are at ``start``.

    Raises ParseError for a prefix length of 0, which "is invalid and MUST be considered an error"
    (RFC 5555 §3.1.1), or of more than 32.
    """
    octet = header[start]
    return IPv4HomeAddress(
        _parse_address(header, start),
        _check_length(octet >> _RESERVED_BITS),
        request_prefix=octet & _REQUEST_PREFIX != 0,
    )


def parse_ipv4_acknowledgement(header: bytes, start: int) -> IPv4AddressAcknowledgement:
    """Read the option whose six octets are at ``start``.

    The prefix length of a refusal says nothing and is ignored (RFC 5555 §3.2.1): the model has 0.
    Raises ParseError for an acceptance whose prefix length is not from 1 to 32.
    """
    status = header[start]
    length = 0
    if status < FIRST_IPV4_REFUSAL:
        length = _check_length(header[start + 1] >> _RESERVED_BITS)
    return IPv4AddressAcknowledgement(status, _parse_address(header, start), length)


def _parse_address(header: bytes, start: int) -> IPv4Address:
    return IPv4Address(header[start + 2 : start + IPV4_OPTION_LENGTH])


def _check_length(length: int) -> int:
    if not 1 <= length <= _LONGEST_PREFIX:
        raise ParseError(Reason.BAD_OPTION_VALUE, f"IPv4 prefix length {length}")
    return length


def serialize_ipv4_home_address(option: IPv4HomeAddress) -> bytes:
    """Write ``option``; raises ValueError unless its prefix length is from 1 to 32."""
    octet = _pack_length(option.prefix_length) | (_REQUEST_PREFIX if option.request_prefix else 0)
    head = bytes((OptionType.IPV4_HOME_ADDRESS, IPV4_OPTION_LENGTH, octet, 0))
    return head + option.address.packed


def serialize_ipv4_acknowledgement(option: IPv4AddressAcknowledgement) -> bytes:
    """Write ``option``; raises ValueError unless it could be read back.

    The prefix length "MUST be set to zero" in a refusal (RFC 5555 §3.2.1), else it is 1 to 32.
    """
    octet = 0
    if option.status < FIRST_IPV4_REFUSAL:
        octet = _pack_length(option.prefix_length)
    elif option.prefix_length:
        raise ValueError(f"a refusal of IPv4 with prefix length {option.prefix_length}")
    kind = OptionType.IPV4_ADDRESS_ACKNOWLEDGEMENT
    return bytes((kind, IPV4_OPTION_LENGTH, option.status, octet)) + option.address.packed


def _pack_length(length: int) -> int:
    if not 1 <= length <= _LONGEST_PREFIX:
        raise ValueError(f"IPv4 prefix length {length}")
    return length << _RESERVED_BITS
