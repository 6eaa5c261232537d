"""A Binding Acknowledgement's status in dialect rfc5648, beside Binding Identifiers."""

from __future__ import annotations

import pytest
from wire_strategies import DRAFT, RFC5648

from mrouter.wire.message_codec import parse_message, serialize_message
from mrouter.wire.messages import BindingAcknowledgement
from mrouter.wire.options import CareOfAddressInformation

ACCEPTED, REFUSED = "23 04 0007 00 01", "23 04 0008 a4 01"  # BID 7: 0, BID 8: 164


def read(status, *options):
    header = bytes.fromhex(f"3b 00 06 00 0000 {status:02x} 00 0001 0001" + "".join(options))
    return parse_message(header, RFC5648).message.status


def write(status, *statuses):
    options = tuple(
        CareOfAddressInformation(ifid, 0, status=own) for ifid, own in enumerate(statuses, 7)
    )
    message = BindingAcknowledgement(status, 1, 4, options=options)
    return serialize_message(message, RFC5648).header[6]


@pytest.mark.parametrize("status", [0, 1])
def test_accepted_binding_is_the_drafts_status_1(status):
    assert read(status, ACCEPTED) == 1


@pytest.mark.parametrize("status", [0, 1, 4, 128, 165])
def test_status_without_a_binding_identifier_is_as_it_stands(status):
    assert read(status) == status
    assert write(status) == status


def test_accepted_binding_is_written_as_status_0():
    assert write(1, 0) == 0


@pytest.mark.parametrize("status", [0, 1, 4, 128, 164])
def test_refusal_of_a_single_binding_is_the_messages(status):
    assert read(status, REFUSED) == 164


@pytest.mark.parametrize("status", [0, 4, 128])
def test_any_status_of_a_single_binding_takes_the_place_of_the_headers(status):
    assert read(status, "23 04 0007 05 01") == 5


def test_incomplete_registration_of_an_accepted_binding_stays():
    assert read(4, ACCEPTED) == 4


@pytest.mark.parametrize(("status", "model"), [(0, 1), (1, 1), (4, 4), (128, 128)])
def test_several_bindings_keep_their_own_statuses(status, model):
    header = bytes.fromhex(f"3b 00 06 00 0000 {status:02x} 00 0001 0001" + ACCEPTED + REFUSED)
    message = parse_message(header, RFC5648).message
    assert message.status == model
    assert [option.status for option in message.options] == [0, 164]


@pytest.mark.parametrize(("status", "own"), [(164, 0), (164, 164)])
def test_refusal_in_the_header_stands(status, own):
    assert read(status, f"23 04 0007 {own:02x} 01") == status
    assert write(status, own) == status


@pytest.mark.parametrize(
    ("status", "statuses"),
    [(0, [0]), (0, [0, 0]), (0, [164]), (1, [164]), (4, [164]), (128, [164])],
)
def test_status_that_would_be_read_as_another_is_not_written(status, statuses):
    with pytest.raises(ValueError, match=f"status {status} "):
        write(status, *statuses)


@pytest.mark.parametrize("statuses", [[0, 164], [164, 164], [0]])
def test_incomplete_registration_is_written(statuses):
    assert write(4, *statuses) == 4


def test_draft_writes_its_status_1():
    message = BindingAcknowledgement(1, 1, 4, options=(CareOfAddressInformation(7, 0),))
    assert serialize_message(message, DRAFT).header[6] == 1
