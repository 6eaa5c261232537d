"""One binding towards a correspondent node, and what is sent for it (RFC 6275 §11.6, §11.7)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mrouter.protocol.events import SendPacket
from mrouter.protocol.keygen_tokens import BindingAuthorization, compute_binding_key
from mrouter.protocol.routability import RoutabilityTest
from mrouter.protocol.update_list import INITIAL_BINDACK_TIMEOUT, Binding, choose_identity
from mrouter.wire.messages import BindingUpdate, CareOfTestInit, HomeTestInit, Packet
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    CareOfAddressInformation,
    NonceIndices,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.events import EgressAddress
    from mrouter.protocol.settings import MobileRouterSettings
    from mrouter.wire.options import MobilityOption


@dataclass(slots=True)
class RouteBinding(Binding):
    """A binding towards a correspondent node.

    ``test`` yields its care-of keygen token. ``waits`` says that a Binding Update is to be sent
    as soon as there are tokens for it. ``authorization`` is the last Binding Update's, under
    which the answer comes.
    """

    test: RoutabilityTest = field(default_factory=RoutabilityTest)
    waits: bool = False
    authorization: BindingAuthorization | None = None

    @property
    def information(self) -> CareOfAddressInformation | None:
        """What its messages name it by; None for a plain one, which has no name."""
        return None if self.plain else CareOfAddressInformation(self.ifid, self.egress.ifpri)

    def begin_update(self, now: float) -> None:
        """Restart the repetitions; only a home registration waits longer at first (§11.8)."""
        self.interval = INITIAL_BINDACK_TIMEOUT
        self.corrections = 0
        self.due_at = now

    def end(self, now: float) -> None:
        """Begin to de-register."""
        self.test.forget()
        self.waits = False
        self.mark_ending(now)


def create_route_binding(
    egress: EgressAddress,
    others: Iterable[RouteBinding],
    random: Random,
    avoid: Collection[int],
) -> RouteBinding | None:
    """Return a new binding with an IFID and a slot of its own, or None if none is free.

    ``avoid`` are the IFIDs that other destinations know its care-of address by.
    """
    identity = choose_identity(others, random, avoid)
    return None if identity is None else RouteBinding(egress, *identity, sequence=0)


def build_home_test_init(
    home_address: IPv6Address, correspondent: IPv6Address, cookie: bytes
) -> Packet:
    """Build a Home Test Init (RFC 6275 §11.6.1); the draft §6 does not change it."""
    return Packet(home_address, correspondent, HomeTestInit(cookie))


def build_care_of_test_init(
    correspondent: IPv6Address, binding: RouteBinding, cookie: bytes
) -> Packet:
    """Build a Care-of Test Init; CoAINFO "MUST" be in each (the draft §4), but plain ones."""
    information = binding.information
    options = () if information is None else (information,)
    return Packet(binding.egress.address, correspondent, CareOfTestInit(cookie, options))


def build_route_update(
    settings: MobileRouterSettings,
    correspondent: IPv6Address,
    binding: RouteBinding,
    source: EgressAddress,
    home_test: RoutabilityTest,
    lifetime: int,
) -> SendPacket:
    """Build the Binding Update that ``binding`` asks for, and set its ``authorization``.

    ``lifetime`` is in seconds. 0 de-registers: the home keygen token is enough, the care-of nonce
    index is 0, and "The BU MUST contain the lifetime specified as zero and specify a Care-of
    address that matches the home address for the binding" (the draft §7.7), which the source
    address, or else an Alternate Care-of Address option, does. A Binding Identifier option holds
    the care-of address of the binding instead (RFC 5648 §5.2).
    """
    home_address = settings.home_address
    ending = lifetime == 0
    information = binding.information
    names_address = settings.follow_rfc5648 and information is not None
    if information is not None and names_address:
        information = replace(information, care_of_address=binding.egress.address)
    options: list[MobilityOption] = [] if information is None else [information]
    if ending and source.address != home_address and not names_address:
        options.append(AlternateCareOfAddress(home_address))
    care_of_index = 0 if ending else binding.test.nonce_index
    options += [NonceIndices(home_test.nonce_index, care_of_index), BindingAuthorizationData()]
    binding.authorization = BindingAuthorization(
        care_of_address=home_address if ending else source.address,
        correspondent=correspondent,
        key=compute_binding_key(home_test.token, None if ending else binding.test.token),
    )
    message = BindingUpdate(
        sequence=binding.sequence,
        lifetime=lifetime,
        acknowledge=True,
        multiple=information is not None,
        options=tuple(options),
    )
    packet = Packet(
        source=source.address,
        destination=correspondent,
        message=message,
        home_address=None if source.address == home_address else home_address,
    )
    return SendPacket(packet, link=source.link, authorization=binding.authorization)
