"""What each binding adds to the home agent's kernel state."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.state import Encapsulation, Ip6Encapsulation, Route, Seg6Encapsulation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mrouter.dataplane.home_agent import HomeAgentView
    from mrouter.policy.model import Network
    from mrouter.protocol.bindings import CacheEntry


@dataclass(frozen=True, slots=True)
class Pieces:
    """What one binding adds for one family; ``sources`` are (length, key, verdict)."""

    slot: int
    networks: tuple[Network, ...]
    routes: tuple[Route, ...]
    primary_routes: tuple[Route, ...]
    sources: tuple[tuple[int, str, str], ...]
    care_of_address: IPv6Address


@dataclass(frozen=True, slots=True)
class BindingPieces:
    """All bindings' pieces, and those of the primary care-of addresses alone."""

    all: tuple[Pieces, ...]
    primary: tuple[Pieces, ...]

    @property
    def slots(self) -> list[int]:
        """The slots in use."""
        return sorted({pieces.slot for pieces in self.all})


def find_pieces(view: HomeAgentView, family: Family) -> BindingPieces:
    """Find the pieces of all bindings that carry ``family``.

    The primary one of a home address has the best priority, lower is better (draft §3).
    """
    everything: list[Pieces] = []
    best: dict[IPv6Address, tuple[int, int]] = {}
    primary: dict[IPv6Address, Pieces] = {}
    # an IPv4 route would be lost with the device's last IPv4 address, were it not `lo`'s
    device = view.device if family is Family.IPV6 else "lo"
    for binding in view.bindings:
        networks = _list_networks(binding, family)
        if not networks:
            continue
        pieces = _make_pieces(
            view.encapsulation,
            view.address,
            device,
            networks,
            binding.care_of_address,
            binding.slot,
        )
        everything.append(pieces)
        rank = (binding.ifpri, binding.slot)
        known = best.get(binding.home_address)
        if known is None or rank < known:
            best[binding.home_address] = rank
            primary[binding.home_address] = pieces
    return BindingPieces(tuple(everything), tuple(primary.values()))


def _list_networks(binding: CacheEntry, family: Family) -> tuple[Network, ...]:
    if family is Family.IPV4:
        return binding.ipv4_prefixes
    return (IPv6Network(binding.home_address), *binding.prefixes)


@lru_cache(maxsize=1 << 16)
def _make_pieces(
    encapsulation: Encapsulation,
    address: IPv6Address,
    device: str,
    networks: tuple[Network, ...],
    care_of_address: IPv6Address,
    slot: int,
) -> Pieces:
    """Make a binding's pieces once: the whole state is built anew at each change of any."""
    tunnel: Seg6Encapsulation | Ip6Encapsulation
    if encapsulation is Encapsulation.SEG6:
        tunnel = Seg6Encapsulation(care_of_address)
    else:
        tunnel = Ip6Encapsulation(address, care_of_address)
        device = fragments.TUNNEL_DEVICE
    routes, primary_routes = (
        tuple(Route(table, network, device, tunnel=tunnel) for network in networks)
        for table in (marks.slot_table(slot), marks.PRIMARY_TABLE)
    )
    sources = tuple(
        (length, f"{care_of_address} . {prefix:#x}", f"goto from_{slot}")
        for network in networks
        for length, prefix in _split_octets(network)
    )
    return Pieces(slot, networks, routes, primary_routes, sources, care_of_address)


def _split_octets(network: Network) -> Iterator[tuple[int, int]]:
    """Yield (length, prefix as a number) of the prefixes in whole octets that make ``network``."""
    length = (network.prefixlen + 7) // 8 * 8
    first = int(network.network_address) >> (network.max_prefixlen - length)
    for prefix in range(first, first + (1 << (length - network.prefixlen))):
        yield length, prefix
