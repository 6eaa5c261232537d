"""How ``mrouter policy`` and ``mrouter flows`` look in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from mrouter.status_view import format_bytes, make_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table

#: What a packet has besides its protocol, addresses and ports.
_DETAILS = (
    "destination_domain",
    "icmpv6_type",
    "source_mac",
    "dscp",
    "ingress",
    "time",
    "packet_size",
    "flow_size",
)


def render_explanation(explanation: Mapping[str, Any]) -> RenderableType:
    """Return what ``mrouter policy explain`` shows of its JSON."""
    head = f"{_describe_packet(explanation['packet'])}\npolicy {explanation['policy']}: "
    conditions = make_table("Conditions, all of them met", "condition", "asks", "packet has")
    for each in explanation["conditions"]:
        _add_row(conditions, each["condition"], each["asks"], each["has"])
    links = make_table("Links now", "link", "used", "why")
    for each in explanation["links"]:
        _add_row(links, each["link"], "yes" if each["used"] else "no", each["reason"])
    passed = make_table("Earlier policies", "policy", "failed at", "asks", "packet has")
    for each in explanation["passed_over"]:
        _add_row(passed, each["policy"], each["condition"], each["asks"], each["has"])
    tables = (conditions, links, passed)
    shown: list[RenderableType] = [table for table in tables if table.row_count]
    if not explanation["conditions"]:
        shown.insert(0, Text("It has no conditions: it matches every packet."))
    return Group(Text(head + explanation["action"]), *shown)


def render_difference(difference: Mapping[str, Any]) -> RenderableType:
    """Return what ``mrouter policy diff`` shows of its JSON."""
    policies = make_table("Policies", "policy", "change", "before", "after")
    for what in ("added", "removed", "moved"):
        for name in difference[what]:
            _add_row(policies, name, what)
    for changed in difference["changed"]:
        for each in changed["fields"]:
            _add_row(policies, changed["policy"], each["field"], each["old"], each["new"])
    parts: list[RenderableType] = [policies if policies.row_count else Text("no policy changes")]
    flows = difference["flows"]
    if flows is not None:
        parts.append(_render_changing_flows(flows) if flows else Text("no running flow changes"))
    return Group(*parts)


def _render_changing_flows(flows: Sequence[Mapping[str, Any]]) -> Table:
    headings = ("flow", "policy", "links", "then policy", "then links")
    table = make_table("Running flows that change", *headings)
    for flow in flows:
        _add_row(
            table,
            _describe_packet(flow),
            flow["policy"],
            _describe_links(flow["links"]),
            " or ".join(flow["new_policies"]),
            _describe_links(flow["new_links"]) if len(flow["new_policies"]) == 1 else "",
        )
    return table


def render_flows(flows: Sequence[Mapping[str, Any]], limit: int | None = None) -> Table:
    """Return the table of ``mrouter flows``; the busiest ``limit`` of them."""
    busiest = sorted(flows, key=_busyness, reverse=True)[:limit]
    some = "" if len(busiest) == len(flows) else f", the {len(busiest)} busiest"
    headings = ("flow", "policy", "links", "packets", "bytes", "rate")
    table = make_table(f"{len(flows)} flows{some}", *headings)
    for flow in busiest:
        _add_row(
            table,
            _describe_packet(flow),
            flow["policy"],
            _describe_links(flow["links"]),
            "-" if flow["packets"] is None else str(flow["packets"]),
            "-" if flow["bytes"] is None else format_bytes(flow["bytes"]),
            "-" if flow.get("rate") is None else f"{format_bytes(flow['rate'])}/s",
        )
    return table


def _busyness(flow: Mapping[str, Any]) -> tuple[float, int]:
    return flow.get("rate") or 0, flow["bytes"] or 0


def _describe_packet(packet: Mapping[str, Any]) -> str:
    """Write a packet's fields in a line; what is not known is left out."""
    ends = " > ".join(_describe_end(packet, end) for end in ("source", "destination"))
    rest = ", ".join(
        f"{name.replace('_', ' ')} {packet[name]}"
        for name in _DETAILS
        if packet.get(name) is not None
    )
    return f"{packet['protocol']} {ends}" + (f", {rest}" if rest else "")


def _describe_end(packet: Mapping[str, Any], end: str) -> str:
    address, port = packet.get(end, "any"), packet.get(f"{end}_port")
    return address if port is None else f"[{address}]:{port}"


def _describe_links(links: Sequence[str]) -> str:
    return " + ".join(links) or "none"


def _add_row(table: Table, *cells: str) -> None:
    """Add a row of plain text: rich takes an address in brackets for a style."""
    table.add_row(*map(Text, cells))
