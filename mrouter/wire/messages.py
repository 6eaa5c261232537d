"""Mobility Header messages as data (RFC 6275 §6.1, RFC 3963 §4, the draft §5.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.wire.options import MobilityOption


@dataclass(frozen=True, slots=True)
class BindingRefreshRequest:
    """Binding Refresh Request (RFC 6275 §6.1.2)."""

    options: tuple[MobilityOption, ...] = ()


@dataclass(frozen=True, slots=True)
class HomeTestInit:
    """Home Test Init (RFC 6275 §6.1.3); the cookie is 8 octets."""

    cookie: bytes
    options: tuple[MobilityOption, ...] = ()


@dataclass(frozen=True, slots=True)
class CareOfTestInit:
    """Care-of Test Init (RFC 6275 §6.1.4, with CoAINFO after the draft §6)."""

    cookie: bytes
    options: tuple[MobilityOption, ...] = ()


@dataclass(frozen=True, slots=True)
class HomeTest:
    """Home Test (RFC 6275 §6.1.5); cookie and token are 8 octets each."""

    nonce_index: int
    cookie: bytes
    keygen_token: bytes
    options: tuple[MobilityOption, ...] = ()


@dataclass(frozen=True, slots=True)
class CareOfTest:
    """Care-of Test (RFC 6275 §6.1.6); cookie and token are 8 octets each."""

    nonce_index: int
    cookie: bytes
    keygen_token: bytes
    options: tuple[MobilityOption, ...] = ()


@dataclass(frozen=True, slots=True)
class BindingUpdate:
    """Binding Update (RFC 6275 §6.1.7; R: RFC 3963 §4.1; M: the draft §5.3.2).

    ``multiple`` is the draft's M flag; in dialect rfc5648 it has no bit of its own and is true
    when a Binding Identifier option is present. ``overwrite`` is RFC 5648's O flag.
    ``lifetime`` is in seconds, a multiple of 4 up to 262140; 0 de-registers.
    """

    sequence: int
    lifetime: int
    acknowledge: bool = False
    home_registration: bool = False
    link_local_compatible: bool = False
    key_management: bool = False
    mobile_router: bool = False
    multiple: bool = False
    overwrite: bool = False
    options: tuple[MobilityOption, ...] = ()


@dataclass(frozen=True, slots=True)
class BindingAcknowledgement:
    """Binding Acknowledgement (RFC 6275 §6.1.8; R: RFC 3963 §4.2).

    ``status`` stays a plain number: a peer may send one that we have no name for.
    ``lifetime`` is in seconds.
    """

    status: int
    sequence: int
    lifetime: int
    key_management: bool = False
    mobile_router: bool = False
    options: tuple[MobilityOption, ...] = ()


@dataclass(frozen=True, slots=True)
class BindingError:
    """Binding Error (RFC 6275 §6.1.9, with CoAINFO after the draft §8.6)."""

    status: int
    home_address: IPv6Address
    options: tuple[MobilityOption, ...] = ()


Message = (
    BindingRefreshRequest
    | HomeTestInit
    | CareOfTestInit
    | HomeTest
    | CareOfTest
    | BindingUpdate
    | BindingAcknowledgement
    | BindingError
)


@dataclass(frozen=True, slots=True)
class Packet:
    """An IPv6 packet that carries one Mobility Header message.

    ``source`` and ``destination`` are the addresses on the wire. ``home_address`` is the Home
    Address destination option (RFC 6275 §6.3) of a packet from a mobile node, and
    ``routing_home_address`` the type 2 routing header's (§6.4) of a packet to one.
    ``signed_part`` is what the authenticator covers, filled in by the parser when there is one:
    Mobility Header with a zero checksum, up to and including the MN-HA option's SPI (RFC 4285
    §5.1), or all but the authenticator of Binding Authorization Data (RFC 6275 §6.2.7); it does
    not take part in comparison.
    """

    source: IPv6Address
    destination: IPv6Address
    message: Message
    home_address: IPv6Address | None = None
    routing_home_address: IPv6Address | None = None
    signed_part: bytes = field(default=b"", compare=False, repr=False)


OptionT = TypeVar("OptionT")


def find_option(message: Message, kind: type[OptionT]) -> OptionT | None:
    """Return the first option of ``kind`` in ``message``, or None."""
    for option in message.options:
        if isinstance(option, kind):
            return option
    return None
