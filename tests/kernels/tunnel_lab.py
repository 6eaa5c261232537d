"""The lab over the ``ip6tnl`` device, packets by hand, and the outer headers that the net sees."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from mrouter import control
from mrouter.lab import plan
from mrouter.lab.configs import write_configs
from mrouter.lab.daemons import build_command, count_usable
from mrouter.lab.topology import Topology
from mrouter.lab.traffic import call_command, read_events
from mrouter.wire.checksum import compute_checksum

MR, HA = "mr", "ha"
IPV4, IPV6, UDP, DESTINATION_OPTIONS = 4, 41, 17, 60
PAYLOAD = b"by hand!"
#: An emulated machine is slow: generous, so that nothing depends on it.
TIMEOUT = 240.0
STREAM_START = 15.0
CLONE_NEWNET = 0x40000000
ETH_P_IPV6 = 0x86DD
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33


def wait_until(ask, what):
    deadline = time.monotonic() + TIMEOUT
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"in vain waited for {what}"
        time.sleep(0.1)
    return answer


@dataclass(frozen=True)
class Outer:
    """A packet that came in to the net by ``interface``; ``inner`` is what its header stands on."""

    interface: str
    traffic_class: int
    flow_label: int
    next_header: int
    source: IPv6Address
    destination: IPv6Address
    inner: bytes


def read_outer(interface, data):
    (first,) = struct.unpack_from("!I", data)
    return Outer(
        interface,
        first >> 20 & 0xFF,
        first & 0xFFFFF,
        data[6],
        IPv6Address(data[8:24]),
        IPv6Address(data[24:40]),
        data[40:],
    )


def header(source, destination, next_header, payload):
    start = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    return start + IPv6Address(source).packed + IPv6Address(destination).packed + payload


def udp(source, destination, port=9):
    ends = IPv6Address(source).packed, IPv6Address(destination).packed
    fields, payload = (40000, port, 8 + len(PAYLOAD)), PAYLOAD
    checksum = compute_checksum(*ends, struct.pack("!HHHH", *fields, 0) + payload, UDP)
    return header(source, destination, UDP, struct.pack("!HHHH", *fields, checksum) + payload)


def tunnel(source, destination, inner):
    return header(source, destination, IPV6, inner)


class TunnelLab:
    """The lab with its two daemons; ``encapsulation`` is what their files ask for.

    ``prepare`` is called with the lab and the files before the daemons start.
    """

    def __init__(self, encapsulation, prepare=None):
        self.topology = Topology()
        self._encapsulation = encapsulation
        self._prepare = prepare
        self._processes = {}

    def __enter__(self):
        self.topology.__enter__()
        files = write_configs(self.topology.run_directory)
        if self._prepare is not None:
            self._prepare(self, files)
        self._configs = {MR: files.mobile_router, HA: files.home_agent}
        self._sockets = {MR: files.mobile_router_socket, HA: files.home_agent_socket}
        for node in (HA, MR):
            self.set_encapsulation(node, self._encapsulation)
            self.start(node)
        self.await_bindings(3)
        return self

    def __exit__(self, *reason):
        self.topology.__exit__(*reason)

    def set_encapsulation(self, node, name):
        text = self._configs[node].read_text().partition("[dataplane]")[0]
        self._configs[node].write_text(f'{text}[dataplane]\nencapsulation = "{name}"\n')

    def config(self, node):
        return self._configs[node]

    def start(self, node):
        command = build_command(self._configs[node])
        self._processes[node] = self.topology.run_in(node, command, label=f"daemon-{node}")
        wait_until(lambda: self._answers(node), f"{node}'s first answer")

    def stop(self, node):
        self._processes[node].terminate()
        assert self._processes[node].wait(timeout=TIMEOUT) == 0

    def status(self, node):
        return control.request(self._sockets[node], "status")

    def _answers(self, node):
        log = self.topology.log_path(f"daemon-{node}")
        assert self._processes[node].poll() is None, log.read_text()
        try:
            return self.status(node)
        except control.ControlError:
            return None

    def counter(self, node, name, unit="packets"):
        return self.status(node)["dataplane"]["counters"][name][unit]

    def care_of_addresses(self):
        """Return those that the home agent has registered."""
        return {IPv6Address(row["care_of_address"]) for row in self.status(HA)["bindings"]}

    def await_bindings(self, count):
        wait_until(
            lambda: (
                count_usable(self.status(MR)) == count and len(self.care_of_addresses()) == count
            ),
            f"{count} bindings",
        )

    def execute(self, node, command, check=True):
        return self.topology.execute(node, command.split(), timeout=TIMEOUT, check=check)

    def ping(self, node, address, options=""):
        """Return what three pings of ``address`` said."""
        command = f"ping -6 -n -c 3 -i 0.3 -W 5 {options} {address}"
        return self.execute(node, command, check=False)

    def call(self, seconds, *, equal_payloads=False):
        """Let LFN and CN talk to each other; return what each has sent and received."""
        start_at = time.monotonic() + STREAM_START
        ends = {"lfn": (str(plan.LFN_ADDRESS), 5004), "cn": (str(plan.CN_ADDRESS), 5004)}
        programs = {}
        for node, far in (("lfn", "cn"), ("cn", "lfn")):
            command = call_command(
                ends[node],
                ends[far],
                start_at=start_at,
                duration=seconds,
                equal_payloads=equal_payloads,
            )
            programs[node] = self.topology.run_in(node, command, label=f"call-{node}")
        return {
            node: self.await_summary(program, f"call-{node}") for node, program in programs.items()
        }

    def await_summary(self, program, label):
        assert program.wait(timeout=TIMEOUT) == 0, self.topology.log_path(label).read_text()
        summary = read_events(self.topology.output_path(label))[-1]
        assert summary["event"] == "summary"
        return summary

    def send(self, node, packet):
        """Send a whole packet by the routes of ``node``."""
        with self._open(node, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
            sender.sendto(packet, (str(IPv6Address(packet[24:40])), 0))

    def listen(self, node, address, port=9):
        listener = self._open(node, socket.AF_INET6, socket.SOCK_DGRAM)
        listener.bind((str(address), port))
        return listener

    def watch(self):
        """Return the tunnelled packets that come in to the net while the context lasts."""
        protocol = socket.htons(ETH_P_IPV6)
        return Watch(self._open("net", socket.AF_PACKET, socket.SOCK_DGRAM, protocol))

    def _open(self, node, *arguments):
        """Open a socket in a node's namespace, where it stays."""
        descriptor = os.open(Path("/run/netns") / self.topology.namespace(node), os.O_RDONLY)
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        library = ctypes.CDLL(None, use_errno=True)
        try:
            assert library.setns(descriptor, CLONE_NEWNET) == 0
            return socket.socket(*arguments)
        finally:
            assert library.setns(home, CLONE_NEWNET) == 0
            os.close(descriptor)
            os.close(home)


class Watch:
    """Collects into ``packets``, without signalling and neighbour discovery, when it is left."""

    def __init__(self, endpoint):
        self._socket = endpoint
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self.packets = []

    def __enter__(self):
        return self

    def __exit__(self, *_reason):
        with self._socket:
            while select.select([self._socket], [], [], 1.0)[0]:
                data, (interface, _protocol, kind, *_rest) = self._socket.recvfrom(65536)
                if kind != PACKET_OUTGOING and {IPV4, IPV6} & {data[6], data[40]}:
                    self.packets.append(read_outer(interface, data))

    def uplink(self, interface=None):
        """Return what came from the mobile router (by ``interface``)."""
        names = [interface] if interface else [link.name for link in plan.EGRESS_LINKS]
        return [packet for packet in self.packets if packet.interface in names]

    def downlink(self):
        return [packet for packet in self.packets if packet.interface == "ha"]


def is_there(lab, node):
    """Tell whether the tunnel device stands in ``node``."""
    show = ["ip", "-n", lab.topology.namespace(node), "link", "show", "mrouter0"]
    return subprocess.run(show, capture_output=True, check=False).returncode == 0
