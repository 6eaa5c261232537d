from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from contextlib import ExitStack

import pytest

from mrouter.lab.bulk import BulkOrder, connect_bulk, serve_bulk
from mrouter.lab.rtp_call import CallSettings, Packet, parse_packet, run_call
from mrouter.lab.traffic import bulk_command, read_events


class Events:
    def __init__(self):
        self.seen = []

    def __call__(self, event, fields):
        self.seen.append({"event": event, **fields})

    @property
    def summary(self):
        assert self.seen[-1]["event"] == "summary"
        return self.seen[-1]


def never():
    return False


def find_free_ports(kind, count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET6, kind)) for _ in range(count)]
        for free in sockets:
            free.bind(("::1", 0))
        return [free.getsockname()[1] for free in sockets]


def run_together(*runs):
    threads = [threading.Thread(target=run) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()


def run_call_over_loopback(duration, copies=(1, 1)):
    ports = find_free_ports(socket.SOCK_DGRAM, 2)
    start_at = time.monotonic() + 0.2
    ends = [Events(), Events()]
    settings = [
        CallSettings(("::1", mine), ("::1", other), start_at, duration, copies=count)
        for mine, other, count in zip(ports, reversed(ports), copies, strict=True)
    ]
    run_together(
        lambda: run_call(settings[0], ends[0], never),
        lambda: run_call(settings[1], ends[1], never),
    )
    return ends[0].summary, ends[1].summary


def run_bulk_over_loopback(order):
    (port,) = find_free_ports(socket.SOCK_STREAM, 1)
    server, client = Events(), Events()
    run_together(
        lambda: serve_bulk(("::1", port), server, never),
        lambda: connect_bulk(("::1", port), order, client, never),
    )
    return server.summary, client.summary


def test_a_packet_survives_the_wire_and_has_the_calls_size():
    packet = Packet(sequence=70000, sent_at=12.5, copies=2)
    datagram = packet.serialize(source=7)

    assert len(datagram) == 12 + 160
    assert parse_packet(datagram) == packet


@pytest.mark.parametrize("datagram", [b"", b"\x80" * 20, b"\x00" * 172])
def test_what_is_no_packet_of_a_call_is_passed_over(datagram):
    assert parse_packet(datagram) is None


def test_a_call_counts_fifty_packets_a_second_both_ways():
    ours, theirs = run_call_over_loopback(duration=0.5)

    assert ours["sent"] == theirs["sent"] == 25
    assert ours["received"] == theirs["received"] == 25
    assert ours["duplicated"] == theirs["duplicated"] == 0


def test_equal_payloads_arrive_as_often_as_they_were_sent():
    ours, theirs = run_call_over_loopback(duration=0.3, copies=(2, 1))

    assert ours["sent"] == 30
    assert (theirs["received"], theirs["duplicated"]) == (30, 0)


def test_a_bulk_transfer_keeps_to_its_rate():
    server, client = run_bulk_over_loopback(BulkOrder(duration=1.0, rate=16.0))

    assert client["direction"] == "sender"
    assert server["bytes"] == client["bytes"]
    assert server["finished"]
    assert client["segments"] > 0


def test_a_reversed_bulk_transfer_is_sent_by_the_listening_end():
    server, client = run_bulk_over_loopback(BulkOrder(duration=0.3, rate=16.0, reverse=True))

    assert server["direction"] == "sender"
    assert client["direction"] == "receiver"
    assert client["bytes"] == server["bytes"] > 0


def test_a_transfer_that_waits_for_its_start_ends_at_once_when_asked_to():
    command = bulk_command(("::1", 9), BulkOrder(1.0), start_at=time.monotonic() + 1000)
    program = subprocess.Popen(command)
    time.sleep(0.5)

    program.terminate()

    assert program.wait(timeout=2) in (128 + signal.SIGTERM, -signal.SIGTERM)


def test_events_are_read_up_to_the_last_whole_line(tmp_path):
    path = tmp_path / "call.out"
    path.write_text(json.dumps({"event": "ready"}) + '\n{"event": "prog')

    assert read_events(path) == [{"event": "ready"}]
