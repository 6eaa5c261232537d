"""Copies of one packet that come in by two links at the same moment, on two processors."""

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
#: Each of two processes sends its copies, keeping step with the other, packet by packet. The last
#: eight octets are a number and its complement: all have one checksum.
SENDERS = """
import mmap, os, socket, struct, sys
count, *outer = int(sys.argv[1]), *map(bytes.fromhex, sys.argv[2:])
steps = memoryview(mmap.mmap(-1, 16)).cast("Q")
mine = 0 if os.fork() else 1
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[mine]})
sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
head, to = outer[mine][:-8], (socket.inet_ntop(socket.AF_INET6, outer[mine][24:40]), 0)
for number in range(count):
    datagram = head + struct.pack("!II", number, number ^ 0xFFFFFFFF)
    steps[mine] = number + 1
    while steps[1 - mine] <= number:
        pass
    sender.sendto(datagram, to)
if not mine:
    os.wait()
"""


def test_copies_that_come_at_once_are_delivered_once(world):
    inner = udp(CN, LFN, 40000, struct.pack("!II", 0, 0xFFFFFFFF), sport=CALL_PORT)
    outer = []
    for link in (LTE, WIFI):
        packet = tunnel(HA, care_of(link), inner)
        packet.fl = BICAST_FLOW_LABEL
        outer.append(bytes(packet).hex())
    program = [sys.executable, "-c", SENDERS, str(PACKETS), *outer]

    with world.capture("lfn") as arrived:
        world.lab.execute("net", program, timeout=60)
        numbers = collections.Counter(bytes(item.packet)[-8:] for item in arrived.read())

    assert len(numbers) == PACKETS
    assert [number for number, times in numbers.items() if times > 1] == []
