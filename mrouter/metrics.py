"""Prometheus metrics, made from the same status that ``mrouter status --json`` prints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from mrouter.links.quotas import QuotaState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

#: What the data plane's counters mean; those not listed are told by link.
_DATAPLANE_HELP = {
    "outer_rejected": "Tunnelled packets dropped: the outer source is no peer of ours.",
    "inner_rejected": "Tunnelled packets dropped: the inner address is not the peer's to use.",
    "unencapsulated_rejected": "Packets for the mobile network that came outside the tunnel.",
    "foreign_source_dropped": "Packets dropped that came from on board with a foreign source.",
    "leaks_prevented": "Packets dropped that would have left the vehicle unencapsulated.",
    "no_link_dropped": "Packets dropped as no link of their policy was up.",
    "policy_dropped": "Packets dropped by a policy.",
    "rate_limited": "Packets dropped as their policy's rate was used up.",
    "waiting": "Packets that had to wait for a link; more than once, if they came back.",
    "optimized_received": "Packets that came straight from mobile nodes.",
    "optimized_sent": "Packets sent straight to mobile nodes.",
}

#: What of a radio changes seldom enough for a label.
_RADIO_LABELS = ("kind", "technology", "operator", "operator_code", "registration", "ssid")


class StatusCollector(Collector):
    """Turns a status into metric families at each scrape."""

    def __init__(self, read_status: Callable[[], dict[str, Any]]) -> None:
        """Keep ``read_status``, which is called from the server's threads."""
        self._read_status = read_status

    def collect(self) -> Iterable[Metric]:
        """Return the families of the agent's role."""
        return list(make_families(self._read_status()))


class MetricsServer:
    """An HTTP server for one agent's metrics."""

    def __init__(self, address: tuple[str, int], read_status: Callable[[], dict[str, Any]]) -> None:
        """Listen at ``address`` (host, port).

        :raises OSError: if the address can't be had.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(StatusCollector(read_status))
        host, port = address
        self._server, self._thread = start_http_server(port, host, registry)

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def make_families(status: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metric families for ``status`` of any role."""
    build = InfoMetricFamily("mrouter_build", "Version and role of this agent.")
    build.add_metric([], {"version": status["version"], "role": status["role"]})
    yield build
    yield from _make_common(status)
    if status["role"] == "mobile-router":
        yield from _make_mobile_router(status)
    elif status["role"] == "correspondent-node":
        yield from _make_correspondent_node(status)
    else:
        yield from _make_home_agent(status)


def _make_common(status: dict[str, Any]) -> Iterator[Metric]:
    started = GaugeMetricFamily(
        "mrouter_start_time_seconds", "When the agent started, in seconds since 1970."
    )
    started.add_metric([], status["started"])
    yield started

    messages = CounterMetricFamily(
        "mrouter_signalling_messages",
        "Mobility Header messages by direction, type and status.",
        labels=["direction", "type", "status"],
    )
    for row in status["signalling"]:
        messages.add_metric([row["direction"], row["type"], row["status"]], row["count"])
    yield messages

    events = CounterMetricFamily(
        "mrouter_signalling_events",
        "What became of messages and registrations: refusals, authentication and replay failures.",
        labels=["event", "reason"],
    )
    for row in status["events"]:
        events.add_metric([row["event"], row["reason"]], row["count"])
    yield events

    parse = CounterMetricFamily(
        "mrouter_parse_failures", "Packets that are no valid message.", labels=["reason"]
    )
    for reason, count in status["parse_failures"].items():
        parse.add_metric([reason], count)
    yield parse

    applied = CounterMetricFamily(
        "mrouter_dataplane_updates", "Kernel updates, by result.", labels=["result"]
    )
    for result, count in status["dataplane"]["updates"].items():
        applied.add_metric([result], count)
    yield applied

    for name, help_text in _DATAPLANE_HELP.items():
        if name in status["dataplane"]["counters"]:
            family = CounterMetricFamily(f"mrouter_{name}_packets", help_text)
            family.add_metric([], status["dataplane"]["counters"][name]["packets"])
            yield family

    copies = CounterMetricFamily("mrouter_bicast_copies", "Extra copies of bicast packets sent.")
    copies.add_metric([], status["bicast"]["copies"])
    yield copies
    dropped = CounterMetricFamily(
        "mrouter_bicast_duplicates_dropped", "Copies dropped as their twin had come already."
    )
    dropped.add_metric([], status["bicast"]["duplicates_dropped"])
    yield dropped


