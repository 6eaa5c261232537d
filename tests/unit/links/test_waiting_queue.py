"""Packets that wait for a link."""

from hypothesis import given
from hypothesis import strategies as st

from mrouter.links.waiting_queue import LONGEST_WAIT, MOST_OCTETS, WaitingQueue


def make_packet(number, size=100, hop_limit=64):
    return b"\x60\0\0\0\0\0\x11" + bytes([hop_limit]) + number.to_bytes(32, "big") + bytes(size)


def test_packets_leave_in_the_order_in_which_they_came():
    queue = WaitingQueue()
    packets = [make_packet(number) for number in range(5)]
    for packet in packets:
        queue.add(packet, 0.0)
    assert list(queue.release(1.0)) == packets
    assert len(queue) == 0


def test_what_has_waited_too_long_is_dropped():
    queue = WaitingQueue()
    queue.add(make_packet(1), 0.0)
    queue.add(make_packet(2), 1.0)
    assert list(queue.release(LONGEST_WAIT)) == [make_packet(2)]
    assert queue.dropped == 1


def test_the_oldest_make_room():
    queue = WaitingQueue()
    for number in range(3):
        queue.add(make_packet(number, MOST_OCTETS // 2 - 40), 0.0)
    assert [int.from_bytes(packet[8:40], "big") for packet in queue.release(0.0)] == [1, 2]
    assert queue.dropped == 1


def test_what_comes_back_does_not_wait_anew():
    queue = WaitingQueue()
    queue.add(make_packet(1), 0.0)
    for step in range(1, 5):
        (packet,) = queue.release(float(step))
        queue.add(make_packet(1, hop_limit=64 - step), float(step))
    assert packet[7] == 61
    assert list(queue.release(LONGEST_WAIT)) == []
    assert queue.dropped == 1


def test_what_comes_back_too_late_is_dropped():
    queue = WaitingQueue()
    queue.add(make_packet(1), 0.0)
    list(queue.release(LONGEST_WAIT - 0.1))
    queue.add(make_packet(1), LONGEST_WAIT + 0.1)
    # it is a new packet like the first one by now, as far as anybody knows
    assert len(queue) == 1


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3), st.integers(0, 5))))
def test_every_packet_leaves_once_or_is_dropped(steps):
    queue, now, came, left = WaitingQueue(), 0.0, 0, 0
    for adds, pause, number in steps:
        now += pause
        if adds:
            queue.add(make_packet(number, number * 90_000), now)
            came += 1
        else:
            left += len(list(queue.release(now)))
        assert sum(len(packet) for _, packet in queue._waiting) <= MOST_OCTETS
    assert came == left + queue.dropped + len(queue)
