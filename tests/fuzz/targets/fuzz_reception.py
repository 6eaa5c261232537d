"""What an agent makes of a packet before its role sees it, and how it answers a bad one."""

from __future__ import annotations

from good_packets import serialize_discoveries, serialize_signalling
from hostile_packets import ICMPV6, mark_seed, read_hostile

from mrouter.agent.parse_answers import ParseAnswerer
from mrouter.errors import ParseError
from mrouter.wire.home_discovery import is_discovery, parse_discovery
from mrouter.wire.messages import BindingError
from mrouter.wire.packet import parse_packet
from mrouter.wire.parse_errors import Reason
from mrouter.wire.tunnelled import has_home_address, is_tunnelled

_MINIMUM_MTU = 1280
_PARAMETER_PROBLEM = 4
_REASONS = frozenset(Reason)


class _Everybody:
    def __contains__(self, address):
        return True


def test_one_input(data):
    if not data:
        return
    fmt, packet = read_hostile(data)
    refusal = _refuse(packet, fmt)
    if refusal is None:
        is_data = is_tunnelled(packet) or has_home_address(packet)
        assert not is_data, "signalling taken for data"
        return
    assert refusal.reason in _REASONS, "no label of a metric"
    answer = ParseAnswerer(fmt).answer(refusal, packet, _Everybody(), 1.0)
    if answer is not None:
        _check_answer(answer, packet, fmt)


def _refuse(packet, fmt):
    """Return why ``packet`` is no signalling that we read, or None if it is."""
    try:
        parse_discovery(packet) if is_discovery(packet) else parse_packet(packet, fmt)
    except ParseError as error:
        return error
    return None


def _check_answer(answer, packet, fmt):
    assert len(answer) <= _MINIMUM_MTU
    assert (answer[8:24], answer[24:40]) == (packet[24:40], packet[8:24])
    if answer[6] == ICMPV6:
        assert answer[40] == _PARAMETER_PROBLEM
        return
    assert isinstance(parse_packet(answer, fmt).message, BindingError)


def make_seeds():
    signalling = serialize_signalling()
    unknown = bytearray(signalling[6][1])
    unknown[42] = 99
    short = signalling[8][1][:48]
    return [
        *(mark_seed(packet, number) for number, packet in signalling),
        *(mark_seed(packet) for packet in (unknown, short)),
        *(mark_seed(packet, protocol=ICMPV6) for packet in serialize_discoveries()),
    ]
