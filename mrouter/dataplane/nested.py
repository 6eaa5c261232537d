"""The home agent's way to a mobile router that is behind another one of its own."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import marks
from mrouter.dataplane.state import Encapsulation, Route, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address


def make_nested_routing(
    encapsulation: Encapsulation,
    served: tuple[IPv6Network, ...],
    care_of_addresses: Iterable[IPv6Address],
    device: str,
) -> tuple[set[Route], set[Rule]]:
    """Return the way by which ip6tnl finds a care-of address that lies behind a mobile router.

    The device refuses to send to itself ("Local routing loop"). It looks for its way without a
    mark, so it is shown another interface; the output hook then marks the outer packet, which is
    routed again, by the primary care-of address of the mobile router in front.
    """
    if encapsulation is not Encapsulation.IP6TNL:
        return set(), set()
    by_length = _group_by_length(served)
    nested = {
        address
        for address in care_of_addresses
        if any(int(address) >> (128 - length) in prefixes for length, prefixes in by_length.items())
    }
    return (
        {Route(marks.NESTED_TABLE, IPv6Network(address), device) for address in nested},
        {Rule(marks.NESTED_TABLE, 0, marks.ENCAP, input_interface="lo")} if nested else set(),
    )


@lru_cache(maxsize=4)
def _group_by_length(served: tuple[IPv6Network, ...]) -> dict[int, frozenset[int]]:
    """Return the prefixes of ``served`` as numbers, by their length."""
    grouped: dict[int, set[int]] = {}
    for network in served:
        length = network.prefixlen
        grouped.setdefault(length, set()).add(int(network.network_address) >> (128 - length))
    return {length: frozenset(prefixes) for length, prefixes in grouped.items()}
