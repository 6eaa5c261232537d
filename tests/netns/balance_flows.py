"""Many flows by hand, and by which link each of them went."""

from __future__ import annotations

import select
import struct

from dataplane_world import PACKET_OUTGOING, udp

from mrouter.lab import plan

LINKS = {link.name for link in plan.EGRESS_LINKS}
_IN_TUNNEL = slice(40, None)
_PORTS_AT, _PAYLOAD_AT = 40, 48
_FLOWS_AT_ONCE = 250


def make_flows(source, port, source_ports):
    """Yield a UDP packet for each of ``source_ports``; none has another checksum than the first."""
    first = bytes(udp(source, plan.CN_ADDRESS, port, b"\xff\xff", sport=0))
    for source_port in source_ports:
        packet = bytearray(first)
        packet[_PORTS_AT : _PORTS_AT + 2] = struct.pack("!H", source_port)
        packet[_PAYLOAD_AT : _PAYLOAD_AT + 2] = struct.pack("!H", 0xFFFF - source_port)
        yield bytes(packet)


def find_links(send, receiver, flows):
    """Send each of ``flows``; return the link of each, by its source port.

    ``receiver`` is a packet socket where all links end.
    """
    while select.select([receiver], [], [], 0)[0]:
        receiver.recv(65536)  # of a former test
    found = {}
    flows = list(flows)
    for start in range(0, len(flows), _FLOWS_AT_ONCE):
        for packet in flows[start : start + _FLOWS_AT_ONCE]:
            send(packet)
        found |= dict(_receive(receiver, min(_FLOWS_AT_ONCE, len(flows) - start)))
    return found


def _receive(receiver, count):
    while count and select.select([receiver], [], [], 1.0)[0]:
        data, (interface, _protocol, kind, *_rest) = receiver.recvfrom(65536)
        if interface in LINKS and kind != PACKET_OUTGOING and data[6] == 41 and data[46] == 17:
            count -= 1
            inner = data[_IN_TUNNEL]
            yield int.from_bytes(inner[_PORTS_AT : _PORTS_AT + 2], "big"), interface