def _make_mobile_router(status: dict[str, Any]) -> Iterator[Metric]:
    up = GaugeMetricFamily("mrouter_link_up", "Whether the egress link is up.", labels=["link"])
    registered = GaugeMetricFamily(
        "mrouter_link_registered",
        "Whether the home agent has accepted the link's care-of address.",
        labels=["link"],
    )
    lifetime = GaugeMetricFamily(
        "mrouter_binding_lifetime_seconds",
        "Lifetime left of the link's binding, 0 without one.",
        labels=["link"],
    )
    tunnel = GaugeMetricFamily(
        "mrouter_link_tunnel_mtu_bytes",
        "The largest packet that the link's tunnel takes, 0 without a tunnel.",
        labels=["link"],
    )
    for link in status["links"]:
        tunnel.add_metric([link["name"]], link["tunnel_mtu"] or 0)
        usable = [b for b in status["bindings"] if b["link"] == link["name"] and b["usable"]]
        up.add_metric([link["name"]], float(link["up"]))
        registered.add_metric([link["name"]], float(bool(usable)))
        left = max((binding["lifetime_left"] for binding in usable), default=0.0)
        lifetime.add_metric([link["name"]], left)
    yield from (up, registered, lifetime, tunnel)
    yield from _make_quotas(status)
    yield from _make_quality(status["links"])
    yield from _make_radio(status["links"])
    yield from _make_traffic(
        "mrouter_link",
        "tunnelled by the link, with the outer header",
        ["link", "direction"],
        [
            ([link["name"], direction], link[direction])
            for link in status["links"]
            for direction in ("uplink", "downlink")
        ],
    )
    yield from _make_traffic(
        "mrouter_policy",
        "of the policy's flows by link",
        ["policy", "link", "direction"],
        [([row["policy"], row["link"], row["direction"]], row) for row in status["policy_traffic"]],
    )
    pushed = GaugeMetricFamily(
        "mrouter_policy_accepted",
        "Whether the home agent obeys the policy for what it sends to the mobile network.",
        labels=["policy"],
    )
    for policy in status["policies"]:
        pushed.add_metric([policy["name"]], float(policy["downlink"] == "accepted"))
    yield pushed
    in_vain = CounterMetricFamily(
        "mrouter_waited_in_vain_packets", "Packets dropped after they had waited for a link."
    )
    in_vain.add_metric([], status["waiting"]["dropped"])
    yield in_vain
    yield from _make_routes(status)


def _make_quotas(status: dict[str, Any]) -> Iterator[Metric]:
    cost = GaugeMetricFamily(
        "mrouter_link_cost", "Cost of the link, as configured: lower is cheaper.", labels=["link"]
    )
    used = GaugeMetricFamily(
        "mrouter_link_quota_used_bytes",
        "Bytes that the link has carried in the running period of its quota.",
        labels=["link"],
    )
    limit = GaugeMetricFamily(
        "mrouter_link_quota_limit_bytes",
        "Bytes that the link may carry in a period of its quota.",
        labels=["link"],
    )
    state = GaugeMetricFamily(
        "mrouter_link_quota_state",
        "0 while the link is under its quota, 1 from the warn threshold on, 2 from stop on.",
        labels=["link"],
    )
    for link in status["links"]:
        cost.add_metric([link["name"]], link["cost"])
        quota = link["quota"]
        if quota is not None:
            used.add_metric([link["name"]], quota["used"])
            limit.add_metric([link["name"]], quota["limit"])
            state.add_metric([link["name"]], QuotaState(quota["state"]).rank)
    yield from (cost, used, limit, state)


