"""The lab's network with a data plane in MR and HA, and packets by hand."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from mrouter.dataplane.classify import number_policies
from mrouter.dataplane.home_agent import HomeAgentView, build_home_agent
from mrouter.dataplane.linux import LinuxDataplane
from mrouter.dataplane.mobile_router import MobileRouterView, TunnelPath, build_mobile_router
from mrouter.dataplane.state import Encapsulation
from mrouter.dataplane.steering import Steering, treat_plainly
from mrouter.lab import plan
from mrouter.policy.model import Bicast, Drop, Match, Policy, PolicyTable, PortRange, Steer
from mrouter.protocol.bindings import CacheEntry
from mrouter.protocol.flow_bindings import FlowBinding

#: No program listens in LFN and CN; their kernels shall not say so.
SILENCE = """
table ip6 silence {
    chain output {
        type filter hook output priority 0;
        icmpv6 type destination-unreachable icmpv6 code port-unreachable drop
        tcp flags rst drop
    }
}
"""

CLONE_NEWNET = 0x40000000
ETH_P_IPV6 = 0x86DD
PACKET_OUTGOING = 4

LTE, WIFI, SAT = (link.name for link in plan.EGRESS_LINKS)
LINKS = (LTE, WIFI, SAT)
SLOTS = {LTE: 1, WIFI: 2, SAT: 3}
#: A second mobile router's, which is not there but in the packets.
OTHER_PREFIX = IPv6Network("2001:db8:a2::/64")
LFN, CN, HA = plan.LFN_ADDRESS, plan.CN_ADDRESS, plan.HA_ADDRESS

BULK_PORT, CALL_PORT, DROPPED_PORT = 5001, 5004, 5009
POLICIES = PolicyTable(
    (
        Policy("bulk", Match((6, 17), (), (PortRange(BULK_PORT, BULK_PORT),)), Steer((WIFI, LTE))),
        Policy(
            "call", Match((6, 17), (), (PortRange(CALL_PORT, 5007),)), Bicast((LTE, WIFI, SAT), 2)
        ),
        Policy("unwanted", Match((17,), (), (PortRange(DROPPED_PORT, DROPPED_PORT),)), Drop()),
        Policy("ping", Match((58,)), Steer((SAT,))),
        Policy("default", Match(), Steer((LTE, WIFI, SAT))),
    )
)
BICAST_ALL = PolicyTable((Policy("default", Match(), Bicast((LTE, WIFI), 2)),))


class NodeThread:
    """A thread that lives in a network namespace; calling it runs a function there."""

    def __init__(self, namespace):
        self._pool = ThreadPoolExecutor(1, initializer=_enter, initargs=(namespace,))

    def __call__(self, function, *arguments, **keywords):
        return self._pool.submit(function, *arguments, **keywords).result()

    def close(self):
        self._pool.shutdown()


def _enter(namespace):
    # setns moves the calling thread alone
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(Path("/run/netns") / namespace, os.O_RDONLY)
    try:
        if library.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Captured:
    """A packet that came in by ``interface``."""

    interface: str
    packet: IPv6


class Capture:
    """Every IPv6 packet that comes in to a node from another one."""

    def __init__(self, node):
        protocol = socket.htons(ETH_P_IPV6)
        self._socket = node(socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, protocol)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._socket.close()

    def close(self):
        self._socket.close()

    def read(self, quiet=0.1):
        """Return what has come until nothing came for ``quiet`` seconds; multicast left out."""
        found = []
        while select.select([self._socket], [], [], quiet)[0]:
            data, (interface, _protocol, kind, *_rest) = self._socket.recvfrom(65536)
            packet = IPv6(data)
            # seconds after a test a node may tell itself that a neighbour has not answered
            is_own = kind == PACKET_OUTGOING or interface == "lo"
            if not is_own and not IPv6Address(packet.dst).is_multicast:
                found.append(Captured(interface, packet))
        return found


class World:
    """MR and HA by default hold three registered links; ``reset`` brings that back."""

    def __init__(self, lab):
        self.lab = lab
        self.nodes = {node: NodeThread(lab.namespace(node)) for node in plan.NODES}
        self._senders = {
            node: thread(socket.socket, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
            for node, thread in self.nodes.items()
        }
        self.planes = {node: self.nodes[node](LinuxDataplane) for node in ("mr", "ha")}
        for node in ("lfn", "cn"):
            lab.execute(node, ["nft", "-f", "-"], input_text=SILENCE)
        other = ["ip", "route", "replace", str(OTHER_PREFIX), "via", str(plan.HA_ADDRESS)]
        lab.execute("net", other)

    def close(self):
        for plane in self.planes.values():
            plane.close()
        for sender in self._senders.values():
            sender.close()
        for thread in self.nodes.values():
            thread.close()

    def reset(self, policies=POLICIES, links=LINKS):
        self.clear()
        self.apply_mr(make_mobile_router(policies=policies, links=links))
        self.apply_ha(make_home_agent(links=links))

    def clear(self):
        for node in ("mr", "ha"):
            self.nodes[node](self.planes[node].remove)
            self.forget_flows(node)

    def forget_flows(self, node):
        self.lab.execute(node, ["conntrack", "-F"])

    def restart(self, node):
        """Put a new data plane in the place of the old one, as a new process would."""
        self.planes[node].close()
        self.planes[node] = self.nodes[node](LinuxDataplane)

    def apply(self, node, state, verify=False):
        self.nodes[node](self.planes[node].apply, state, verify=verify)

    def apply_mr(self, view, verify=False):
        self.apply("mr", build_mobile_router(view), verify)

    def apply_ha(self, view, verify=False):
        self.apply("ha", build_home_agent(view), verify)

    def count(self, node, name, expected):
        """Return the packets that ``name`` has counted, at once if they are as ``expected``."""
        deadline = time.monotonic() + 1.0
        while (packets := self.counter(node, name)) != expected and time.monotonic() < deadline:
            time.sleep(0.01)
        return packets

    def counter(self, node, name):
        """Return the packets that counter ``name`` has counted so far."""
        return self.nodes[node](self.planes[node].read_counters)[name][0]

    def send(self, node, *packets):
        for packet in packets:
            self._senders[node].sendto(bytes(packet), (packet.dst, 0))

    def capture(self, node):
        return Capture(self.nodes[node])

    def exchange(self, node, *packets, at):
        """Send ``packets`` from ``node``; return what then came in, a list for each of ``at``."""
        with contextlib.ExitStack() as stack:
            captures = [stack.enter_context(self.capture(name)) for name in at]
            self.send(node, *packets)
            return [capture.read() for capture in captures]

    def wait_for(self, condition, timeout=3.0):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.01)


def make_path(name, **changes):
    known = plan.find_link(name)
    path = TunnelPath(
        slot=SLOTS[name],
        link=name,
        interface=known.interface,
        care_of_address=known.care_of_address,
        gateway=known.gateway,
        mtu=1500,
        usable=True,
    )
    return replace(path, **changes)


def make_mobile_router(*, policies=POLICIES, links=LINKS, paths=None, **changes):
    numbers = number_policies(policies)
    view = MobileRouterView(
        encapsulation=Encapsulation.SEG6,
        home_agent=HA,
        home_address=plan.HOME_ADDRESS,
        prefixes=(plan.MOBILE_NETWORK_PREFIX,),
        ingress=("lan0",),
        egress=tuple(link.interface for link in plan.EGRESS_LINKS),
        links=LINKS,
        paths=tuple(map(make_path, links)) if paths is None else tuple(paths),
        local_addresses=(plan.HOME_ADDRESS, plan.MR_INGRESS_ADDRESS),
        device="lan0",
        policies=policies,
        numbers=numbers,
        treatments=treat_plainly(policies, numbers),
        size_steps=Steering(policies).size_steps,
    )
    return replace(view, **changes)


def make_binding(link, **changes):
    known = plan.find_link(link)
    binding = CacheEntry(
        home_address=plan.HOME_ADDRESS,
        ifid=10 + SLOTS[link],
        ifpri=known.ifpri,
        care_of_address=known.care_of_address,
        prefixes=(plan.MOBILE_NETWORK_PREFIX,),
        slot=SLOTS[link],
        sequence=1,
        lifetime=120,
        expires_at=1000.0,
        mobile_router=True,
    )
    return replace(binding, **changes)


def make_home_agent(*, links=LINKS, bindings=None, served=None, flows=()):
    return HomeAgentView(
        encapsulation=Encapsulation.SEG6,
        address=HA,
        local_addresses=(HA,),
        device="wan0",
        served=served or (IPv6Network(plan.HOME_ADDRESS), plan.MOBILE_NETWORK_PREFIX),
        bindings=tuple(map(make_binding, links)) if bindings is None else tuple(bindings),
        flows=tuple(flows),
    )


def make_flow(number, selector, *links):
    """Return the flow binding with that FID and priority."""
    ifids = tuple(10 + SLOTS[link] for link in links)
    return FlowBinding(plan.HOME_ADDRESS, number, number, ifids, selector)


def udp(source, destination, port=9, payload=b"", *, sport=40000, hop_limit=64):
    header = IPv6(src=str(source), dst=str(destination), hlim=hop_limit)
    return header / UDP(sport=sport, dport=port) / Raw(payload)


def tcp(source, destination, port, *, sport=40000, flags="S", sequence=1, payload=b""):
    header = IPv6(src=str(source), dst=str(destination))
    return header / TCP(sport=sport, dport=port, flags=flags, seq=sequence) / Raw(payload)


def echo(source, destination, *, identifier=7, sequence=1, payload=b"payload"):
    header = IPv6(src=str(source), dst=str(destination))
    return header / ICMPv6EchoRequest(id=identifier, seq=sequence, data=payload)


def tunnel(source, destination, inner):
    return IPv6(src=str(source), dst=str(destination)) / inner


def care_of(link):
    return plan.find_link(link).care_of_address


def uplinks(captured):
    """Return (link, outer source) of each tunnelled packet that came to the Internet from MR."""
    return sorted(
        (item.interface, IPv6Address(item.packet.src))
        for item in captured
        if item.interface in LINKS and item.packet.nh == 41
    )


def downlinks(captured):
    """Return the care-of address of each packet that came to the Internet tunnelled from HA."""
    return sorted(
        IPv6Address(item.packet.dst)
        for item in captured
        if item.interface == "ha" and item.packet.nh == 41
    )


def mentions(captured, address):
    """Return the packets that carry ``address`` in their outer or inner header.

    Neighbours that ask for each other do so when they like, and are left out.
    """
    return [
        item
        for item in captured
        if IPv6Address(str(address)).packed in bytes(item.packet)
        and not (item.packet.nh == 58 and bytes(item.packet.payload)[0] in (135, 136))
    ]


def transports(captured, source, destination):
    """Return what came untunnelled from ``source`` to ``destination``, IPv6 headers left out."""
    return [
        bytes(item.packet.payload)
        for item in captured
        if (item.packet.src, item.packet.dst) == (str(source), str(destination))
    ]


def strip(*packets):
    """Return ``packets`` as ``transports`` gives those that have come."""
    return [bytes(IPv6(bytes(packet)).payload) for packet in packets]
