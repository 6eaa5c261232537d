from __future__ import annotations

import os
import time

import pytest

from mrouter.lab import plan
from mrouter.lab.bulk import BulkOrder
from mrouter.lab.topology import Topology
from mrouter.lab.traffic import (
    bulk_command,
    bulk_server_command,
    call_command,
    ping_command,
    read_events,
)

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
LFN, CN = str(plan.LFN_ADDRESS), str(plan.CN_ADDRESS)


@pytest.fixture
def lab():
    with Topology() as lab:
        lab.route_without_tunnel("lte")
        yield lab


def start_call(lab, start_at, duration, equal_payloads=False):
    out = call_command(
        (LFN, 5004),
        (CN, 5004),
        start_at=start_at,
        duration=duration,
        equal_payloads=equal_payloads,
    )
    back = call_command((CN, 5004), (LFN, 5004), start_at=start_at, duration=duration)
    return [lab.run_in("lfn", out, label="call-lfn"), lab.run_in("cn", back, label="call-cn")]


def start_bulk(lab, order):
    client = bulk_command((CN, 5201), order, start_at=time.monotonic())
    return [
        lab.run_in("cn", bulk_server_command((CN, 5201)), label="bulk-cn"),
        lab.run_in("lfn", client, label="bulk-lfn"),
    ]


def await_summary(lab, programs, *labels):
    for program in programs:
        assert program.wait(timeout=20) == 0
    summaries = [read_events(lab.output_path(label))[-1] for label in labels]
    assert {summary["event"] for summary in summaries} == {"summary"}
    return summaries


def test_a_call_loses_and_doubles_nothing_over_plain_forwarding(lab):
    programs = start_call(lab, time.monotonic() + 0.5, duration=1.0)
    lfn, cn = await_summary(lab, programs, "call-lfn", "call-cn")

    assert lfn["sent"] == cn["sent"] == 50
    assert (cn["received"], cn["duplicated"]) == (50, 0)
    assert (lfn["received"], lfn["duplicated"]) == (50, 0)


def test_equal_payloads_sent_twice_are_counted_as_sent(lab):
    programs = start_call(lab, time.monotonic() + 0.5, duration=1.0, equal_payloads=True)
    lfn, cn = await_summary(lab, programs, "call-lfn", "call-cn")

    assert lfn["sent"] == 100
    assert (cn["received"], cn["duplicated"]) == (100, 0)


def test_a_copy_that_the_network_makes_is_counted_as_a_duplicate(lab):
    lab.execute(
        "net",
        ["nft", "-f", "-"],
        input_text=f"""
            table ip6 doubler {{
                chain forward {{
                    type filter hook prerouting priority raw;
                    iifname lte udp dport 5004 dup to {CN} device cn
                }}
            }}
        """,
    )
    programs = start_call(lab, time.monotonic() + 0.5, duration=1.0)
    lfn, cn = await_summary(lab, programs, "call-lfn", "call-cn")

    assert cn["received"] == cn["duplicated"] > 40
    assert lfn["received"] > 40
    assert lfn["duplicated"] == 0


def test_a_silent_link_shows_as_a_gap_and_as_loss_both_ways(lab):
    start_at = time.monotonic() + 0.5
    programs = start_call(lab, start_at, duration=1.5)
    time.sleep(1.0)
    lab.silence("lte")
    time.sleep(0.3)
    lab.restore("lte")
    lfn, cn = await_summary(lab, programs, "call-lfn", "call-cn")

    for far, near in ((lfn, cn), (cn, lfn)):
        assert 290 <= near["longest_gap_ms"] <= 450
        assert 14 <= far["sent"] - near["received"] <= 21
        (ended_at, length), *_ = near["gaps"]
        assert length == near["longest_gap_ms"]
        assert start_at < ended_at < start_at + 1.5


@pytest.mark.parametrize("reverse", [False, True])
def test_a_bulk_transfer_is_held_back_by_the_links_rate(lab, reverse):
    programs = start_bulk(lab, BulkOrder(duration=1.5, reverse=reverse))
    lfn, cn = await_summary(lab, programs, "bulk-lfn", "bulk-cn")

    receiver, sender = (lfn, cn) if reverse else (cn, lfn)
    assert receiver["finished"]
    assert receiver["bytes"] == sender["bytes"]
    assert receiver["bytes"] * 8 / 1e6 < 60 * 2.5  # lte has 50 Mbit/s, and buffers drain late
    assert receiver["bytes"] * 8 / 1e6 > 20


def test_a_bulk_transfer_keeps_to_the_rate_that_it_is_given(lab):
    programs = start_bulk(lab, BulkOrder(duration=1.5, rate=8.0))
    receiver, _ = await_summary(lab, programs, "bulk-cn", "bulk-lfn")

    assert 0.5 < receiver["bytes"] * 8 / 1e6 / (8.0 * 1.5) < 1.5


def test_pings_are_answered_once_each(lab):
    command = ping_command(CN, start_at=time.monotonic() + 0.3, duration=1.0, interval=0.1)
    (summary,) = await_summary(lab, [lab.run_in("lfn", command, label="pings")], "pings")

    assert (summary["sent"], summary["received"], summary["duplicated"]) == (10, 10, 0)
    assert 0 < summary["longest_round_trip_ms"] < 500


def test_traffic_that_is_asked_to_end_still_gives_its_summary(lab):
    programs = start_call(lab, time.monotonic(), duration=100.0)
    time.sleep(3.0)
    for program in programs:
        program.terminate()
    lfn, cn = await_summary(lab, programs, "call-lfn", "call-cn")

    assert 0 < lfn["sent"] <= 160
    assert 0 < cn["sent"] <= 160


def test_a_bulk_transfer_without_a_server_says_so(lab):
    lab.cut("lte")
    program = lab.run_in(
        "lfn", bulk_command((CN, 5201), BulkOrder(1.0), start_at=0.0), label="alone"
    )

    assert program.wait(timeout=15) == 1
    assert lab.log_path("alone").read_text().startswith("bulk: ")
