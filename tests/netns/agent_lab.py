"""The lab with its agents as processes of their own, raw packets by hand, and questions."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from ipaddress import IPv6Address
from pathlib import Path

from mrouter import control
from mrouter.config.keys import read_key
from mrouter.lab import plan
from mrouter.lab.configs import SPI, write_configs
from mrouter.lab.daemons import build_command, count_usable
from mrouter.lab.topology import Topology
from mrouter.lab.traffic import call_command, read_events
from mrouter.protocol.keys import PacketSigner
from mrouter.protocol.settings import Algorithm, SecurityAssociation
from mrouter.wire.format import WireFormat
from mrouter.wire.packet import parse_packet, serialize_packet

HOME_AGENT, MOBILE_ROUTER = "home-agent", "mobile-router"
CORRESPONDENT_NODE = "correspondent-node"
NODES = {HOME_AGENT: "ha", MOBILE_ROUTER: "mr", CORRESPONDENT_NODE: "cn"}
#: Seconds that both ends of a stream have to listen before the first packet is sent: on a machine
#: that does something else, too, an interpreter takes its time to start.
STREAM_LEAD = 2.0
FORMAT = WireFormat()
STREAM_PORT = 6000
CLONE_NEWNET = 0x40000000
ETH_P_IPV6 = 0x86DD
PACKET_OUTGOING = 4
TIMEOUT = 15.0


def wait_until(ask, timeout=TIMEOUT, what="what was waited for"):
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{what} did not come in {timeout} s"
        time.sleep(0.03)
    return answer


def run_cli(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "mrouter", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


class AgentLab:
    """The lab; ``edit`` its files before ``start``."""

    def __init__(self):
        self.topology = Topology(shaped=False)
        self._agents = {}
        self._starts = 0

    def __enter__(self):
        self.topology.__enter__()
        self.directory = self.topology.run_directory
        self.files = write_configs(self.directory)
        self.config = {
            HOME_AGENT: self.files.home_agent,
            MOBILE_ROUTER: self.files.mobile_router,
            CORRESPONDENT_NODE: self.files.correspondent_node,
        }
        self.socket = {
            HOME_AGENT: self.files.home_agent_socket,
            MOBILE_ROUTER: self.files.mobile_router_socket,
            CORRESPONDENT_NODE: self.files.correspondent_node_socket,
        }
        return self

    def __exit__(self, *reason):
        self.topology.__exit__(*reason)

    # --- the agents ---------------------------------------------------------------------

    def edit(self, path, old, new):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def start(self, *roles, bindings=3):
        for role in roles or (HOME_AGENT, MOBILE_ROUTER):
            self.launch(role)
            wait_until(lambda role=role: self.answers(role), what=f"the {role}'s first answer")
            if role == MOBILE_ROUTER:
                self.await_bindings(bindings)
                self.await_flow_bindings()
        return self

    def launch(self, role):
        self._starts += 1
        label = f"{role}-{self._starts}"
        process = self.topology.run_in(NODES[role], build_command(self.config[role]), label=label)
        self.adopt(role, process, label)

    def adopt(self, role, process, label):
        """Take a process, begun by another command, for the agent of ``role``."""
        self._agents[role] = process, label

    def answers(self, role):
        assert self.process(role).poll() is None, self.log(role)
        try:
            return self.ask(role)
        except control.ControlError:
            return None

    def process(self, role):
        return self._agents[role][0]

    def log(self, role):
        return self.topology.log_path(self._agents[role][1]).read_text()

    def end(self, role, number=signal.SIGTERM):
        process = self.process(role)
        process.send_signal(number)
        process.wait(timeout=10)
        return process.returncode

    def ask(self, role, command="status"):
        return control.request(self.socket[role], command)

    def mobile_router(self):
        return self.ask(MOBILE_ROUTER)

    def home_agent(self):
        return self.ask(HOME_AGENT)

    def await_bindings(self, count):
        """Wait until that many bindings carry traffic at the mobile router, and stand at both."""
        wait_until(
            lambda: (
                count_usable(self.mobile_router()) == count
                and len(self.home_agent()["bindings"]) == count
            ),
            what=f"{count} bindings",
        )

    def await_flow_bindings(self):
        """Wait until the home agent has answered all that it was asked for: no update follows."""
        wait_until(
            lambda: "pending" not in {p["downlink"] for p in self.mobile_router()["policies"]},
            what="an answer about every policy",
        )

    def bindings(self):
        """Return the home agent's bindings by care-of address."""
        return {IPv6Address(b["care_of_address"]): b for b in self.home_agent()["bindings"]}

    def await_care_of_addresses(self, expected, timeout=TIMEOUT):
        expected = set(expected)
        wait_until(lambda: set(self.bindings()) == expected, timeout, f"bindings of {expected}")

    def links(self):
        return {link["name"]: link for link in self.mobile_router()["links"]}

    # --- the network --------------------------------------------------------------------

    def ip(self, node, command):
        self.topology.execute(node, ["ip", "-6", *command.split()])

    def sysctl(self, node, name, value):
        self.topology.execute(node, ["sysctl", "-q", f"net.ipv6.conf.{name}={value}"])

    def scrape(self, node):
        fetch = "import urllib.request as u; print(u.urlopen('http://[::1]:9362/metrics').read().decode())"
        return self.topology.execute(node, [sys.executable, "-c", fetch]).stdout

    def stream(self, duration, port=STREAM_PORT):
        """Start 50 packets a second each way between LFN and CN."""
        start_at = time.monotonic() + STREAM_LEAD
        lfn, cn = (str(plan.LFN_ADDRESS), port), (str(plan.CN_ADDRESS), port)
        labels = [f"stream-{node}-{port}-{start_at}" for node in ("lfn", "cn")]
        commands = [
            call_command(near, far, start_at=start_at, duration=duration)
            for near, far in ((lfn, cn), (cn, lfn))
        ]
        programs = [
            self.topology.run_in(node, command, label=label)
            for node, command, label in zip(("lfn", "cn"), commands, labels, strict=True)
        ]
        time.sleep(max(0.0, start_at + 0.1 - time.monotonic()))
        return Stream(programs, [self.topology.output_path(label) for label in labels])

    def key(self, name="mr.key"):
        return SecurityAssociation(SPI, Algorithm.HMAC_SHA256, read_key(self.directory, name))

    def open_in(self, node, *arguments):
        """Open a socket in a node's namespace; it stays there whoever uses it."""
        namespace = Path("/run/netns") / self.topology.namespace(node)
        opened = []

        def enter_and_open():
            library = ctypes.CDLL(None, use_errno=True)
            descriptor = os.open(namespace, os.O_RDONLY)
            if library.setns(descriptor, CLONE_NEWNET) == 0:  # this thread alone
                opened.append(socket.socket(*arguments))
            os.close(descriptor)

        thread = threading.Thread(target=enter_and_open)
        thread.start()
        thread.join()
        return opened[0]

    def sender(self, node, interface=None):
        endpoint = self.open_in(node, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        if interface is not None:
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        return Sender(endpoint)

    def sniffer(self, node, interface):
        kind = socket.SOCK_DGRAM, socket.htons(ETH_P_IPV6)
        return Sniffer(self.open_in(node, socket.AF_PACKET, *kind), interface)


class Stream:
    """A running stream and, once it has ended, what its receivers counted."""

    def __init__(self, programs, outputs):
        self._programs, self.outputs = programs, outputs

    def sent_so_far(self):
        events = read_events(self.outputs[0])
        return events[-1].get("sent", 0) if events else 0

    def result(self):
        """Return the ends' (lost, duplicated), each as the far end counted it."""
        for program in self._programs:
            assert program.wait(timeout=60) == 0
        ends = [read_events(output)[-1] for output in self.outputs]
        for end in ends:
            assert end["event"] == "summary"
            assert end["sent"] > 0
        return [
            (near["sent"] - far["received"], far["duplicated"]) for near, far in (ends, ends[::-1])
        ]


class Sender:
    """Sends whole IPv6 packets."""

    def __init__(self, endpoint):
        self._socket = endpoint

    def __call__(self, data):
        self._socket.sendto(data, (socket.inet_ntop(socket.AF_INET6, data[24:40]), 0))

    def message(self, packet, key=None):
        data = serialize_packet(packet, FORMAT, key and PacketSigner(key))
        self(data)
        return data


class Sniffer:
    """Sees the IPv6 packets that come in by an interface."""

    def __init__(self, endpoint, interface):
        self._socket = endpoint
        self._interface = interface
        self._socket.settimeout(0.1)

    def find(self, wanted, timeout=5.0):
        """Return the first packet for which ``wanted`` returns something, as that."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                data, address = self._socket.recvfrom(65535)
            except TimeoutError:
                continue
            if address[0] == self._interface and address[2] != PACKET_OUTGOING:
                found = wanted(data)
                if found is not None:
                    return found
        raise AssertionError(f"the packet did not come in {timeout} s")

    def find_message(self, kind, timeout=5.0):
        def read(data):
            if 135 not in (data[6], data[40]):
                return None
            packet = parse_packet(data, FORMAT)
            return packet if isinstance(packet.message, kind) else None

        return self.find(read, timeout)


def read_samples(text):
    """Return a scrape's samples: {'name{labels}': value}."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def count_signalling(status):
    """Return how many messages were received, parsed or not."""
    received = sum(r["count"] for r in status["signalling"] if r["direction"] == "received")
    return received + sum(status["parse_failures"].values())


def count_event(status, event, reason):
    rows = (r for r in status["events"] if (r["event"], r["reason"]) == (event, reason))
    return sum(row["count"] for row in rows)


def describe_bindings(status):
    """Return what of a status's bindings must not change by itself."""
    names = ("care_of_address", "ifid", "ifpri", "slot", "prefixes", "usable")
    return [{name: row[name] for name in names if name in row} for row in status["bindings"]]
