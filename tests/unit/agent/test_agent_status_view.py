from __future__ import annotations

import io

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
from rich.console import Console

from mrouter.status_view import render_status


def render(status):
    console = Console(file=io.StringIO(), width=160)
    console.print(render_status(status))
    return console.file.getvalue()


def find_row(text, word):
    (row,) = (
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in text.splitlines()
        if word in line and "│" in line
    )
    return row


def test_the_head_names_role_version_and_encapsulation():
    assert render(make_mobile_router()).startswith("mobile-router, mrouter 9.9, up 61 s, seg6")


def test_a_link_shows_its_state_gateway_tunnel_and_traffic():
    text = render(make_mobile_router(bindings=[]))
    row = ["lte", "lte0", "up", "-", "-", "fe80::1", "1360", "1.5 kB", "2.5 MB"]
    assert find_row(text, "lte0") == row
    assert find_row(text, "sat0")[2:7] == ["down: no carrier", "-", "-", "-", "-"]


def test_a_probed_link_shows_its_round_trip_and_loss():
    links = [make_probed_link("lte"), make_probed_link("sat", "down", rtt_ms=None, loss=1.0)]
    text = render(make_mobile_router(links=links, bindings=[]))
    assert find_row(text, "lte0")[2:5] == ["up", "21.0 ± 3.0 ms", "2%"]
    assert find_row(text, "sat0")[2:5] == ["silent", "-", "100%"]


def test_a_policy_shows_its_links_and_the_ones_in_use():
    text = render(make_mobile_router())
    assert find_row(text, "call") == [
        "call",
        "lte, sat",
        "lte; sat: held down, 12 s to go",
        "accepted",
        "9",
        "900 B",
    ]
    assert find_row(text, "unwanted")[1:3] == ["drop", "none"]


def test_a_binding_shows_what_names_it_and_how_long_it_lasts():
    text = render(make_mobile_router(links=[], policies=[]))
    assert find_row(text, "42 s") == ["lte", "2001:db8::1", "17", "0", "registered", "42 s"]


def test_bindings_show_their_ipv4_networks_where_any_has_some():
    bindings = make_mobile_router()["bindings"]
    bindings[0]["ipv4_prefixes"] = ["192.0.2.0/24", "198.51.100.0/24"]
    text = render(make_mobile_router(links=[], policies=[], bindings=bindings))
    assert find_row(text, "42 s")[5:] == ["42 s", "192.0.2.0/24, 198.51.100.0/24"]
    assert find_row(text, "50 s")[5:] == ["50 s", "-"]
    (binding,) = make_home_agent()["bindings"]
    bound = {**binding, "ipv4_prefixes": ["192.0.2.0/24"]}
    assert find_row(render(make_home_agent(bindings=[bound])), "vehicle")[-1] == "192.0.2.0/24"


def test_ipv4_on_board_shows_what_the_home_agent_says_of_it():
    networks = [{"prefix": "192.0.2.0/24", "state": "not-supported"}]
    text = render(make_mobile_router(ipv4_prefixes=networks))
    assert find_row(text, "192.0.2.0/24") == ["192.0.2.0/24", "not-supported"]
    assert "IPv4" not in render(make_mobile_router())


def test_a_home_agent_shows_whose_binding_it_is_and_none_for_a_plain_ones_ifid():
    row = find_row(render(make_home_agent()), "vehicle")
    assert row == ["vehicle", "2001:db8:1::2", "-", "0", "bound", "30 s"]


def test_what_was_dropped_or_refused_is_listed_and_the_links_traffic_is_not():
    text = render(make_mobile_router())
    assert find_row(text, "outer rejected") == ["outer rejected", "3"]
    assert find_row(text, "authentication-failed") == ["authentication-failed: missing", "2"]
    assert find_row(text, "not parsed") == ["not parsed: truncated", "5"]
    assert "uplink-lte" not in text


def test_large_counts_have_a_unit_that_fits():
    link = make_mobile_router()["links"][0]
    text = render(make_mobile_router(links=[{**link, "uplink": {"packets": 1, "bytes": 3.2e12}}]))
    assert "3.2 TB" in text


def test_a_correspondent_node_shows_whose_each_binding_is():
    text = render(make_correspondent_node(bindings=make_correspondent_node()["bindings"][:1]))
    row = find_row(text, "2001:db8:f1::100")
    assert row == ["2001:db8:f1::100", "2001:db8:1::2", "17", "0", "bound", "30 s"]


def test_an_optimized_route_shows_whether_it_is_in_use():
    text = render(make_mobile_router(routes=[make_route("lte")]))
    row = find_row(text, "2001:db8:c::10")
    assert row == ["2001:db8:c::10", "2001:db8::1", "17", "0", "registered", "42 s", "yes"]
    assert "Optimized routes" not in render(make_mobile_router())


def test_costs_and_quotas_have_a_table_where_there_are_any():
    links = [make_link("lte", cost=10, quota=make_quota("warned")), make_link("wifi")]
    text = render(make_mobile_router(links=links, bindings=[], policies=[]))
    assert find_row(text, "warned") == [
        "lte",
        "10",
        "7.1 GB",
        "50.0 GB monthly",
        "warned",
        "2026-02-15T00:00:00+01:00",
    ]
    assert find_row(text, "no quota") == ["wifi", "0", "-", "-", "no quota", "-"]
    assert "Costs and quotas" not in render(make_mobile_router())


def test_radios_have_a_table_where_there_are_any():
    radios = {
        "lte": make_radio(9, weak=True),
        "wifi": make_radio(
            74,
            operator="",
            registration="",
            ssid="depot",
            technology="802.11ac",
            bit_rate=866_700_000,
            least_signal=None,
        ),
        "sat": make_radio(None, signal_dbm=None, technology="", operator="", operator_code=""),
        "wired": None,
    }
    links = [{**make_link(name), "radio": radio} for name, radio in radios.items()]
    text = render(make_mobile_router(links=links, bindings=[], policies=[]))
    assert find_row(text, "9 %") == [
        "lte",
        "9 %, weak",
        "-95 dBm",
        "lte",
        "Example Mobile, roaming",
        "-",
        "20 %",
    ]
    wifi = ["wifi", "74 %", "-95 dBm", "802.11ac", "depot", "866.7 Mbit/s", "-"]
    assert find_row(text, "depot") == wifi
    assert find_row(text, "not known")[1:6] == ["not known", "-", "-", "-, roaming", "-"]
    assert "Radios" not in render(make_mobile_router())
