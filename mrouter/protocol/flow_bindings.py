"""Flow bindings as data: what is wanted, what stands, and what became of it (RFC 6089 §4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.wire.traffic_selectors import TrafficSelector

#: How many flow bindings one mobile router may have: their FIDs fit into every Binding Update.
MAX_FLOW_BINDINGS = 250


@dataclass(frozen=True, slots=True)
class FlowBinding:
    """One entry of a home address's list of flow bindings; lower ``priority`` goes first.

    ``ifids`` names the bindings that a packet goes by, a copy over each. One whose bindings have
    all gone is inactive: packets meet the next one that they match (RFC 6089 §4.3).
    """

    home_address: IPv6Address
    fid: int
    priority: int
    ifids: tuple[int, ...]
    selector: TrafficSelector


@dataclass(frozen=True, slots=True)
class WantedFlow:
    """What a mobile router wants of its home agent for packets that match ``selector``.

    They go by the first ``copies`` of ``links`` that have a usable binding.
    """

    selector: TrafficSelector
    links: tuple[str, ...]
    copies: int = 1


@dataclass(frozen=True, slots=True)
class FlowState:
    """Where a wanted flow stands at the home agent; ``ifids`` once it is accepted.

    ``name`` is accepted, pending, no-link, not-supported, or the name of the status
    that it was refused with.
    """

    name: str
    ifids: tuple[int, ...] = ()
