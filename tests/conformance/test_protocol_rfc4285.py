"""RFC 4285: authentication (section 5) and replay protection (section 6), both sides."""

from dataclasses import replace

import pytest
from protocol_world import (
    AGENT,
    HOME_AGENT,
    KEY,
    LTE,
    OTHER_KEY,
    WIFI,
    answer_of,
    at,
    connect,
    counts,
    make_acknowledgement,
    make_agent,
    make_router,
    make_update,
    only,
    packets,
    register,
    send,
    through_wire,
    without_keys,
)

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import Counted, SendPacket
from mrouter.protocol.keys import from_ntp_timestamp, to_ntp_timestamp, verify_authenticator
from mrouter.protocol.settings import Algorithm, SecurityAssociation
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import BindingUpdate, find_option
from mrouter.wire.options import AlternateCareOfAddress, MnHaAuthentication, ReplayProtection

WRONG_KEY = SecurityAssociation(KEY.spi, KEY.algorithm, b"w" * 32)


def make_agent_with_binding():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    return agent, agent.entries


# --- 5: authentication at the home agent ------------------------------------------------------


def test_5_wrong_key_is_answered_with_authentication_failed_and_changes_nothing():
    agent, before = make_agent_with_binding()
    update = make_update(at(1), ifid=1, sequence=2, source=WIFI.address, signed_by=WRONG_KEY)
    effects = send(agent, update, at(1))
    answer = only(packets(effects))
    assert answer.message.status == BindingStatus.AUTHENTICATION_FAILED
    assert verify_authenticator(KEY, through_wire(answer))
    assert counts(effects) == [("authentication-failed", "authentication-failed")]
    assert agent.entries is before


def test_5_wrong_key_does_not_use_up_the_timestamp():
    agent, _ = make_agent_with_binding()
    send(agent, make_update(at(2), ifid=1, sequence=2, signed_by=WRONG_KEY), at(2))
    assert answer_of(agent, make_update(at(2), ifid=1, sequence=2), at(2)).status == 1


def test_5_unknown_spi_is_discarded():
    agent, before = make_agent_with_binding()
    update = make_update(at(1), ifid=1, sequence=2, key=OTHER_KEY)
    assert send(agent, update, at(1)) == [Counted("authentication-failed", "unknown-spi")]
    assert agent.entries is before


def test_5_missing_option_is_discarded():
    agent, before = make_agent_with_binding()
    update = make_update(at(1), ifid=1, sequence=2, key=None)
    assert send(agent, update, at(1)) == [Counted("authentication-failed", "missing")]
    assert agent.entries is before


@pytest.mark.parametrize(
    "change",
    [
        {"source": WIFI.address},
        {"home_address": None},
        {"signed_part": b"another header"},
    ],
)
def test_5_1_care_of_address_home_address_and_header_are_covered(change):
    agent, before = make_agent_with_binding()
    send(agent, replace(make_update(at(1), ifid=1, sequence=2), **change), at(1))
    assert agent.entries is before


def test_5_1_alternate_care_of_address_is_covered():
    update = make_update(at(1), ifid=1, sequence=2, source=WIFI.address, alternate=LTE.address)
    options = tuple(
        AlternateCareOfAddress(WIFI.address) if isinstance(o, AlternateCareOfAddress) else o
        for o in update.message.options
    )
    forged = replace(update, message=replace(update.message, options=options))
    answer = answer_of(make_agent(), forged, at(1))
    assert answer.status == BindingStatus.AUTHENTICATION_FAILED


def test_5_answer_is_signed_under_the_spi_of_the_update():
    effects = send(make_agent(), make_update(at(0), ifid=1), at(0))
    sent = next(effect for effect in effects if isinstance(effect, SendPacket))
    assert sent.key_for == AGENT.served[0].home_address
    assert sent.packet.message.options[-1] == MnHaAuthentication(KEY.spi)


