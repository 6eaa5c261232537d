"""How the demo and ``mrouter lab status`` look in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mrouter.lab.verdict import BulkResult, Evidence, FlowResult, count_octets

Rates = Mapping[str, tuple[float, float]]
"""Link name to Mbit/s uplink and downlink."""


def render_links(status: dict[str, Any], rates: Rates | None = None) -> Table:
    """Show each link with the binding registered for it and, given rates, what it carries."""
    table = Table(title="Links and bindings", title_justify="left", expand=False)
    for heading in ("link", "carrier", "care-of address", "IFID", "IFPRI", "binding", "lifetime"):
        table.add_column(heading)
    if rates is not None:
        table.add_column("up Mbit/s", justify="right")
        table.add_column("down Mbit/s", justify="right")
    bindings = {entry["link"]: entry for entry in status["bindings"]}
    for link in status["links"]:
        binding = bindings.get(link["name"])
        carried = () if rates is None else rates.get(link["name"], (0.0, 0.0))
        table.add_row(
            link["name"],
            Text("up", style="green") if link["up"] else Text("down", style="bold red"),
            *_describe_binding(binding),
            *(f"{rate:.2f}" for rate in carried),
        )
    return table


def render_flows(flows: Iterable[dict[str, Any]]) -> Table:
    """Show each flow with its policy and the links that it takes now."""
    table = Table(title="Flows", title_justify="left", expand=False)
    for heading in ("protocol", "source", "destination", "policy", "links"):
        table.add_column(heading)
    for flow in flows:
        table.add_row(
            str(flow["protocol"]),
            _join_port(flow["source"], flow["source_port"]),
            _join_port(flow["destination"], flow["destination_port"]),
            flow["policy"],
            Text(" + ".join(flow["links"]) or "none", style="bold cyan"),
        )
    return table


def render_live(
    stage: str,
    elapsed: float,
    total: float,
    status: dict[str, Any],
    flows: Iterable[dict[str, Any]],
    rates: Rates,
    counts: Mapping[str, str],
) -> RenderableType:
    """Show one moment of the demo; ``counts`` is what each receiver has seen so far."""
    received = "   ".join(f"[bold]{name}[/bold] {text}" for name, text in counts.items())
    return Group(
        Text.from_markup(f"[bold]{elapsed:4.1f} s[/bold] of {total:.0f} s  {stage}"),
        render_links(status, rates),
        render_flows(flows),
        Text.from_markup(received),
    )


def describe_moment(
    elapsed: float, status: dict[str, Any], flows: Iterable[dict[str, Any]], rates: Rates
) -> str:
    """Describe one moment in a line, for output that is no terminal."""
    links = ", ".join(
        f"{link['name']} {rates.get(link['name'], (0.0, 0.0))[0]:.1f}"
        if link["up"]
        else f"{link['name']} down"
        for link in status["links"]
    )
    taken = ", ".join(f"{flow['policy']} by {'+'.join(flow['links']) or 'none'}" for flow in flows)
    return f"{elapsed:5.1f} s  uplink Mbit/s: {links}; {taken or 'no flow'}"


def render_summary(evidence: Evidence) -> RenderableType:
    """Show what arrived, what did not, and over which link it went."""
    flows = Table(title="Flows, as their receivers counted", title_justify="left")
    for heading in ("flow", "sent", "lost", "duplicated", "failover gap"):
        flows.add_column(heading, justify="left" if heading == "flow" else "right")
    for flow in (*evidence.calls, evidence.pings):
        flows.add_row(
            flow.name, str(flow.sent), str(flow.lost), str(flow.duplicated), _format_gap(flow)
        )
    bulk = evidence.bulk
    flows.add_row(
        f"bulk, {bulk.received_octets / 1e6:.1f} MB",
        str(bulk.segments),
        f"{bulk.retransmitted} (sent again)",
        "-",
        _format_gap(bulk),
    )
    octets = Table(title="Tunnel octets by link, uplink / downlink", title_justify="left")
    octets.add_column("link")
    phases = (evidence.start, evidence.steady, evidence.cut, evidence.restored)
    for snapshot in phases[1:]:
        octets.add_column(snapshot.phase, justify="right")
    for link in (entry["name"] for entry in evidence.restored.status["links"]):
        octets.add_row(
            link,
            *(
                " / ".join(
                    f"{count_octets(before, after, link, direction):,}"
                    for direction in ("uplink", "downlink")
                )
                for before, after in pairwise(phases)
            ),
        )
    return Group(flows, octets)


def _describe_binding(binding: dict[str, Any] | None) -> tuple[str, str, str, Text, str]:
    if binding is None:
        return ("-", "-", "-", Text("none", style="red"), "-")
    style = "green" if binding["usable"] else "yellow"
    return (
        str(binding["care_of_address"]),
        str(binding["ifid"]),
        str(binding["ifpri"]),
        Text(str(binding["state"]), style=style),
        f"{binding['lifetime_left']:.0f} s",
    )


def _join_port(address: str, port: int | None) -> str:
    return f"[{address}]:{port}" if port else str(address)


def _format_gap(result: FlowResult | BulkResult) -> str:
    if result.failover_gap is None:
        return f"< {result.gap_threshold:.0f} ms"
    return f"{result.failover_gap:.0f} ms"
