from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from mrouter.lab.verdict import (
    BulkResult,
    DemoResult,
    Evidence,
    FlowResult,
    Snapshot,
    combine_flow,
    count_octets,
    find_failover_gap,
    judge,
)
from mrouter.lab.view import describe_moment, render_live, render_summary

LINKS = ("lte", "wifi", "sat")


def build_snapshot(phase, octets, usable=LINKS, call=("lte", "wifi"), bulk=("wifi",)):
    return Snapshot(
        phase,
        {
            "links": [
                {
                    "name": link,
                    "up": link in usable,
                    "uplink": {"packets": 0, "bytes": count},
                    "downlink": {"packets": 0, "bytes": count // 2},
                }
                for link, count in zip(LINKS, octets, strict=True)
            ],
            "bindings": [
                {
                    "link": link,
                    "care_of_address": f"2001:db8:{place}::2",
                    "ifid": 17 + place,
                    "ifpri": place,
                    "state": "registered",
                    "usable": link in usable,
                    "lifetime_left": 41.7,
                }
                for place, link in enumerate(LINKS)
            ],
        },
        [
            build_flow("udp", 5004, "call", call),
            build_flow("tcp", 5201, "bulk", bulk),
        ],
    )


def build_flow(protocol, port, policy, links):
    return {
        "protocol": protocol,
        "source": "2001:db8:a1::10",
        "source_port": 40000,
        "destination": "2001:db8:c::10",
        "destination_port": port,
        "policy": policy,
        "links": list(links),
    }


def build_flow_result(name, **changes):
    flow = FlowResult(name, 1200, 1200, 0, 0, None, 30.0)
    return replace(flow, **changes)


@pytest.fixture
def good():
    return Evidence(
        cut_link="wifi",
        calls=(build_flow_result("call out"), build_flow_result("call back")),
        pings=build_flow_result("pings"),
        bulk=BulkResult(50000, 12, 72_000_000, 24_000_000, 23_000_000, True, 210.0, 50.0),
        start=build_snapshot("start", (0, 0, 0)),
        steady=build_snapshot("all links up", (300_000, 25_000_000, 1000)),
        cut=build_snapshot(
            "wifi cut", (24_000_000, 25_000_000, 2000), ("lte", "sat"), ("lte",), ("lte",)
        ),
        restored=build_snapshot("wifi back", (24_300_000, 50_000_000, 3000)),
    )


def test_nothing_is_wrong_with_what_a_mobile_router_promises(good):
    assert judge(good, LINKS) == ()
    assert DemoResult(judge(good, LINKS), good).exit_code == 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"received": 1199, "lost": 1}, "call out: 1 of 1200 packets lost"),
        ({"received": 0, "lost": 1200}, "call out: nothing arrived"),
        ({"duplicated": 7}, "call out: 7 packets arrived twice"),
    ],
)
def test_a_call_that_suffers_is_a_problem(good, changes, complaint):
    calls = (replace(good.calls[0], **changes), good.calls[1])

    (problem,) = judge(replace(good, calls=calls), LINKS)

    assert problem.startswith(complaint)


def test_bulk_and_call_on_one_link_is_a_problem(good):
    steady = build_snapshot("all", (0, 25_000_000, 0), call=("wifi",), bulk=("wifi",))

    problems = judge(replace(good, steady=steady), LINKS)

    assert any("take the same link: wifi" in problem for problem in problems)
    assert any("not sent over two links" in problem for problem in problems)


def test_flows_that_only_claim_their_link_are_a_problem(good):
    steady = build_snapshot("all", (25_000_000, 300_000, 0))

    (problem,) = judge(replace(good, steady=steady), LINKS)

    assert problem.startswith("wifi carried 300000 octets")


def test_a_bulk_transfer_that_stalls_with_its_link_is_a_problem(good):
    (problem,) = judge(replace(good, bulk=replace(good.bulk, cut_octets=1000)), LINKS)

    assert "did not go on over the next link" in problem


def test_a_binding_that_outlives_its_link_is_a_problem(good):
    (problem,) = judge(replace(good, cut=replace(good.cut, status=good.steady.status)), LINKS)

    assert "still counts as usable" in problem


def test_a_link_that_does_not_come_back_is_a_problem(good):
    restored = build_snapshot(
        "back", (40_000_000, 50_000_000, 0), usable=("lte", "sat"), bulk=("lte",)
    )

    problems = judge(replace(good, restored=restored), LINKS)

    assert problems[0] == "no usable binding at the end over wifi"
    assert "wifi came back, and the bulk transfer is sent over lte" in problems[1]


def test_lost_pings_on_a_link_that_was_never_cut_are_a_problem(good):
    pings = build_flow_result("pings", received=1190, lost=10)

    (problem,) = judge(replace(good, pings=pings), LINKS)

    assert problem.startswith("pings: 10 of 1200 lost")


def test_what_the_machine_itself_dropped_explains_a_problem_but_is_none(good):
    loaded = replace(good, backlog_drops=4000)
    pings = build_flow_result("pings", received=1190, lost=10)

    assert judge(loaded, LINKS) == ()
    assert "this machine dropped 4000 packets" in judge(replace(loaded, pings=pings), LINKS)[-1]


def test_sender_and_receiver_are_joined_into_one_direction():
    sender = {"sent": 100, "received": 0}
    receiver = {
        "received": 97,
        "duplicated": 2,
        "gaps": [[9.0, 80.0], [20.1, 140.0], [20.9, 60.0], [40.0, 500.0]],
        "gap_threshold_ms": 30.0,
    }

    flow = combine_flow("call", sender, receiver, cut_at=20.0)

    assert (flow.sent, flow.received, flow.lost, flow.duplicated) == (100, 97, 3, 2)
    assert flow.failover_gap == 140.0


def test_no_gap_after_the_cut_is_reported_as_none():
    assert find_failover_gap({"gaps": [[9.0, 80.0]]}, cut_at=20.0) is None


def test_a_counter_that_began_anew_counts_from_nothing():
    before, after = build_snapshot("a", (500, 0, 0)), build_snapshot("b", (200, 0, 0))

    assert count_octets(before, after, "lte", "uplink") == 200


def render(renderable):
    console = Console(file=io.StringIO(), width=110)
    console.print(renderable)
    return console.file.getvalue()


def test_the_summary_shows_every_flow_and_every_links_octets(good):
    text = render(render_summary(good))

    assert "call out" in text
    assert "< 30 ms" in text
    assert "210 ms" in text
    assert "23,700,000 / 11,850,000" in text


def test_the_live_picture_shows_bindings_flows_and_rates(good):
    snapshot = good.cut
    rates = {"lte": (24.5, 0.25)}
    text = render(
        render_live("wifi cut", 9.0, 24.0, snapshot.status, snapshot.flows, rates, {"pings": "7"})
    )

    assert "2001:db8:0::2" in text
    assert "24.50" in text
    assert "[2001:db8:c::10]:5201" in text
    assert "down" in text
    assert "42 s" in text


def test_a_moment_fits_a_line_for_output_that_is_no_terminal(good):
    line = describe_moment(9.0, good.cut.status, good.cut.flows, {"lte": (24.5, 0.1)})

    assert line == (
        "  9.0 s  uplink Mbit/s: lte 24.5, wifi down, sat 0.0; call by lte, bulk by lte"
    )