def test_5_both_keys_are_accepted_while_one_is_rotated():
    new = SecurityAssociation(300, Algorithm.HMAC_SHA256, b"n" * 32)
    agent = make_agent(served=(replace(AGENT.served[0], security=(KEY, new)),))
    for second, key in enumerate([KEY, new]):
        update = make_update(at(second), ifid=1, sequence=second, key=key)
        answer = answer_of(agent, update, at(second))
        assert answer.options[-1].spi == key.spi
        assert answer.status == 1


def test_without_keys_ipsec_protects_and_nothing_is_asked_for():
    agent = make_agent(**without_keys())
    answer = answer_of(agent, make_update(at(0), ifid=1, key=None), at(0))
    assert answer.status == 1
    assert find_option(answer, MnHaAuthentication) is None


def test_5_1_1_option_that_nobody_shares_a_key_for_is_discarded():
    agent = make_agent(**without_keys())
    effects = send(agent, make_update(at(0), ifid=1), at(0))
    assert effects == [Counted("authentication-failed", "unknown-spi")]
    assert agent.entries == ()


# --- 5: authentication at the mobile router ---------------------------------------------------


def test_5_update_ends_with_an_option_to_be_signed():
    router = make_router()
    update = only(connect(router, LTE))
    assert isinstance(update.message.options[-1], MnHaAuthentication)
    assert verify_authenticator(KEY, update)


@pytest.mark.parametrize(
    ("how", "reason"), [({"key": None}, "missing"), ({"signed_by": WRONG_KEY}, "wrong")]
)
def test_5_acknowledgement_that_is_not_authentic_is_silently_discarded(how, reason):
    router = make_router()
    update = only(connect(router, LTE))
    effects = send(router, make_acknowledgement(update, **how), at(0))
    assert effects == [Counted("authentication-failed", reason)]
    assert not only(router.entries).usable


def test_signed_authentication_failure_does_not_end_a_registration():
    router = make_router()
    register(router, LTE)
    refresh = only(connect(router, replace(LTE, ifpri=5), seconds=10))
    effects = send(router, make_acknowledgement(refresh, 146, lifetime=0), at(10))
    assert counts(effects) == [("authentication-failed", "refused-by-home-agent")]
    assert only(router.entries).usable


# --- 6: replay protection at the home agent ---------------------------------------------------


def test_6_replayed_update_changes_nothing_and_learns_only_our_time():
    agent = make_agent()
    recorded = make_update(at(0), ifid=1)
    send(agent, recorded, at(0))
    send(agent, make_update(at(1), ifid=1, sequence=2, source=WIFI.address), at(1))
    before = agent.entries
    answer = answer_of(agent, recorded, at(2))
    assert answer.status == BindingStatus.ID_MISMATCH
    assert from_ntp_timestamp(find_option(answer, ReplayProtection).timestamp) == at(2).unix
    assert agent.entries is before


def test_6_update_cannot_be_replayed_after_the_binding_has_ended():
    agent = make_agent()
    recorded = make_update(at(0), ifid=1)
    send(agent, recorded, at(0))
    send(agent, make_update(at(1), ifid=1, sequence=2, lifetime=0), at(1))
    assert answer_of(agent, recorded, at(2)).status == BindingStatus.ID_MISMATCH
    assert agent.entries == ()


def test_6_update_cannot_be_replayed_after_all_bindings_were_ended_at_once():
    agent = make_agent()
    unseen = make_update(at(0), ifid=1)
    send(agent, make_update(at(1), ifid=2), at(1))
    send(agent, make_update(at(2), lifetime=0), at(2))
    assert answer_of(agent, unseen, at(3)).status == BindingStatus.ID_MISMATCH


def test_6_update_from_before_a_restart_cannot_be_replayed():
    recorded = make_update(at(0), ifid=1)
    agent = make_agent(started=1)
    assert answer_of(agent, recorded, at(2)).status == BindingStatus.ID_MISMATCH


@pytest.mark.parametrize("skew", [-8, 8])
def test_6_timestamp_outside_the_window_is_refused(skew):
    agent = make_agent(started=-100)
    update = make_update(at(0, skew), ifid=1)
    assert answer_of(agent, update, at(0)).status == BindingStatus.ID_MISMATCH
    assert agent.entries == ()


