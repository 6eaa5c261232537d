"""The lab with IPv4 on board and beyond the home agent, none of it on the way between."""

from __future__ import annotations

import contextlib
import select
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from dataplane_world import (
    LINKS,
    PACKET_OUTGOING,
    Captured,
    care_of,
    make_binding,
    make_home_agent,
    make_mobile_router,
    make_path,
)
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Raw

from mrouter.dataplane.state import IPv4Exit
from mrouter.lab import plan

ETH_P_IP = 0x0800
BOARD = IPv4Network("192.0.2.0/24")
ROUTER4, LFN4 = BOARD[1], BOARD[10]
HOME4, HOME_GATEWAY4 = IPv4Address("198.51.100.2"), IPv4Address("198.51.100.1")
CN4, CN_GATEWAY4 = IPv4Address("203.0.113.10"), IPv4Address("203.0.113.1")
#: On an egress link: a way by which something could leak, or come in.
EGRESS4, EGRESS_GATEWAY4 = IPv4Address("10.1.0.2"), IPv4Address("10.1.0.1")

_SILENCE = """
table ip silence {
    chain output {
        type filter hook output priority 0;
        icmp type destination-unreachable icmp code port-unreachable drop
        tcp flags rst drop
    }
}
"""
_ADDRESSES = {
    "lfn": [f"addr add {LFN4}/24 dev lan0", f"route add default via {ROUTER4}"],
    "mr": [
        f"addr add {ROUTER4}/24 dev lan0",
        f"addr add {EGRESS4}/24 dev lte0",
        f"route add default via {EGRESS_GATEWAY4}",
    ],
    "net": [
        f"addr add {EGRESS_GATEWAY4}/24 dev lte",
        f"addr add {HOME_GATEWAY4}/24 dev ha",
        f"addr add {CN_GATEWAY4}/24 dev cn",
        # the other end takes no more, and IPv4 would be sent more
        f"link set cn mtu {plan.INNER_MTU}",
    ],
    "ha": [f"addr add {HOME4}/24 dev wan0", f"route add default via {HOME_GATEWAY4}"],
    "cn": [f"addr add {CN4}/24 dev eth0", f"route add default via {CN_GATEWAY4}"],
}


def add_ipv4(lab):
    """Give every node of `Topology` ``lab`` its IPv4 addresses; the Internet forwards."""
    for node, lines in _ADDRESSES.items():
        text = "".join(f"{line}\n" for line in lines)
        lab.execute(node, ["ip", "-4", "-batch", "-"], input_text=text)
    lab.execute("net", ["sysctl", "-qw", "net.ipv4.ip_forward=1"])


class CaptureIpv4:
    """Every IPv4 packet that comes in to a node from another one."""

    def __init__(self, node):
        protocol = socket.htons(ETH_P_IP)
        self._socket = node(socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, protocol)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._socket.close()

    def read(self, quiet=0.1):
        found = []
        while select.select([self._socket], [], [], quiet)[0]:
            data, (interface, _protocol, kind, *_rest) = self._socket.recvfrom(65536)
            # seconds after a test a node may tell itself that a neighbour has not answered
            if kind != PACKET_OUTGOING and interface != "lo":
                found.append(Captured(interface, IP(data)))
        return found


class Ipv4World:
    """Adds IPv4 to a `World`, which stays as it is for IPv6."""

    def __init__(self, world):
        self.world = world
        add_ipv4(world.lab)
        for node in ("lfn", "cn"):
            world.lab.execute(node, ["nft", "-f", "-"], input_text=_SILENCE)
        self._senders = {
            node: world.nodes[node](
                socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW
            )
            for node in _ADDRESSES
        }

    def close(self):
        for sender in self._senders.values():
            sender.close()

    def set_switch(self, node, name, value):
        self.world.lab.execute(node, ["sysctl", "-qw", f"net.ipv4.{name}={value}"])

    def reset(self, way_out=IPv4Exit.ROUTE):
        self.world.clear()
        verb = "replace" if way_out is IPv4Exit.ROUTE else "delete"
        route = ["ip", "route", verb, str(BOARD), "via", str(HOME4)]
        self.world.lab.execute("net", route, check=False)
        self.world.apply_mr(make_router())
        self.world.apply_ha(make_home(way_out=way_out))

    def send(self, node, *packets):
        for packet in packets:
            self._senders[node].sendto(bytes(packet), (packet.dst, 0))

    def exchange(self, node, *packets, at):
        """Send ``packets``; return the IPv4 packets that came in, a list for each of ``at``.

        What came in to the node "tunnels" are IPv6 packets to the node "net".
        """
        with contextlib.ExitStack() as stack:
            captures = [stack.enter_context(self._capture(name)) for name in at]
            self.send(node, *packets)
            return [capture.read() for capture in captures]

    def _capture(self, name):
        return (
            self.world.capture("net") if name == "tunnels" else CaptureIpv4(self.world.nodes[name])
        )


def make_router(*, links=LINKS, **changes):
    paths = changes.pop("paths", None) or [make_path(link, ipv4=True) for link in links]
    return make_mobile_router(paths=paths, ipv4_prefixes=(BOARD,), **changes)


def make_home(*, links=LINKS, way_out=IPv4Exit.ROUTE, bindings=None, **changes):
    if bindings is None:
        bindings = [make_binding(link, ipv4_prefixes=(BOARD,)) for link in links]
    view = make_home_agent(bindings=bindings)
    return replace(view, served_ipv4=(BOARD,), ipv4_exit=way_out, **changes)


def udp4(source, destination, port=9, payload=b"", *, sport=40000, **fields):
    header = IP(src=str(source), dst=str(destination), **fields)
    return header / UDP(sport=sport, dport=port) / Raw(payload)


def tcp4(source, destination, port, *, sport=40000, flags="S", payload=b"", options=()):
    header = IP(src=str(source), dst=str(destination))
    return header / TCP(sport=sport, dport=port, flags=flags, options=list(options)) / Raw(payload)


def echo4(source, destination, *, identifier=7, sequence=1):
    header = IP(src=str(source), dst=str(destination))
    return header / ICMP(id=identifier, seq=sequence) / Raw(b"payload")


def uplinks4(captured):
    """Return the link of each packet with IPv4 in it that came to the Internet from MR."""
    for item in captured:
        if item.interface in LINKS and item.packet.nh == socket.IPPROTO_IPIP:
            assert item.packet.src == str(care_of(item.interface))
    return sorted(
        item.interface
        for item in captured
        if item.interface in LINKS and item.packet.nh == socket.IPPROTO_IPIP
    )


def downlinks4(captured):
    """Return the care-of address of each packet with IPv4 in it that HA sent to the Internet."""
    return sorted(
        IPv6Address(item.packet.dst)
        for item in captured
        if item.interface == "ha" and item.packet.nh == socket.IPPROTO_IPIP
    )


def arrived(captured, source, destination):
    """Return what came from ``source`` to ``destination``, without the headers."""
    return [
        bytes(item.packet.payload)
        for item in captured
        if (item.packet.src, item.packet.dst) == (str(source), str(destination))
    ]


def mentions4(captured, address):
    """Return the packets that carry ``address`` in any header."""
    return [item for item in captured if address.packed in bytes(item.packet)]


def strip4(*packets):
    """Return ``packets`` as ``arrived`` gives those that have come."""
    return [bytes(IP(bytes(packet)).payload) for packet in packets]
