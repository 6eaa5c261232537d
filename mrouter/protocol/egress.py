"""Which care-of addresses to register, and whence to send: choices among the usable addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv6Address

    from mrouter.protocol.events import EgressAddress
    from mrouter.protocol.update_list import Binding


def find_wanted(
    addresses: Sequence[EgressAddress], home_address: IPv6Address, *, primary_only: bool
) -> dict[tuple[str, IPv6Address], EgressAddress]:
    """Return what should be registered: nothing at home, else all, or the primary alone.

    The primary care-of address has the lowest IFPRI; of equal ones the first. An address that is
    the home address means that its link is the home link: "Whenever the P-IF is attached to the
    home link, the MN sends BU for de-registration"; where a non-primary interface is at home only
    its own binding goes (the draft §7.8).
    """
    ordered = sorted(addresses, key=lambda address: address.ifpri)
    if not ordered or ordered[0].address == home_address:
        return {}
    foreign = [address for address in ordered if address.address != home_address]
    if primary_only:
        foreign = foreign[:1]
    return {(address.link, address.address): address for address in foreign}


def find_source(
    addresses: Sequence[EgressAddress], home_address: IPv6Address, binding: Binding
) -> EgressAddress | None:
    """Return whence to send for ``binding``: its own address, else the best there is, else None.

    The home address is the last choice: from there a Binding Update speaks of returning home.
    """
    return min(
        addresses,
        key=lambda address: (
            (address.link, address.address) != binding.key,
            address.address == home_address,
            address.ifpri,
        ),
        default=None,
    )
