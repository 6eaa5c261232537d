"""The Binding Updates that a mobile router sends to its home agent (RFC 6275 §11.7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.events import SendPacket
from mrouter.protocol.ipv4_networks import request_ipv4
from mrouter.wire.messages import BindingUpdate, Packet
from mrouter.wire.options import (
    AlternateCareOfAddress,
    CareOfAddressInformation,
    MnHaAuthentication,
    MobileNetworkPrefix,
    ReplayProtection,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.protocol.events import EgressAddress
    from mrouter.protocol.settings import MobileRouterSettings
    from mrouter.protocol.update_list import Binding
    from mrouter.wire.options import MobilityOption


def build_binding_update(
    settings: MobileRouterSettings,
    binding: Binding,
    source: EgressAddress,
    lifetime: int,
    flows: Iterable[MobilityOption] = (),
    *,
    overwrite: bool = False,
) -> SendPacket:
    """Build the Binding Update that ``binding`` asks for, to be sent from ``source``.

    ``lifetime`` is in seconds, 0 to de-register. Sequence number and timestamp are the binding's,
    ``flows`` the options about flow bindings; ``overwrite`` is the O flag (RFC 5648 §4.2).
    A mobile router sets R (RFC 3963 §5.2); M goes with CoAINFO (the draft §5.3.2).
    """
    message = BindingUpdate(
        sequence=binding.sequence,
        lifetime=lifetime,
        acknowledge=True,
        home_registration=True,
        mobile_router=bool(settings.prefixes),
        multiple=not binding.plain,
        overwrite=overwrite,
        options=_build_options(settings, binding, source, lifetime, flows),
    )
    at_home = source.address == settings.home_address
    packet = Packet(
        source=source.address,
        destination=settings.home_agent,
        message=message,
        home_address=None if at_home else settings.home_address,
    )
    key_for = settings.home_address if settings.security else None
    return SendPacket(packet, link=source.link, key_for=key_for)


def _build_options(
    settings: MobileRouterSettings,
    binding: Binding,
    source: EgressAddress,
    lifetime: int,
    flows: Iterable[MobilityOption],
) -> tuple[MobilityOption, ...]:
    options: list[MobilityOption] = []
    address = binding.egress.address
    # "the care-of address MUST be carried in the Care-of Address field of the Binding Identifier
    # mobility option ... the alternate Care-of Address option MUST NOT be included" (RFC 5648 §5.2)
    names_address = settings.follow_rfc5648 and not binding.plain
    if not binding.plain:
        options.append(
            CareOfAddressInformation(
                binding.ifid,
                binding.egress.ifpri,
                care_of_address=address if names_address else None,
            )
        )
    if not names_address and (source.address != address or settings.security is None):
        # IPsec does not cover the source address, so that an update under its protection names
        # the care-of address in any case (RFC 6275 §11.7.1).
        options.append(AlternateCareOfAddress(address))
    if settings.explicit and lifetime:
        # "SHOULD NOT include any" in a de-registration (RFC 3963 §5.8)
        options += [MobileNetworkPrefix(prefix) for prefix in settings.prefixes]
    if lifetime:
        # in every Binding Update: one without would take IPv4 from its bindings (RFC 5555 §4.4.2)
        options += request_ipv4(settings.ipv4_prefixes)
    options += flows
    if binding.timestamp is not None:
        options.append(ReplayProtection(binding.timestamp))
    if settings.security is not None:
        options.append(MnHaAuthentication(settings.security.spi))
    return tuple(options)
