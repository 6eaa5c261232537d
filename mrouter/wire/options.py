"""Mobility options as data; their bytes are the codec's business."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector


@dataclass(frozen=True, slots=True)
class BindingRefreshAdvice:
    """How soon the home agent advises a refresh, in seconds (RFC 6275 §6.2.4)."""

    interval: int


@dataclass(frozen=True, slots=True)
class AlternateCareOfAddress:
    """The care-of address, when it is not the packet's source (RFC 6275 §6.2.5)."""

    address: IPv6Address


@dataclass(frozen=True, slots=True)
class NonceIndices:
    """Which nonces the keygen tokens were made with (RFC 6275 §6.2.6)."""

    home: int
    care_of: int


@dataclass(frozen=True, slots=True)
class BindingAuthorizationData:
    """First 96 bits of the MAC under Kbm (RFC 6275 §6.2.7); always the last option.

    ``authenticator`` is empty in a message that is still to be signed.
    """

    authenticator: bytes = b""


@dataclass(frozen=True, slots=True)
class MobileNetworkPrefix:
    """A prefix behind the mobile router, explicit mode (RFC 3963 §4.3)."""

    prefix: IPv6Network


@dataclass(frozen=True, slots=True)
class MnHaAuthentication:
    """MN-HA mobility message authentication (RFC 4285 §5.1); the last option.

    ``authenticator`` is empty in a message that is still to be signed.
    """

    spi: int
    authenticator: bytes = b""


@dataclass(frozen=True, slots=True)
class ReplayProtection:
    """Mobility message replay protection: a 64-bit NTP-format timestamp (RFC 4285 §6)."""

    timestamp: int


@dataclass(frozen=True, slots=True)
class CareOfAddressInformation:
    """CoAINFO: which binding, and its priority, lower is better (draft §5.3.1).

    In dialect rfc5648 the same data travel in a Binding Identifier option (RFC 5648 §4.3), whose
    own ``status``, ``care_of_address`` and ``home_and_foreign`` (the H flag: this binding and the
    home link are used at once) exist there alone. ``malformed`` says that its care-of address
    could not be read, for an answer of status 164.
    """

    ifid: int
    ifpri: int
    status: int = 0
    care_of_address: IPv6Address | None = None
    home_and_foreign: bool = False
    malformed: bool = False


@dataclass(frozen=True, slots=True)
class FlowIdentification:
    """A flow binding: which packets go by which bindings (RFC 6089 §4.2).

    ``ifids`` are those of the Binding Reference sub-option (§4.2.1.3), IFIDs in dialect draft-01
    too; ``selector`` that of the Traffic Selector sub-option (§4.2.1.4). Lower ``priority`` goes
    first.
    ``malformed`` says that it could not be read, for an answer of status 130.
    """

    fid: int
    priority: int
    ifids: tuple[int, ...] = ()
    selector: TrafficSelector | UnknownSelector | None = None
    status: int = 0
    malformed: bool = False


@dataclass(frozen=True, slots=True)
class FlowSummary:
    """The flow bindings, by FID, that stay as they are (RFC 6089 §4.2.2)."""

    fids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IPv4HomeAddress:
    """An IPv4 address, or an IPv4 network behind the mobile router (RFC 5555 §3.1.1).

    ``prefix_length`` is from 1 to 32: 32 for a single address. ``request_prefix`` is the P flag: a
    mobile network's prefix is meant. Address 0.0.0.0 asks the home agent to choose one.
    """

    address: IPv4Address
    prefix_length: int
    request_prefix: bool = False

    @property
    def network(self) -> IPv4Network:
        """The address's prefix."""
        return IPv4Network((self.address, self.prefix_length), strict=False)


@dataclass(frozen=True, slots=True)
class IPv4AddressAcknowledgement:
    """What the home agent says of one IPv4 Home Address option (RFC 5555 §3.2.1).

    ``prefix_length`` is what it grants, from 1 to 32; 0 in a refusal.
    """

    status: int
    address: IPv4Address
    prefix_length: int = 0


@dataclass(frozen=True, slots=True)
class UnknownOption:
    """An option that is skipped by its length, as RFC 6275 §6.2.1 says."""

    type: int
    data: bytes


MobilityOption = (
    BindingRefreshAdvice
    | AlternateCareOfAddress
    | NonceIndices
    | BindingAuthorizationData
    | MobileNetworkPrefix
    | MnHaAuthentication
    | ReplayProtection
    | CareOfAddressInformation
    | FlowIdentification
    | FlowSummary
    | IPv4HomeAddress
    | IPv4AddressAcknowledgement
    | UnknownOption
)
