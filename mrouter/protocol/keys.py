"""Authenticators and timestamps between a mobile router and its home agent (RFC 4285)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import constant_time, hashes, hmac

from mrouter.protocol.settings import Algorithm
from mrouter.wire.messages import BindingUpdate, find_option
from mrouter.wire.options import AlternateCareOfAddress, MnHaAuthentication

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.protocol.settings import SecurityAssociation
    from mrouter.wire.messages import Packet

_HASHES: dict[Algorithm, type[hashes.HashAlgorithm]] = {
    # SHA-1 is RFC 4285's mandatory algorithm; as an HMAC it is not broken.
    Algorithm.HMAC_SHA1: hashes.SHA1,
    Algorithm.HMAC_SHA256: hashes.SHA256,
}

#: Octets that an authenticator is cut to: First(96, ...) of RFC 4285 §5.1; 128 bits for SHA-256.
AUTHENTICATOR_LENGTH = {Algorithm.HMAC_SHA1: 12, Algorithm.HMAC_SHA256: 16}

#: Seconds from NTP's epoch (1900) to the Unix epoch (1970).
_NTP_TO_UNIX = 2_208_988_800

#: Seconds (RFC 4285 §6): how far timestamps may be from the home agent's clock by default.
_USUAL_WINDOW = 7.0


def compute_authenticator(
    sa: SecurityAssociation,
    care_of_address: IPv6Address,
    home_address: IPv6Address,
    mh_data: bytes,
) -> bytes:
    """Compute First(n, HMAC(key, care-of address | home address | MH Data)) (RFC 4285 §5.1).

    ``mh_data`` is the Mobility Header with a zero checksum, up to and including the option's SPI.
    Return 12 octets for HMAC-SHA-1, 16 for HMAC-SHA-256.
    """
    mac = hmac.HMAC(sa.key, _HASHES[sa.algorithm]())
    mac.update(care_of_address.packed + home_address.packed + mh_data)
    return mac.finalize()[: AUTHENTICATOR_LENGTH[sa.algorithm]]


def verify_authenticator(sa: SecurityAssociation, packet: Packet) -> bool:
    """Say whether ``packet`` carries this association's authenticator, as its last option.

    The comparison takes the same time whatever differs. RFC 4285 §5.1 wants the option last, so
    one that is followed by options that it does not cover is not accepted.
    """
    last = packet.message.options[-1] if packet.message.options else None
    if not isinstance(last, MnHaAuthentication) or last.spi != sa.spi:
        return False
    expected = compute_authenticator(sa, *find_signed_addresses(packet), packet.signed_part)
    return constant_time.bytes_eq(expected, last.authenticator)


def find_signed_addresses(packet: Packet) -> tuple[IPv6Address, IPv6Address]:
    """Return the care-of and the home address that ``packet``'s authenticator covers.

    From a mobile router the care-of address is the Alternate Care-of Address option's if there is
    one, else the packet's source, and the home address is the Home Address option's, else the
    source. To a mobile router the care-of address is the destination on the wire, and the home
    address is the type 2 routing header's, else the destination. RFC 4285 §5.1 says "care-of
    address" and leaves open which: this reading protects what the receiver acts on.
    """
    if isinstance(packet.message, BindingUpdate):
        alternate = find_option(packet.message, AlternateCareOfAddress)
        care_of_address = packet.source if alternate is None else alternate.address
        return care_of_address, packet.home_address or packet.source
    return packet.destination, packet.routing_home_address or packet.destination


class PacketSigner:
    """Signs outgoing packets under one security association: the codec's ``Signer``."""

    def __init__(self, sa: SecurityAssociation) -> None:
        self._sa = sa
        self.length = AUTHENTICATOR_LENGTH[sa.algorithm]
        """Octets of an authenticator."""

    def sign(self, packet: Packet, mh_data: bytes) -> bytes:
        """Return the authenticator for ``packet``, whose Mobility Header is ``mh_data`` so far."""
        return compute_authenticator(self._sa, *find_signed_addresses(packet), mh_data)


def to_ntp_timestamp(unix: float) -> int:
    """Return ``unix`` seconds as a 64-bit NTP timestamp (RFC 4285 §6), modulo its era."""
    return int((unix + _NTP_TO_UNIX) * 2**32) % 2**64


def from_ntp_timestamp(timestamp: int) -> float:
    """Return a 64-bit NTP timestamp as Unix seconds.

    A timestamp whose first bit is 0 is of the era that begins in 2036 (RFC 4330 §3).
    """
    era = 0 if timestamp >> 63 else 2**64
    return (timestamp + era) / 2**32 - _NTP_TO_UNIX


class Timestamps:
    """Makes timestamps that grow, by the home agent's clock once that is known (RFC 4285 §6)."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._last = 0

    def follow(self, timestamp: int, now: float, *, again: bool) -> None:
        """Take over the clock that says ``timestamp`` (NTP format) at ``now`` (Unix seconds).

        One that is behind ours by no more than the usual window is only followed if it complains
        ``again``: the network may have brought the home agent a Binding Update twice, and a clock
        that goes back makes later ones older than what was accepted before.
        """
        offset = from_ntp_timestamp(timestamp) - now
        if again or not 0 < self._offset - offset <= _USUAL_WINDOW:
            self._offset = offset
            self._last = 0

    def take_next(self, now: float) -> int:
        """Return a timestamp for ``now`` (Unix seconds) that is above the last.

        Deviates from RFC 4285 §6: the bits below the clock's resolution are not random but count
        up, so that the timestamps of one moment differ and grow.
        """
        self._last = max(to_ntp_timestamp(now + self._offset), self._last + 1)
        return self._last
