"""Bicast on two processors at the same moment."""

from __future__ import annotations

import collections
import os
import struct
import sys

import pytest
from dataplane_world import CALL_PORT, CN, HA, LFN, LTE, WIFI, care_of, tunnel, udp

from mrouter.dataplane.marks import BICAST_FLOW_LABEL

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor has no races"),
]
PACKETS = 4_000
NUMBER = struct.pack("!II", 0, 0xFFFFFFFF)
#: Each of two processes sends its packets in turns, keeping step with the other. The last eight
#: octets are a number and its complement: all have one checksum.
SENDERS = """
import mmap, os, socket, struct, sys
count, *sides = int(sys.argv[1]), *sys.argv[2:]
steps = memoryview(mmap.mmap(-1, 16)).cast("Q")
mine = 0 if os.fork() else 1
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[mine]})
sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
packets = [bytes.fromhex(packet) for packet in sides[mine].split(",")]
to = [(socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0) for packet in packets]
for number in range(count):
    turn = number % len(packets)
    datagram = packets[turn][:-8] + struct.pack("!II", number, number ^ 0xFFFFFFFF)
    steps[mine] = number + 1
    while steps[1 - mine] <= number:
        pass
    sender.sendto(datagram, to[turn])
if not mine:
    os.wait()
"""


def copy_of(source, destination, inner):
    packet = tunnel(source, destination, inner)
    packet.fl = BICAST_FLOW_LABEL
    return packet


def numbers_at_lfn(world, *sides):
    """Let two processes send at the Internet; return how often which of their numbers arrived."""
    texts = [",".join(bytes(packet).hex() for packet in packets) for packets in sides]
    with world.capture("lfn") as arrived:
        program = [sys.executable, "-c", SENDERS, str(PACKETS), *texts]
        world.lab.execute("net", program, timeout=60)
        return collections.Counter(bytes(item.packet)[-8:] for item in arrived.read())


def test_copies_that_come_at_once_are_delivered_once(world):
    inner = udp(CN, LFN, 40000, NUMBER, sport=CALL_PORT)

    numbers = numbers_at_lfn(world, *([copy_of(HA, care_of(link), inner)] for link in (LTE, WIFI)))

    assert len(numbers) == PACKETS
    assert [number for number, times in numbers.items() if times > 1] == []


def test_copies_go_by_a_link_each_while_the_other_directions_come_by_turns(world):
    """The home agent learns another way back, time and again, while it makes copies."""
    up = udp(LFN, CN, CALL_PORT, NUMBER, sport=40000)
    down = udp(CN, LFN, 40000, NUMBER, sport=CALL_PORT)

    numbers = numbers_at_lfn(
        world, [copy_of(care_of(link), HA, up) for link in (LTE, WIFI)], [down]
    )

    assert len(numbers) == PACKETS
    assert [number for number, times in numbers.items() if times > 1] == []
