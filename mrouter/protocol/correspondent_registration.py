"""One correspondent registration: the request, and whether return routability authorizes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrouter.protocol.home_registration import Discard, Refuse
from mrouter.protocol.keygen_tokens import (
    BindingAuthorization,
    compute_binding_key,
    compute_care_of_keygen_token,
    compute_home_keygen_token,
    verify_authorization,
)
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import find_option
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    CareOfAddressInformation,
    NonceIndices,
)

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.protocol.binding_cache import BindingCache
    from mrouter.protocol.node_keys import NodeKeys
    from mrouter.wire.messages import BindingUpdate, Packet


@dataclass(slots=True)
class RouteRequest:
    """A Binding Update to a correspondent node; ``authorization`` is set once it is authorized.

    ``lacks_address``: it names a binding that is not known, and no care-of address for it where it
    must (RFC 5648 §6.2).
    """

    packet: Packet
    update: BindingUpdate
    home_address: IPv6Address
    care_of_address: IPv6Address
    information: CareOfAddressInformation | None
    lacks_address: bool = False
    authorization: BindingAuthorization | None = None

    @property
    def ifid(self) -> int | None:
        """The IFID that CoAINFO names, None for a plain registration."""
        return None if self.information is None else self.information.ifid

    @property
    def is_deletion(self) -> bool:
        """Whether it ends bindings (RFC 6275 §9.5.1)."""
        return self.update.lifetime == 0 or self.care_of_address == self.home_address


def read_route_request(
    packet: Packet, update: BindingUpdate, bindings: BindingCache, *, require_addresses: bool
) -> RouteRequest:
    """Pick out of ``packet``, which carries ``update``, what a registration is about.

    A Binding Identifier option holds its care-of address, or is of one of ``bindings`` if
    ``require_addresses`` (RFC 5648 §6.2); CoAINFO has none, and means the packet's.
    """
    home_address = packet.home_address or packet.source
    alternate = find_option(update, AlternateCareOfAddress)
    care_of_address = packet.source if alternate is None else alternate.address
    information = find_option(update, CareOfAddressInformation)
    lacks_address = False
    if information is not None and information.care_of_address is not None:
        care_of_address = information.care_of_address
    elif information is not None and require_addresses:
        known = bindings.get(home_address, information.ifid)
        lacks_address = known is None
        care_of_address = care_of_address if known is None else known.care_of_address
    return RouteRequest(packet, update, home_address, care_of_address, information, lacks_address)


def check_form(request: RouteRequest, own: IPv6Address) -> None:
    """Check what needs no key (RFC 6275 §9.5.1, the draft §8.3); raise Discard or Refuse.

    Deviates from RFC 6275 §9.5.1, where a home registration for a home address that is bound gets
    139: nobody vouches for it, so it gets 131 as any other and is not told what stands.
    """
    update = request.update
    if update.multiple and request.information is None:
        # "If it does not contains a CoAINFO sub-option, the CN MUST silently drop the BU".
        raise Discard("signalling-dropped", "coainfo-missing")
    if not (is_routable(request.home_address) and is_routable(request.care_of_address)):
        raise Discard("signalling-dropped", "bad-address")
    if own in (request.home_address, request.care_of_address):
        raise Discard("signalling-dropped", "bad-address")
    if update.home_registration:
        if find_option(update, NonceIndices) is not None:
            # "If the Home Registration (H) bit is set, the Nonce Indices mobility option MUST NOT
            # be present."
            raise Discard("signalling-dropped", "nonces-in-home-registration")
        raise Refuse(BindingStatus.HOME_REGISTRATION_NOT_SUPPORTED)
    if request.information is not None and request.information.malformed:
        raise Refuse(BindingStatus.MCOA_MALFORMED)  # RFC 5648 §6.2
    if sum(isinstance(option, CareOfAddressInformation) for option in update.options) > 1:
        # Return routability is of one care-of address (RFC 5648 §6.2).
        raise Refuse(BindingStatus.MCOA_BULK_REGISTRATION_PROHIBITED)


def authorize(request: RouteRequest, keys: NodeKeys, now: float) -> None:
    """Check that the sender has the tokens, and set ``request.authorization``.

    Raises Refuse for nonces that are not known any more (136, 137, 138) and Discard for a missing
    option or a wrong authenticator (RFC 6275 §9.5.1). To end bindings the home keygen token is
    enough (RFC 6275 §5.2.5).
    """
    nonces = find_option(request.update, NonceIndices)
    if nonces is None:
        raise Discard("authentication-failed", "nonces-missing")
    if find_option(request.update, BindingAuthorizationData) is None:
        raise Discard("authentication-failed", "missing")
    home = keys.find(nonces.home, now)
    care_of = keys.find(nonces.care_of, now)
    if home is None and care_of is None and not request.is_deletion:
        raise Refuse(BindingStatus.EXPIRED_NONCES)
    if home is None:
        raise Refuse(BindingStatus.EXPIRED_HOME_NONCE_INDEX)
    home_token = compute_home_keygen_token(home.key, request.home_address, home.nonce)
    care_of_token = None
    if not request.is_deletion:
        if care_of is None:
            raise Refuse(BindingStatus.EXPIRED_CARE_OF_NONCE_INDEX)
        care_of_token = compute_care_of_keygen_token(
            care_of.key, request.care_of_address, care_of.nonce, request.information
        )
    authorization = BindingAuthorization(
        request.home_address if request.is_deletion else request.care_of_address,
        request.packet.destination,
        compute_binding_key(home_token, care_of_token),
    )
    if not verify_authorization(authorization, request.packet):
        raise Discard("authentication-failed", "wrong")
    request.authorization = authorization


def is_routable(address: IPv6Address) -> bool:
    """Say whether another subnet can reach ``address`` as one node's (RFC 6275 §3.1)."""
    return not (
        address.is_multicast
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.ipv4_mapped is not None
    )