def test_6_missing_timestamp_is_asked_for():
    update = make_update(at(0), ifid=1, timestamp=None)
    assert answer_of(make_agent(), update, at(0)).status == BindingStatus.MESSAGE_ID_REQUIRED


def test_6_timestamp_is_echoed():
    update = make_update(at(0), ifid=1)
    answer = answer_of(make_agent(), update, at(0))
    assert find_option(answer, ReplayProtection) == ReplayProtection(to_ntp_timestamp(at(0).unix))


# --- 6: replay protection at the mobile router ------------------------------------------------


def test_6_timestamps_grow_also_within_one_moment():
    first, second = connect(make_router(), LTE, WIFI)
    stamps = [find_option(u.message, ReplayProtection).timestamp for u in (first, second)]
    assert stamps[0] < stamps[1]


def test_6_acknowledgement_with_another_timestamp_is_ignored():
    router = make_router()
    update = only(connect(router, LTE))
    effects = send(router, make_acknowledgement(update, timestamp=77), at(0))
    assert effects == [Counted("signalling-dropped", "not-the-last-update")]
    assert not only(router.entries).usable


@pytest.mark.parametrize("ahead", [500, -500])
def test_6_mismatch_sets_the_clock_and_the_update_is_repeated_at_once(ahead):
    router = make_router()
    update = only(connect(router, LTE))
    theirs = to_ntp_timestamp(at(ahead).unix)
    refusal = make_acknowledgement(update, 144, lifetime=0, timestamp=theirs)
    repeated = only(packets(send(router, refusal, at(0.1)), BindingUpdate))
    stamp = find_option(repeated.message, ReplayProtection).timestamp
    assert from_ntp_timestamp(stamp) == pytest.approx(at(ahead).unix, abs=0.001)


def test_6_clock_is_not_set_back_for_an_update_that_came_twice():
    router = make_router()
    update = only(connect(router, LTE))
    theirs = to_ntp_timestamp(at(-5).unix)  # of a home agent whose window holds ours, too
    refusal = make_acknowledgement(update, 144, lifetime=0, timestamp=theirs)
    repeated = only(packets(send(router, refusal, at(0.1)), BindingUpdate))
    stamps = [find_option(u.message, ReplayProtection).timestamp for u in (update, repeated)]
    assert stamps[0] < stamps[1]


def test_6_clock_is_set_back_for_a_home_agent_that_insists():
    router = make_router()
    update = only(connect(router, LTE))
    theirs = to_ntp_timestamp(at(-5).unix)
    for seconds in (0.1, 0.2):
        refusal = make_acknowledgement(update, 144, lifetime=0, timestamp=theirs)
        update = through_wire(only(packets(send(router, refusal, at(seconds)), BindingUpdate)))
    stamp = find_option(update.message, ReplayProtection).timestamp
    assert from_ntp_timestamp(stamp) == pytest.approx(at(-5).unix, abs=0.001)


def test_6_endless_mismatches_are_not_answered_without_end():
    router = make_router()
    update = only(connect(router, LTE))
    repeated = 0
    for _ in range(10):
        theirs = to_ntp_timestamp(at(500).unix)
        refusal = make_acknowledgement(update, 144, lifetime=0, timestamp=theirs)
        for packet in packets(send(router, refusal, at(0.1)), BindingUpdate):
            update = through_wire(packet)
            repeated += 1
    assert repeated == 2
    assert only(router.entries).state is BindingState.REGISTERING


def test_6_home_agent_that_wants_a_timestamp_gets_one():
    router = make_router(security=None)
    update = only(connect(router, LTE))
    assert find_option(update.message, ReplayProtection) is None
    refusal = make_acknowledgement(update, 145, lifetime=0, key=None)
    repeated = only(packets(send(router, refusal, at(0.1)), BindingUpdate))
    assert find_option(repeated.message, ReplayProtection) is not None
    assert repeated.destination == HOME_AGENT
