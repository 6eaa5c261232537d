"""What a home agent has to remember over a restart, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mrouter.protocol.answers import ReplyPath
from mrouter.protocol.flow_table import may_steer
from mrouter.protocol.ipv4_networks import keep_permitted
from mrouter.protocol.prefix_table import permits

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from ipaddress import IPv6Address

    from mrouter.protocol.binding_cache import BindingCache
    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.flow_bindings import FlowBinding
    from mrouter.protocol.flow_table import FlowTable
    from mrouter.protocol.prefix_table import PrefixTable
    from mrouter.protocol.replay import ReplayGuard


@dataclass(frozen=True, slots=True)
class SavedBinding:
    """One binding, and how its mobile router was answered; no key, only its SPI."""

    entry: CacheEntry
    destination: IPv6Address
    spi: int | None
    timestamp: int | None


@dataclass(frozen=True, slots=True)
class HomeAgentMemory:
    """All bindings and flow bindings, and the timestamps that must not be accepted again.

    ``timestamps`` are (home address, IFID, Unix seconds); ``flows_taken_at`` are (home address,
    Unix seconds): what flow bindings an older Binding Update names is of no interest any more.
    """

    bindings: tuple[SavedBinding, ...] = ()
    timestamps: tuple[tuple[IPv6Address, int | None, float], ...] = ()
    flows: tuple[FlowBinding, ...] = ()
    flows_taken_at: tuple[tuple[IPv6Address, float], ...] = ()


def save_tables(cache: BindingCache, replay: ReplayGuard, flows: FlowTable) -> HomeAgentMemory:
    """Return all that is in a home agent's tables."""
    return HomeAgentMemory(
        bindings=tuple(
            SavedBinding(
                entry=entry,
                destination=path.destination,
                spi=None if path.association is None else path.association.spi,
                timestamp=path.timestamp,
            )
            for entry, path in cache.list_all()
        ),
        timestamps=tuple(replay.list_latest()),
        flows=flows.flows,
        flows_taken_at=tuple(flows.list_timestamps()),
    )


def list_restorable(
    bindings: Iterable[SavedBinding], table: PrefixTable, *, nemo: bool
) -> Iterator[tuple[CacheEntry, ReplyPath]]:
    """Yield those bindings that the settings still allow, and how to answer about them."""
    for saved in bindings:
        entry = saved.entry
        router = table.get(entry.home_address)
        if router is None or (entry.mobile_router and not nemo):
            continue
        if not all(permits(router, prefix) for prefix in entry.prefixes):
            continue
        association = next((a for a in router.security if a.spi == saved.spi), None)
        if router.security and association is None:
            continue  # made under a key that is accepted no longer
        ipv4_prefixes = keep_permitted(entry.ipv4_prefixes, router.ipv4_prefixes)
        entry = replace(entry, ipv4_prefixes=ipv4_prefixes)
        yield entry, ReplyPath(saved.destination, association, saved.timestamp)


def list_restorable_flows(
    flows: Iterable[FlowBinding], table: PrefixTable, bound: Container[IPv6Address]
) -> Iterator[FlowBinding]:
    """Yield those flow bindings that the settings still allow, of home addresses in ``bound``."""
    for flow in flows:
        router = table.get(flow.home_address)
        if router is not None and flow.home_address in bound and may_steer(flow.selector, router):
            yield flow
