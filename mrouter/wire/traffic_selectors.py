"""Which packets a flow consists of: binary traffic selectors (RFC 6088)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

Range = tuple[int, int]
AddressRange = tuple[IPv6Address, IPv6Address]


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """The IPv6 binary traffic selector, format 2 (RFC 6088 §3.2).

    Each range holds both its ends; None matches anything. A range of traffic classes is one of
    code points: from 4n to 4m+3, since ECN's two bits do not count. The packet is seen as it comes
    to whom the selector is sent: for a home agent ``source`` is far and ``destination`` on board.
    """

    source: AddressRange | None = None
    destination: AddressRange | None = None
    spi: Range | None = None
    flow_label: Range | None = None
    source_ports: Range | None = None
    destination_ports: Range | None = None
    traffic_class: Range | None = None
    next_header: Range | None = None


@dataclass(frozen=True, slots=True)
class UnknownSelector:
    """A traffic selector in a format that we do not read."""

    format: int
    data: bytes
