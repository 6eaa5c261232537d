"""Keygen tokens, the binding management key, and what it authorizes (RFC 6275 §5.2, draft §6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import constant_time, hashes, hmac

from mrouter.wire.options import BindingAuthorizationData

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.wire.messages import Packet
    from mrouter.wire.options import CareOfAddressInformation

#: Octets of First(64, ...) and First(96, ...).
_TOKEN_LENGTH = 8
_AUTHENTICATOR_LENGTH = 12

# RFC 6275 §5.2.5: these octets keep home and care-of keygen tokens apart.
_HOME = b"\x00"
_CARE_OF = b"\x01"


@dataclass(frozen=True, slots=True)
class BindingAuthorization:
    """What Binding Authorization Data is computed over and under (RFC 6275 §6.2.7).

    ``care_of_address`` is the one that is registered, or the home address in a de-registration,
    and ``key`` is Kbm, 20 octets, which never shows in a repr or a log.
    """

    care_of_address: IPv6Address
    correspondent: IPv6Address
    key: bytes = field(repr=False)


class AuthorizationSigner:
    """Signs outgoing packets with Binding Authorization Data: the codec's ``Signer``."""

    def __init__(self, authorization: BindingAuthorization) -> None:
        self._authorization = authorization
        self.length = _AUTHENTICATOR_LENGTH
        """Octets of an authenticator."""

    def sign(self, packet: Packet, mh_data: bytes) -> bytes:
        """Return the authenticator for ``packet``, whose Mobility Header is ``mh_data`` so far."""
        return compute_authenticator(self._authorization, mh_data)


def compute_home_keygen_token(node_key: bytes, home_address: IPv6Address, nonce: bytes) -> bytes:
    """Compute First(64, HMAC_SHA1(Kcn, (home address | nonce | 0))) (RFC 6275 §5.2.5)."""
    return _compute_token(node_key, home_address.packed + nonce + _HOME)


def compute_care_of_keygen_token(
    node_key: bytes,
    care_of_address: IPv6Address,
    nonce: bytes,
    information: CareOfAddressInformation | None,
) -> bytes:
    """Compute the care-of keygen token, with what the Care-of Test Init said.

    With CoAINFO it is First(64, MAC(Kcn, (care-of address | IFID | IFPRI | nonce))), literally
    after the draft §6, which has no octet 1 at the end; its length keeps it apart from the other
    tokens. Without, it is First(64, HMAC_SHA1(Kcn, (care-of address | nonce | 1))) (RFC 6275
    §5.2.5). An IFID has one octet, as CoAINFO's, or two where only a Binding Identifier holds it.
    """
    if information is None:
        return _compute_token(node_key, care_of_address.packed + nonce + _CARE_OF)
    ifid = information.ifid.to_bytes(1 if information.ifid <= 0xFF else 2, "big")
    ifpri = information.ifpri.to_bytes(1, "big")
    return _compute_token(node_key, care_of_address.packed + ifid + ifpri + nonce)


def _compute_token(node_key: bytes, data: bytes) -> bytes:
    return _compute_mac(node_key, data)[:_TOKEN_LENGTH]


def _compute_mac(key: bytes, data: bytes) -> bytes:
    mac = hmac.HMAC(key, hashes.SHA1())  # noqa: S303 - RFC 6275 §5.2 knows no other
    mac.update(data)
    return mac.finalize()


def compute_binding_key(home_keygen_token: bytes, care_of_keygen_token: bytes | None) -> bytes:
    """Compute Kbm, SHA1(home keygen token | care-of keygen token): 20 octets (RFC 6275 §5.2.5).

    Without a care-of keygen token it is SHA1(home keygen token), as for a de-registration.
    """
    digest = hashes.Hash(hashes.SHA1())  # noqa: S303 - RFC 6275 §5.2.5; no collision helps here
    digest.update(home_keygen_token + (care_of_keygen_token or b""))
    return digest.finalize()


def compute_authenticator(authorization: BindingAuthorization, mh_data: bytes) -> bytes:
    """Compute First(96, HMAC_SHA1(Kbm, care-of address | correspondent | MH Data)): 12 octets.

    ``mh_data`` is the Mobility Header with a zero checksum, up to the authenticator, which ends
    it (RFC 6275 §6.2.7).
    """
    addresses = authorization.care_of_address.packed + authorization.correspondent.packed
    return _compute_mac(authorization.key, addresses + mh_data)[:_AUTHENTICATOR_LENGTH]


def verify_authorization(authorization: BindingAuthorization, packet: Packet) -> bool:
    """Say whether ``packet`` ends with Binding Authorization Data made under ``authorization``.

    The comparison takes the same time whatever differs.
    """
    last = packet.message.options[-1] if packet.message.options else None
    if not isinstance(last, BindingAuthorizationData):
        return False
    expected = compute_authenticator(authorization, packet.signed_part)
    return constant_time.bytes_eq(expected, last.authenticator)
