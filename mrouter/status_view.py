"""How ``mrouter status`` looks in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType


#: Whose a role's bindings are.
_BOUND = {
    "mobile-router": "link",
    "home-agent": "mobile_router",
    "correspondent-node": "home_address",
}


def render_status(status: dict[str, Any]) -> RenderableType:
    """Return tables of ``status``, any role's."""
    head = (
        f"{status['role']}, mrouter {status['version']}, up {status['uptime']:.0f} s, "
        f"{status['dataplane']['encapsulation']}"
    )
    tables = []
    if status["role"] == "mobile-router":
        tables = [_render_links(status), _render_policies(status)]
        if status["ipv4_prefixes"]:
            tables.append(_render_ipv4(status))
        if any(link["cost"] or link["quota"] for link in status["links"]):
            tables.insert(1, _render_quotas(status))
        if any(link["radio"] for link in status["links"]):
            tables.insert(1, _render_radios(status))
        if status["routes"]:
            tables.append(_render_routes(status))
    return Group(head, *tables, _render_bindings(status), _render_counters(status))


def _render_links(status: dict[str, Any]) -> Table:
    headings = ("round trip", "lost", "gateway", "tunnel MTU", "sent", "received")
    table = make_table("Links", "link", "interface", "state", *headings)
    for link in status["links"]:
        table.add_row(
            link["name"],
            link["interface"],
            _describe_state(link),
            *_describe_quality(link["quality"]),
            link["gateway"] or "-",
            str(link["tunnel_mtu"] or "-"),
            format_bytes(link["uplink"]["bytes"]),
            format_bytes(link["downlink"]["bytes"]),
        )
    return table


def _describe_state(link: dict[str, Any]) -> str:
    if not link["up"]:
        return f"down: {link['reason']}"
    if link["at_home"]:
        return "at home"
    state = "up" if link["quality"] is None else str(link["quality"]["state"])
    return "silent" if state == "down" else state


def _describe_quality(quality: dict[str, Any] | None) -> tuple[str, str]:
    if quality is None:
        return "-", "-"
    rtt, jitter = quality["rtt_ms"], quality["jitter_ms"]
    return "-" if rtt is None else f"{rtt:.1f} ± {jitter:.1f} ms", f"{quality['loss']:.0%}"


def _render_radios(status: dict[str, Any]) -> Table:
    headings = ("link", "signal", "power", "technology", "network", "rate", "weak below")
    table = make_table("Radios", *headings)
    for link in status["links"]:
        radio = link["radio"]
        if radio is not None:
            table.add_row(
                link["name"],
                _describe_signal(radio),
                "-" if radio["signal_dbm"] is None else f"{radio['signal_dbm']:.0f} dBm",
                radio["technology"] or "-",
                _describe_network(radio),
                "-" if radio["bit_rate"] is None else f"{radio['bit_rate'] / 1e6:.1f} Mbit/s",
                "-" if radio["least_signal"] is None else f"{radio['least_signal']} %",
            )
    return table


def _describe_signal(radio: dict[str, Any]) -> str:
    if radio["signal_percent"] is None:
        return "not known"
    return f"{radio['signal_percent']} %" + (", weak" if radio["weak"] else "")


def _describe_network(radio: dict[str, Any]) -> str:
    name = radio["ssid"] or radio["operator"] or radio["operator_code"] or "-"
    return f"{name}, {radio['registration']}" if radio["registration"] else name


def _render_quotas(status: dict[str, Any]) -> Table:
    table = make_table("Costs and quotas", "link", "cost", "used", "limit", "state", "since")
    for link in status["links"]:
        quota = link["quota"]
        if quota is None:
            table.add_row(link["name"], str(link["cost"]), "-", "-", "no quota", "-")
            continue
        table.add_row(
            link["name"],
            str(link["cost"]),
            format_bytes(quota["used"]),
            f"{format_bytes(quota['limit'])} {quota['period']}",
            quota["state"],
            quota["period_start"],
        )
    return table


def _render_policies(status: dict[str, Any]) -> Table:
    table = make_table("Policies", "policy", "links", "now by", "home agent", "packets", "bytes")
    for policy in status["policies"]:
        table.add_row(
            policy["name"],
            ", ".join(policy["links"]) or "drop",
            _describe_use(policy),
            policy["downlink"],
            str(policy["packets"]),
            format_bytes(policy["bytes"]),
        )
    return table


def _describe_use(policy: dict[str, Any]) -> str:
    """Say which links a policy uses, and which not for now though they are up."""
    used = " + ".join(policy["active"]) or "none"
    return "; ".join([used, *(f"{link}: {why}" for link, why in policy["held"].items())])


def _render_ipv4(status: dict[str, Any]) -> Table:
    table = make_table("IPv4 on board", "network", "home agent")
    for row in status["ipv4_prefixes"]:
        table.add_row(row["prefix"], row["state"])
    return table


def _render_routes(status: dict[str, Any]) -> Table:
    names = ("correspondent", "care-of address", "IFID", "IFPRI", "state", "left", "in use")
    table = make_table("Optimized routes", *names)
    for route in status["routes"]:
        table.add_row(
            route["correspondent"],
            route["care_of_address"],
            str(route["ifid"]),
            str(route["ifpri"]),
            route["state"],
            f"{route['lifetime_left']:.0f} s",
            "yes" if route["in_use"] else "",
        )
    return table


def _render_bindings(status: dict[str, Any]) -> Table:
    who = _BOUND[status["role"]]
    names = [who, "care-of address", "IFID", "IFPRI", "state", "left"]
    has_ipv4 = any(binding.get("ipv4_prefixes") for binding in status["bindings"])
    table = make_table("Bindings", *names, *(["IPv4"] if has_ipv4 else []))
    for binding in status["bindings"]:
        ipv4 = ", ".join(binding["ipv4_prefixes"]) or "-" if has_ipv4 else None
        table.add_row(
            binding[who],
            binding["care_of_address"],
            "-" if binding["ifid"] is None else str(binding["ifid"]),
            str(binding["ifpri"]),
            binding.get("state", "bound"),
            f"{binding['lifetime_left']:.0f} s",
            *([] if ipv4 is None else [ipv4]),
        )
    return table


def _render_counters(status: dict[str, Any]) -> Table:
    table = make_table("Dropped and doubled", "counter", "packets")
    for name, count in status["dataplane"]["counters"].items():
        if "link-" not in name and count["packets"]:
            table.add_row(name.replace("_", " "), str(count["packets"]))
    for row in status["events"]:
        table.add_row(f"{row['event']}: {row['reason']}", str(row["count"]))
    for reason, count in status["parse_failures"].items():
        table.add_row(f"not parsed: {reason}", str(count))
    return table


def make_table(title: str, *headings: str) -> Table:
    """Return an empty table with its title at the left."""
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading.replace("_", " "))
    return table


def format_bytes(count: float) -> str:
    """Write a number of bytes with a unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
