from __future__ import annotations

import re
import urllib.request

import pytest
from agent_status import (
    make_correspondent_node,
    make_home_agent,
    make_link,
    make_mobile_router,
    make_probed_link,
    make_quota,
    make_radio,
    make_route,
)
from prometheus_client.metrics_core import CounterMetricFamily

from mrouter.metrics import MetricsServer, make_families

LINKS = [make_probed_link("lte"), make_link("sat", up=False)]
STATUSES = {
    "mobile-router": make_mobile_router(
        links=[make_probed_link("lte"), make_link("sat", up=False)]
    ),
    "home-agent": make_home_agent(),
    "correspondent-node": make_correspondent_node(),
}


def read_samples(status):
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in make_families(status)
        for sample in family.samples
    }


def value(status, name, /, **labels):
    return read_samples(status)[name, frozenset(labels.items())]


def test_build_info_names_version_and_role():
    status = make_home_agent()
    assert value(status, "mrouter_build_info", version="9.9", role="home-agent") == 1


@pytest.mark.parametrize("role", STATUSES)
def test_every_family_has_a_help_text_and_a_name_in_base_units(role):
    for family in make_families(STATUSES[role]):
        assert family.documentation.endswith(".")
        assert re.fullmatch(r"mrouter_[a-z_]+", family.name)
        assert not re.search(r"_(ms|milliseconds|kilobytes|percent)$", family.name)
        if isinstance(family, CounterMetricFamily):
            assert all(sample.name.endswith("_total") for sample in family.samples)


@pytest.mark.parametrize("role", STATUSES)
def test_no_family_comes_twice(role):
    names = [family.name for family in make_families(STATUSES[role])]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("role", STATUSES)
def test_signalling_failures_and_updates_are_counted(role):
    status = STATUSES[role]
    received = {"direction": "received", "type": "BindingAcknowledgement", "status": "1"}
    assert value(status, "mrouter_signalling_messages_total", **received) == 3
    failed = {"event": "authentication-failed", "reason": "missing"}
    assert value(status, "mrouter_signalling_events_total", **failed) == 2
    assert value(status, "mrouter_parse_failures_total", reason="truncated") == 5
    assert value(status, "mrouter_dataplane_updates_total", result="ok") == 6
    assert value(status, "mrouter_dataplane_updates_total", result="failed") == 1
    assert value(status, "mrouter_bicast_copies_total") == 7
    assert value(status, "mrouter_bicast_duplicates_dropped_total") == 8
    assert value(status, "mrouter_start_time_seconds") == 1_800_000_000.0


def test_a_link_is_up_and_registered_or_not():
    status = make_mobile_router()
    assert value(status, "mrouter_link_up", link="lte") == 1
    assert value(status, "mrouter_link_registered", link="lte") == 1
    assert value(status, "mrouter_link_up", link="sat") == 0
    assert value(status, "mrouter_link_registered", link="sat") == 0


def test_a_links_lifetime_is_its_longest_bindings():
    status = make_mobile_router()
    assert value(status, "mrouter_binding_lifetime_seconds", link="lte") == 50.0
    assert value(status, "mrouter_binding_lifetime_seconds", link="sat") == 0


def test_traffic_is_told_by_link_and_by_policy_and_link():
    status = make_mobile_router()
    assert value(status, "mrouter_link_bytes_total", link="lte", direction="uplink") == 1500
    assert value(status, "mrouter_link_packets_total", link="lte", direction="downlink") == 20
    labels = {"policy": "call", "link": "lte", "direction": "uplink"}
    assert value(status, "mrouter_policy_packets_total", **labels) == 9
    assert value(status, "mrouter_policy_bytes_total", **labels) == 900


def test_packets_that_waited_in_vain_are_counted():
    assert value(make_mobile_router(), "mrouter_waited_in_vain_packets_total") == 3


def test_rejected_packets_are_counted():
    assert value(make_mobile_router(), "mrouter_outer_rejected_packets_total") == 3
    assert value(make_home_agent(), "mrouter_inner_rejected_packets_total") == 4


def test_a_home_agent_tells_of_every_mobile_router_also_of_one_that_is_away():
    status = make_home_agent()
    assert value(status, "mrouter_bindings", mobile_router="vehicle") == 1
    assert value(status, "mrouter_bindings", mobile_router="parked") == 0
    assert value(status, "mrouter_binding_lifetime_seconds", mobile_router="vehicle") == 30.0
    assert value(status, "mrouter_tunnel_packets_total", slot="1", direction="uplink") == 1


def test_addresses_are_no_labels():
    for status in STATUSES.values():
        for _, labels in read_samples(status):
            assert all("2001:db8" not in text for _, text in labels)


