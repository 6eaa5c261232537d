from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from mrouter.agent.parse_answers import ParseAnswerer
from mrouter.errors import ParseError
from mrouter.wire.checksum import compute_checksum
from mrouter.wire.format import WireFormat
from mrouter.wire.messages import BindingError
from mrouter.wire.packet import parse_packet
from mrouter.wire.parse_errors import ParameterProblem, UnknownMessageType

SOURCE, OWN = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
HOME = IPv6Address("2001:db8::100")
LOCAL = frozenset({OWN})
FORMAT = WireFormat()
INVOKING = bytes(range(64))


@pytest.fixture
def answerer():
    return ParseAnswerer(FORMAT)


def unknown_type(destination=OWN, home=None):
    return UnknownMessageType(SOURCE, destination, home, 99)


def parameter_problem(pointer=40):
    return ParameterProblem(ParseError("bad-payload-proto"), SOURCE, OWN, pointer)


@pytest.mark.parametrize(("home", "told"), [(None, IPv6Address("::")), (HOME, HOME)])
def test_an_unknown_type_gets_a_binding_error_of_status_2(answerer, home, told):
    answer = parse_packet(answerer.answer(unknown_type(home=home), INVOKING, LOCAL, 1.0), FORMAT)

    assert (answer.source, answer.destination) == (OWN, SOURCE)
    assert answer.message == BindingError(2, told)


def test_a_parameter_problem_points_at_the_octet_and_quotes_the_packet(answerer):
    answer = answerer.answer(parameter_problem(41), INVOKING, LOCAL, 1.0)

    assert answer[6] == 58
    assert (answer[8:24], answer[24:40]) == (OWN.packed, SOURCE.packed)
    assert answer[40:42] == b"\x04\x00"
    assert answer[44:48] == (41).to_bytes(4, "big")
    assert answer[48:] == INVOKING
    body = answer[40:42] + b"\0\0" + answer[44:]
    checksum = compute_checksum(OWN.packed, SOURCE.packed, body, 58)
    assert int.from_bytes(answer[42:44], "big") == checksum


def test_other_mistakes_get_no_answer(answerer):
    assert answerer.answer(ParseError("bad-checksum"), INVOKING, LOCAL, 1.0) is None


def test_a_packet_that_was_only_passing_by_gets_no_answer(answerer):
    assert answerer.answer(unknown_type(destination=HOME), INVOKING, LOCAL, 1.0) is None


def count_answers(answerer, times):
    answers = [answerer.answer(unknown_type(), INVOKING, LOCAL, now) for now in times]
    return sum(answer is not None for answer in answers)


def test_a_flood_gets_a_bounded_number_of_answers(answerer):
    assert count_answers(answerer, [100.0] * 1000) == 10


def test_answers_come_again_with_time_but_never_save_up(answerer):
    count_answers(answerer, [100.0] * 1000)

    assert count_answers(answerer, [100.55] * 1000) == 5
    assert count_answers(answerer, [500.0] * 1000) == 10


def test_what_gets_no_answer_uses_up_nothing(answerer):
    for _ in range(100):
        answerer.answer(unknown_type(destination=HOME), INVOKING, LOCAL, 1.0)

    assert count_answers(answerer, [1.0] * 20) == 10