def _make_quality(links: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    rtt = HistogramMetricFamily(
        "mrouter_link_rtt_seconds",
        "Round trips of the link's probes to the home agent and back.",
        labels=["link"],
    )
    smoothed = GaugeMetricFamily(
        "mrouter_link_smoothed_rtt_seconds", "Smoothed round-trip time.", labels=["link"]
    )
    jitter = GaugeMetricFamily(
        "mrouter_link_jitter_seconds",
        "How much the round-trip time varies from one probe to the next.",
        labels=["link"],
    )
    loss = GaugeMetricFamily(
        "mrouter_link_loss_ratio", "Share of the last probes that was lost.", labels=["link"]
    )
    state = GaugeMetricFamily(
        "mrouter_link_state",
        "Whether the link is in this state, by its probes.",
        labels=["link", "state"],
    )
    for link in links:
        name, quality = link["name"], link["quality"]
        if quality is None:
            continue
        rtt.add_metric([name], link["rtt_seconds"]["buckets"], link["rtt_seconds"]["sum"])
        loss.add_metric([name], quality["loss"])
        for each in ("up", "degraded", "down"):
            state.add_metric([name, each], float(quality["state"] == each))
        if quality["rtt_ms"] is not None:
            smoothed.add_metric([name], quality["rtt_ms"] / 1000)
            jitter.add_metric([name], quality["jitter_ms"] / 1000)
    yield from (rtt, smoothed, jitter, loss, state)


def _make_radio(links: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    info = InfoMetricFamily(
        "mrouter_link_radio", "What the link's radio uses and is attached to.", labels=["link"]
    )
    ratio = GaugeMetricFamily(
        "mrouter_link_signal_ratio", "How good the link's signal is, 0 to 1.", labels=["link"]
    )
    power = GaugeMetricFamily(
        "mrouter_link_signal_dbm",
        "Power of the link's signal: RSRP of LTE and 5G NR, RSCP of UMTS, else all received.",
        labels=["link"],
    )
    rate = GaugeMetricFamily(
        "mrouter_link_radio_bits_per_second", "Rate at which the radio sends.", labels=["link"]
    )
    weak = GaugeMetricFamily(
        "mrouter_link_weak",
        "Whether policies leave the link, as its signal is weak.",
        labels=["link"],
    )
    for link in links:
        name, radio = link["name"], link["radio"]
        if radio is None:
            continue
        info.add_metric([name], {each: radio[each] for each in _RADIO_LABELS})
        weak.add_metric([name], float(radio["weak"]))
        if radio["signal_percent"] is not None:
            ratio.add_metric([name], radio["signal_percent"] / 100)
        if radio["signal_dbm"] is not None:
            power.add_metric([name], radio["signal_dbm"])
        if radio["bit_rate"] is not None:
            rate.add_metric([name], radio["bit_rate"])
    yield from (info, ratio, power, rate, weak)


def _make_routes(status: dict[str, Any]) -> Iterator[Metric]:
    usable = GaugeMetricFamily(
        "mrouter_optimized_routes",
        "Care-of addresses that the correspondent node has accepted.",
        labels=["correspondent"],
    )
    by_correspondent = Counter[str]()
    for route in status["routes"]:
        by_correspondent[route["correspondent"]] += route["usable"]
    for correspondent, count in by_correspondent.items():
        usable.add_metric([correspondent], count)
    yield usable


def _make_correspondent_node(status: dict[str, Any]) -> Iterator[Metric]:
    bindings = GaugeMetricFamily(
        "mrouter_bindings_by_ifpri", "Bindings in the Binding Cache, by IFPRI.", labels=["ifpri"]
    )
    by_ifpri = Counter(binding["ifpri"] for binding in status["bindings"])
    for ifpri, count in sorted(by_ifpri.items()):
        bindings.add_metric([str(ifpri)], count)
    yield bindings


def _make_home_agent(status: dict[str, Any]) -> Iterator[Metric]:
    bindings = GaugeMetricFamily(
        "mrouter_bindings",
        "Bindings in the Binding Cache, by mobile router.",
        labels=["mobile_router"],
    )
    lifetime = GaugeMetricFamily(
        "mrouter_binding_lifetime_seconds",
        "Lifetime left of a mobile router's longest binding, 0 without one.",
        labels=["mobile_router"],
    )
    flows = GaugeMetricFamily(
        "mrouter_flow_bindings", "Flow bindings, by mobile router.", labels=["mobile_router"]
    )
    for router in status["mobile_routers"]:
        flows.add_metric([router["name"]], router["flow_bindings"])
        bindings.add_metric([router["name"]], router["bindings"])
        lifetime.add_metric([router["name"]], router["lifetime_left"])
    yield from (bindings, lifetime, flows)
    yield from _make_traffic(
        "mrouter_tunnel",
        "tunnelled by binding slot",
        ["slot", "direction"],
        [
            ([str(row["slot"]), direction], row[direction])
            for row in status["slots"]
            for direction in ("uplink", "downlink")
        ],
    )


def _make_traffic(
    prefix: str, what: str, labels: list[str], rows: list[tuple[list[str], dict[str, int]]]
) -> Iterator[Metric]:
    for unit in ("packets", "bytes"):
        family = CounterMetricFamily(f"{prefix}_{unit}", f"{unit.title()} {what}.", labels=labels)
        for values, counts in rows:
            family.add_metric(values, counts[unit])
        yield family
