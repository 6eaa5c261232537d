"""``mrouter capture`` live, in the namespaces of the lab."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

from mrouter.lab import plan
from mrouter.lab.configs import SPI, write_configs
from mrouter.lab.daemons import Daemons
from mrouter.lab.topology import Topology
from mrouter.wire.format import WireFormat
from mrouter.wire.home_discovery import (
    DiscoveryPacket,
    HomeAgentReply,
    HomeAgentRequest,
    PrefixAdvertisement,
    PrefixSolicitation,
    serialize_discovery,
)
from mrouter.wire.messages import BindingRefreshRequest, Packet
from mrouter.wire.packet import serialize_packet

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
SEND = """
import socket, sys
data = bytes.fromhex(sys.argv[1])
sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
sender.sendto(data, (socket.inet_ntop(socket.AF_INET6, data[24:40]), 0))
"""
LINKS = {link.interface: link for link in plan.EGRESS_LINKS}


@pytest.fixture
def lab():
    with Topology(shaped=False) as topology:
        yield topology


class Capture:
    """A capture that runs on a node until ``end``."""

    def __init__(self, lab, node, *arguments):
        self._lab = lab
        self._node = node
        command = [sys.executable, "-m", "mrouter", "capture", *map(str, arguments)]
        before = self._count_sockets()
        self._process = lab.run_in(node, command, label="capture")
        deadline = time.monotonic() + 15
        while self._count_sockets() == before:
            assert self._process.poll() is None, lab.log_path("capture").read_text()
            assert time.monotonic() < deadline, "the capture did not open its socket"
            time.sleep(0.05)

    def _count_sockets(self):
        return self._lab.execute(self._node, ["cat", "/proc/net/packet"]).stdout.count("\n")

    def lines(self):
        return self._lab.output_path("capture").read_text().splitlines()

    def wait_lines(self, count, words=""):
        """Return all lines once ``count`` of them have ``words`` in them."""
        deadline = time.monotonic() + 15
        while sum(words in line for line in self.lines()) < count:
            assert time.monotonic() < deadline, self.lines()
            time.sleep(0.05)
        return self.lines()

    def end(self):
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(10) == 0
        assert self._lab.log_path("capture").read_text() == ""


def make_packet(source, destination):
    return serialize_packet(Packet(source, destination, BindingRefreshRequest()), WireFormat())


def wrap(data, next_header, source, destination):
    head = bytes.fromhex("60000000") + len(data).to_bytes(2, "big") + bytes((next_header, 64))
    return head + source.packed + destination.packed + data


def send(lab, node, data):
    lab.execute(node, [sys.executable, "-c", SEND, data.hex()])


def test_a_registration_over_three_links_is_shown_with_right_authenticators(lab):
    files = write_configs(lab.run_directory)
    key = lab.run_directory / "mr.key"
    written = lab.run_directory / "seen.pcap"
    arguments = ["--key-file", key, "--spi", SPI]
    capture = Capture(lab, "mr", "--json", "--write", written, *arguments)
    Daemons(lab, files).start()
    capture.wait_lines(3, "Binding Acknowledgement")
    capture.wait_lines(1, "Mobile Prefix Solicitation")
    capture.end()

    records = [json.loads(line) for line in capture.lines()]
    latest_first = records[::-1]  # so that each link's first message stays
    updates = {r["link"]: r for r in latest_first if r["message"] == "Binding Update"}
    answers = {r["link"]: r for r in latest_first if r["message"] == "Binding Acknowledgement"}
    assert set(updates) == set(answers) == set(LINKS)
    for name, link in LINKS.items():
        update, answer = updates[name], answers[name]
        assert (update["direction"], answer["direction"]) == ("out", "in")
        assert update["source"] == answer["destination"] == str(link.care_of_address)
        assert update["home_address_option"] == answer["routing_header"] == str(plan.HOME_ADDRESS)
        assert update["options"][0]["ifpri"] == link.ifpri
        assert update["options"][0]["ifid"] == answer["options"][0]["ifid"]
        assert update["sequence"] == answer["sequence"]
        assert answer["status"] < 128
    bindings = [r for r in records if r["message"].startswith("Binding")]
    assert {record["auth"] for record in bindings} == {"ok"}
    solicitation = next(r for r in records if r["message"] == "Mobile Prefix Solicitation")
    assert solicitation["home_address_option"] == str(plan.HOME_ADDRESS)

    command = [sys.executable, "-m", "mrouter", "capture", "--read", str(written)]
    again = lab.execute("lfn", [*command, *map(str, arguments)]).stdout.splitlines()
    assert len(again) == len(records)
    assert sum(line.endswith("auth ok") for line in again) == len(bindings)
    assert key.read_text().strip() not in "\n".join(again + capture.lines())


def test_signalling_in_tunnels_and_behind_extension_headers_passes_the_kernels_filter(lab):
    inner = make_packet(plan.HOME_ADDRESS, plan.HA_ADDRESS)
    routing = bytes.fromhex("29 02 04 00 00000000") + plan.HA_ADDRESS.packed
    tunnelled = wrap(inner, 41, plan.CN_ADDRESS, plan.HA_ADDRESS)
    routed = wrap(routing + inner, 43, plan.CN_ADDRESS, plan.HA_ADDRESS)
    capture = Capture(lab, "cn", "--json")
    send(lab, "cn", tunnelled)
    send(lab, "cn", routed)
    records = [json.loads(line) for line in capture.wait_lines(2)]
    capture.end()

    assert len(records) == 2
    for record in records:
        assert record["source"] == str(plan.HOME_ADDRESS)
        assert record["tunnels"] == [
            {"source": str(plan.CN_ADDRESS), "destination": str(plan.HA_ADDRESS)}
        ]


def test_home_agent_and_prefix_discovery_passes_the_kernels_filter_and_other_icmpv6_does_not(lab):
    discovery = [
        serialize_discovery(DiscoveryPacket(plan.CN_ADDRESS, plan.HA_ADDRESS, message, *headers))
        for message, *headers in (
            (HomeAgentRequest(1), None),
            (HomeAgentReply(2, (plan.HA_ADDRESS,)), None),
            (PrefixSolicitation(3), plan.HOME_ADDRESS),
            (PrefixAdvertisement(4, ()), None, plan.HOME_ADDRESS),
        )
    ]
    tunnelled = wrap(discovery[0], 41, plan.CN_ADDRESS, plan.HA_ADDRESS)
    of_another_type = [
        discovery[0][:40] + bytes((kind,)) + discovery[0][41:] for kind in (143, 148)
    ]
    capture = Capture(lab, "cn", "--json")
    for data in [*of_another_type, *discovery, tunnelled]:
        send(lab, "cn", data)
    records = [json.loads(line) for line in capture.wait_lines(5)]
    capture.end()

    assert [(record["message"], record["identifier"]) for record in records] == [
        ("Home Agent Address Discovery Request", 1),
        ("Home Agent Address Discovery Reply", 2),
        ("Mobile Prefix Solicitation", 3),
        ("Mobile Prefix Advertisement", 4),
        ("Home Agent Address Discovery Request", 1),
    ]
    assert [len(record["tunnels"]) for record in records] == [0, 0, 0, 0, 1]


def test_only_signalling_of_the_chosen_interface_is_shown(lab):
    packet = make_packet(plan.CN_ADDRESS, plan.HA_ADDRESS)
    capture = Capture(lab, "net", "--json", "--interface", "cn")
    lab.execute("cn", ["ping", "-6", "-c", "2", "-i", "0.2", str(plan.HA_ADDRESS)])
    send(lab, "cn", packet)
    records = [json.loads(line) for line in capture.wait_lines(1)]
    capture.end()

    assert [(record["link"], record["direction"]) for record in records] == [("cn", "in")]


def test_a_packet_on_the_loopback_interface_is_shown_once(lab):
    capture = Capture(lab, "cn", "--json")
    send(lab, "cn", make_packet(plan.CN_ADDRESS, plan.CN_ADDRESS))
    send(lab, "cn", make_packet(plan.CN_ADDRESS, plan.HA_ADDRESS))
    links = [json.loads(line)["link"] for line in capture.wait_lines(2)]
    capture.end()

    assert links.count("lo") == 1
    assert len(links) == 2


def test_the_time_ends_a_live_capture(lab):
    command = [sys.executable, "-m", "mrouter", "capture", "--seconds", "0.3"]
    assert lab.execute("cn", command, timeout=20).stdout == ""