def test_a_server_serves_the_status_of_the_moment():
    counts = iter([1, 2])

    def read_status():
        return make_mobile_router(parse_failures={"truncated": next(counts)})

    server = MetricsServer(("127.0.0.1", 0), read_status)
    try:
        url = f"http://127.0.0.1:{server._server.server_port}/metrics"
        pages = [urllib.request.urlopen(url).read().decode() for _ in range(2)]
    finally:
        server.stop()
    assert 'mrouter_parse_failures_total{reason="truncated"} 1.0' in pages[0]
    assert 'mrouter_parse_failures_total{reason="truncated"} 2.0' in pages[1]


def test_an_address_that_is_taken_is_an_os_error():
    server = MetricsServer(("127.0.0.1", 0), make_mobile_router)
    try:
        with pytest.raises(OSError, match="in use"):
            MetricsServer(("127.0.0.1", server._server.server_port), make_mobile_router)
    finally:
        server.stop()


def test_a_correspondent_nodes_bindings_are_counted_by_ifpri():
    status = make_correspondent_node()
    assert value(status, "mrouter_bindings_by_ifpri", ifpri="0") == 1
    assert value(status, "mrouter_bindings_by_ifpri", ifpri="2") == 2
    assert value(status, "mrouter_optimized_sent_packets_total") == 4


def test_optimized_routes_are_counted_once_accepted():
    status = make_mobile_router(routes=[make_route("lte"), make_route("sat", usable=False)])
    assert value(status, "mrouter_optimized_routes", correspondent="2001:db8:c::10") == 1


def test_costs_and_quotas_are_told_by_link():
    links = [
        make_link("lte", cost=10, quota=make_quota("warned")),
        make_link("sat", quota=make_quota("over")),
        make_link("wifi"),
    ]
    status = make_mobile_router(links=links, bindings=[])
    assert value(status, "mrouter_link_cost", link="lte") == 10
    assert value(status, "mrouter_link_cost", link="wifi") == 0
    assert value(status, "mrouter_link_quota_used_bytes", link="lte") == 7_100_000_000
    assert value(status, "mrouter_link_quota_limit_bytes", link="lte") == 50_000_000_000
    assert value(status, "mrouter_link_quota_state", link="lte") == 1
    assert value(status, "mrouter_link_quota_state", link="sat") == 2
    with pytest.raises(KeyError):
        value(status, "mrouter_link_quota_state", link="wifi")


def test_a_probed_link_tells_its_round_trips_its_loss_and_its_state():
    status = STATUSES["mobile-router"]
    assert value(status, "mrouter_link_rtt_seconds_bucket", link="lte", le="0.05") == 7
    assert value(status, "mrouter_link_rtt_seconds_count", link="lte") == 8
    assert value(status, "mrouter_link_rtt_seconds_sum", link="lte") == 1.5
    assert value(status, "mrouter_link_smoothed_rtt_seconds", link="lte") == 0.02104
    assert value(status, "mrouter_link_jitter_seconds", link="lte") == 0.003
    assert value(status, "mrouter_link_loss_ratio", link="lte") == 0.02
    states = {
        state: value(status, "mrouter_link_state", link="lte", state=state)
        for state in ("up", "degraded", "down")
    }
    assert states == {"up": 1, "degraded": 0, "down": 0}


def test_a_link_that_is_not_probed_has_no_such_samples():
    names = {name for name, labels in read_samples(make_mobile_router())}
    assert not any("rtt" in name or "loss" in name or "state" in name for name in names)


def test_a_link_that_never_answered_has_a_state_and_no_round_trip_time():
    status = make_mobile_router(links=[make_probed_link("lte", "down", rtt_ms=None, loss=1.0)])
    assert value(status, "mrouter_link_state", link="lte", state="down") == 1
    assert "mrouter_link_smoothed_rtt_seconds" not in {name for name, _ in read_samples(status)}


def test_a_radio_tells_its_signal_and_what_it_is_attached_to():
    radios = [make_radio(63), make_radio(9, weak=True, signal_dbm=None, bit_rate=54_000_000)]
    links = [{**make_link(name), "radio": each} for name, each in zip("ab", radios, strict=True)]
    status = make_mobile_router(links=[*links, make_link("wired")], bindings=[])
    labels = {
        "kind": "modem",
        "technology": "lte",
        "operator": "Example Mobile",
        "operator_code": "00101",
        "registration": "roaming",
        "ssid": "",
    }
    assert value(status, "mrouter_link_radio_info", link="a", **labels) == 1
    assert value(status, "mrouter_link_signal_ratio", link="a") == 0.63
    assert value(status, "mrouter_link_signal_dbm", link="a") == -95
    assert value(status, "mrouter_link_weak", link="a") == 0
    assert value(status, "mrouter_link_weak", link="b") == 1
    assert value(status, "mrouter_link_radio_bits_per_second", link="b") == 54_000_000
    told = {(name, dict(pairs).get("link")) for name, pairs in read_samples(status)}
    assert ("mrouter_link_signal_dbm", "b") not in told
    assert ("mrouter_link_radio_bits_per_second", "a") not in told
    assert ("mrouter_link_weak", "wired") not in told
