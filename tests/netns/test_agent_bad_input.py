"""Bad input at running agents: answered as its section says, counted, and disturbing nothing."""

from __future__ import annotations

import os
import secrets
import struct
import time
from ipaddress import IPv6Address, IPv6Network
from random import Random

import pytest
from agent_lab import (
    FORMAT,
    HOME_AGENT,
    MOBILE_ROUTER,
    AgentLab,
    count_event,
    count_signalling,
    describe_bindings,
    read_samples,
    wait_until,
)

from mrouter.lab import plan
from mrouter.lab.configs import CALL_PORT, SPI
from mrouter.protocol.keys import PacketSigner, to_ntp_timestamp
from mrouter.protocol.settings import Algorithm, SecurityAssociation
from mrouter.wire.checksum import compute_checksum
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    HomeTestInit,
    Packet,
    find_option,
)
from mrouter.wire.options import (
    CareOfAddressInformation,
    MnHaAuthentication,
    MobileNetworkPrefix,
    ReplayProtection,
)
from mrouter.wire.packet import parse_packet, serialize_packet

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
LTE = plan.find_link("lte")
ATTACKER = IPv6Address("2001:db8:c::66")
HA, MR, HOME = plan.HA_ADDRESS, LTE.care_of_address, plan.HOME_ADDRESS
OTHER_HOME = IPv6Address("2001:db8:f1::200")
OTHER_PREFIX = IPv6Network("2001:db8:a2::/64")
OTHER_ROUTER = f"""
[[mobile-router]]
name = "other"
home-address = "{OTHER_HOME}"
prefixes = ["{OTHER_PREFIX}"]
security = [{{ spi = {SPI}, algorithm = "hmac-sha256", key-file = "other.key" }}]
"""
WRONG_KEY = SecurityAssociation(SPI, Algorithm.HMAC_SHA256, b"wrong" * 7)


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        # so long that no refresh of its own falls into a test
        lab.edit(lab.files.mobile_router, "lifetime = 60\n", "lifetime = 600\n")
        key = lab.directory / "other.key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32))
        with lab.files.home_agent.open("a") as file:
            file.write(OTHER_ROUTER)
        yield lab.start()


@pytest.fixture(scope="module")
def send(lab):
    """Sends from the Internet, from whatever address."""
    return lab.sender("net")


@pytest.fixture
def answers(lab):
    """Sees what the home agent sends."""
    return lab.sniffer("net", "ha")


class Watch:
    """The agent's counters and bindings before and after."""

    def __init__(self, lab, role):
        self._lab, self._role = lab, role
        self._before = lab.ask(role)
        self.bindings = describe_bindings(self._before)

    def await_parse_failures(self, reason, count=1):
        before = self._before["parse_failures"].get(reason, 0)
        wait_until(
            lambda: self._lab.ask(self._role)["parse_failures"].get(reason, 0) == before + count,
            what=f"{count} parse failures: {reason}",
        )
        self.check_bindings()

    def await_event(self, event, reason, count=1):
        before = count_event(self._before, event, reason)
        wait_until(
            lambda: count_event(self._lab.ask(self._role), event, reason) == before + count,
            what=f"{event}: {reason}",
        )
        self.check_bindings()

    def await_messages(self, count):
        expected = count_signalling(self._before) + count
        wait_until(
            lambda: count_signalling(self._lab.ask(self._role)) >= expected,
            what=f"{count} packets",
        )
        assert count_signalling(self._lab.ask(self._role)) == expected
        self.check_bindings()

    def check_bindings(self):
        assert describe_bindings(self._lab.ask(self._role)) == self.bindings


@pytest.fixture
def home_agent(lab):
    return Watch(lab, HOME_AGENT)


@pytest.fixture
def mobile_router(lab):
    return Watch(lab, MOBILE_ROUTER)


def make_update(
    *,
    home=OTHER_HOME,
    source=ATTACKER,
    ifid=9,
    sequence=1,
    lifetime=60,
    prefixes=(),
    signed=True,
    stamp=None,
):
    options = [CareOfAddressInformation(ifid, 0), *map(MobileNetworkPrefix, prefixes)]
    if signed:
        moment = time.time() if stamp is None else stamp
        options += [ReplayProtection(to_ntp_timestamp(moment)), MnHaAuthentication(SPI)]
    message = BindingUpdate(
        sequence=sequence,
        lifetime=lifetime,
        acknowledge=True,
        home_registration=True,
        mobile_router=True,
        multiple=True,
        options=tuple(options),
    )
    return Packet(source, HA, message, home_address=home)


def make_header(kind, body, *, proto=59, length=None, source, destination, checksum=None):
    """Return an IPv6 packet with a Mobility Header of these fields, right but for what is asked."""
    body += bytes(-(len(body) + 6) % 8)
    length = (len(body) + 6) // 8 - 1 if length is None else length
    header = bytearray(struct.pack("!BBBBH", proto, length, kind, 0, 0) + body)
    right = compute_checksum(source.packed, destination.packed, bytes(header))
    header[4:6] = (right if checksum is None else checksum).to_bytes(2, "big")
    start = struct.pack("!IHBB", 6 << 28, len(header), 135, 64)
    return start + source.packed + destination.packed + bytes(header)


def to_home_agent(kind, body, **fields):
    return make_header(kind, body, **{"source": ATTACKER, "destination": HA, **fields})


def to_mobile_router(kind, body, **fields):
    return make_header(kind, body, **{"source": ATTACKER, "destination": MR, **fields})


def make_fuzz(random, source, destination):
    """Return rubbish that still finds its way to the agent's parser."""
    kind = random.choice([0, 1, 2, 3, 4, 5, 5, 6, 6, 7, random.randrange(256)])
    fields = {"source": source, "destination": destination}
    if random.random() < 0.2:
        fields["proto"] = random.randrange(256)
    if random.random() < 0.2:
        fields["length"] = random.randrange(256)
    if random.random() < 0.1:
        fields["checksum"] = random.randrange(65536)
    return make_header(kind, random.randbytes(random.randrange(2, 90)), **fields)


def read_parameter_problem(data):
    """Return (code, pointer) of an ICMPv6 Parameter Problem to the attacker."""
    if data[6] == 58 and data[40] == 4 and data[24:40] == ATTACKER.packed:
        return data[41], int.from_bytes(data[44:48], "big")
    return None


# --- the home agent: what cannot be read ------------------------------------------------------


def test_a_truncated_header_is_counted(send, home_agent):
    send(to_home_agent(5, bytes(10), length=200))
    home_agent.await_parse_failures("truncated")


def test_a_wrong_checksum_is_counted(send, home_agent):
    send(to_home_agent(5, bytes(10), checksum=0x1234))
    home_agent.await_parse_failures("bad-checksum")


def test_an_option_that_ends_after_its_header_is_counted(send, home_agent):
    send(to_home_agent(5, bytes(6) + b"\xc0\x63\x01\x01"))
    home_agent.await_parse_failures("truncated")


def test_an_option_of_a_wrong_length_is_counted(send, home_agent):
    send(to_home_agent(5, bytes(6) + b"\xc0\x01\x01\x00"))
    home_agent.await_parse_failures("bad-option-length")


def test_an_unknown_type_is_answered_with_binding_error_2(send, answers, home_agent):
    send(to_home_agent(99, bytes(10)))

    packet = answers.find_message(BindingError)

    assert (packet.source, packet.destination) == (HA, ATTACKER)
    assert packet.message.status == 2
    home_agent.await_parse_failures("unknown-mh-type")


def test_a_wrong_payload_proto_is_answered_with_a_parameter_problem(send, answers, home_agent):
    send(to_home_agent(5, bytes(10), proto=6))

    assert answers.find(read_parameter_problem) == (0, 40)
    home_agent.await_parse_failures("bad-payload-proto")


def test_a_header_that_is_too_short_is_answered_with_a_parameter_problem(send, answers, home_agent):
    send(to_home_agent(5, bytes(2)))

    assert answers.find(read_parameter_problem) == (0, 41)
    home_agent.await_parse_failures("bad-header-length")


def test_a_home_test_init_is_answered_with_binding_error_2(send, answers, home_agent):
    send.message(Packet(ATTACKER, HA, HomeTestInit(bytes(8))))

    assert answers.find_message(BindingError).message.status == 2
    home_agent.await_event("signalling-dropped", "unexpected-message")


# --- the home agent: who may not ----------------------------------------------------------


@pytest.mark.parametrize(("home", "status"), [("2001:db8:f1::999", 133), ("2001:db8:ffff::1", 132)])
def test_a_home_address_that_is_not_served_is_refused(lab, send, answers, home_agent, home, status):
    send.message(make_update(home=IPv6Address(home)), lab.key())

    assert answers.find_message(BindingAcknowledgement).message.status == status
    home_agent.check_bindings()


def test_a_wrong_key_is_answered_with_146_and_counted(lab, send, answers, home_agent):
    before = read_samples(lab.scrape("ha"))
    send.message(make_update(home=HOME), WRONG_KEY)

    assert answers.find_message(BindingAcknowledgement).message.status == 146
    home_agent.await_event("authentication-failed", "authentication-failed")
    name = (
        'mrouter_signalling_events_total{event="authentication-failed",'
        'reason="authentication-failed"}'
    )
    assert read_samples(lab.scrape("ha"))[name] == before.get(name, 0) + 1


def test_an_unsigned_update_gets_no_answer_and_is_counted(send, answers, home_agent):
    send.message(make_update(home=HOME, signed=False))

    home_agent.await_event("authentication-failed", "missing")
    with pytest.raises(AssertionError, match="did not come"):
        answers.find_message(BindingAcknowledgement, timeout=0.3)


@pytest.mark.parametrize(
    ("prefix", "status"), [(str(plan.MOBILE_NETWORK_PREFIX), 142), ("2001:db8:77::/64", 142)]
)
def test_a_prefix_that_is_not_the_mobile_routers_is_refused(
    lab, send, answers, home_agent, prefix, status
):
    send.message(make_update(prefixes=[IPv6Network(prefix)]), lab.key("other.key"))

    assert answers.find_message(BindingAcknowledgement).message.status == status
    home_agent.check_bindings()


def test_a_replayed_update_of_the_mobile_router_changes_nothing(lab, send, answers):
    sniffer = lab.sniffer("net", "lte")
    ifid = lab.bindings()[MR]["ifid"]
    request = BindingRefreshRequest((CareOfAddressInformation(ifid, 0),))
    time.sleep(1.0)  # the mobile router refreshes at most once a second when asked to
    lab.sender("ha").message(Packet(HA, MR, request, routing_home_address=HOME))

    def keep_update(data):
        if data[8:24] != MR.packed or data[6] != 60:
            return None
        return data if isinstance(parse_packet(data, FORMAT).message, BindingUpdate) else None

    recorded = sniffer.find(keep_update)
    assert answers.find_message(BindingAcknowledgement).message.status == 1
    before = lab.bindings()
    time.sleep(0.3)

    send(recorded)

    answer = answers.find_message(BindingAcknowledgement)
    assert answer.message.status in (135, 144)
    assert find_option(answer.message, CareOfAddressInformation) is not None
    after = lab.bindings()
    assert after[MR]["lifetime_left"] < before[MR]["lifetime_left"] - 0.25
    assert describe_bindings({"bindings": list(after.values())}) == describe_bindings(
        {"bindings": list(before.values())}
    )


@pytest.mark.parametrize("skew", [-60.0, 60.0])
def test_a_timestamp_far_from_now_is_answered_with_144(lab, send, answers, home_agent, skew):
    send.message(make_update(stamp=time.time() + skew), lab.key("other.key"))

    assert answers.find_message(BindingAcknowledgement).message.status == 144
    home_agent.check_bindings()


# --- the mobile router --------------------------------------------------------------------


def make_acknowledgement(status, ifid, *, signed=True):
    options = [CareOfAddressInformation(ifid, 0)]
    if signed:
        options += [ReplayProtection(to_ntp_timestamp(time.time())), MnHaAuthentication(SPI)]
    message = BindingAcknowledgement(
        status=status, sequence=1, lifetime=0, mobile_router=True, options=tuple(options)
    )
    return Packet(HA, MR, message, routing_home_address=HOME)


def test_a_mobile_router_answers_an_unknown_type_with_binding_error_2(lab, send, mobile_router):
    answers = lab.sniffer("net", "lte")
    send(to_mobile_router(77, bytes(10)))

    packet = answers.find_message(BindingError)

    assert (packet.source, packet.destination, packet.message.status) == (MR, ATTACKER, 2)
    mobile_router.await_parse_failures("unknown-mh-type")


def test_a_mobile_router_answers_a_wrong_payload_proto(lab, send, mobile_router):
    answers = lab.sniffer("net", "lte")
    send(to_mobile_router(6, bytes(10), proto=17))

    assert answers.find(read_parameter_problem) == (0, 40)
    mobile_router.await_parse_failures("bad-payload-proto")


def test_an_acknowledgement_signed_with_a_wrong_key_is_counted(lab, send, mobile_router):
    ifid = mobile_router.bindings[0]["ifid"]
    send.message(make_acknowledgement(129, ifid), WRONG_KEY)
    mobile_router.await_event("authentication-failed", "wrong")


def test_an_acknowledgement_without_a_signature_is_counted(lab, send, mobile_router):
    ifid = mobile_router.bindings[0]["ifid"]
    send.message(make_acknowledgement(129, ifid, signed=False))
    mobile_router.await_event("authentication-failed", "missing")


def test_signalling_from_elsewhere_than_the_home_agent_is_counted(send, mobile_router):
    send.message(Packet(ATTACKER, MR, BindingRefreshRequest(), routing_home_address=HOME))
    mobile_router.await_event("signalling-dropped", "not-from-home-agent")


@pytest.mark.parametrize(
    ("status", "event"),
    [
        # it may be true that the home agent has lost them: they are registered once more
        (1, ("bindings-forgotten", "by-home-agent")),
        (2, ("signalling-dropped", "binding-error-ignored")),
    ],
)
def test_a_forged_binding_error_ends_no_registration(send, mobile_router, status, event):
    send.message(Packet(HA, MR, BindingError(status, HOME)))
    mobile_router.await_event(*event)


# --- all at once --------------------------------------------------------------------------


def test_fuzz_is_counted_packet_by_packet_and_disturbs_no_flow(
    lab, send, home_agent, mobile_router
):
    streams = [lab.stream(4.0), lab.stream(4.0, port=CALL_PORT)]
    random = Random(20)
    for number in range(300):
        send(make_fuzz(random, ATTACKER, HA))
        # also what claims to be the home agent's
        send(make_fuzz(random, ATTACKER if number % 2 else HA, MR))
        time.sleep(0.005)
    for number in range(50):
        update = make_update(home=HOME, sequence=number)
        data = bytearray(serialize_packet(update, FORMAT, PacketSigner(WRONG_KEY)))
        data[random.randrange(40, len(data))] ^= 1 << random.randrange(8)
        send(bytes(data))

    mobile_router.await_messages(300)
    wait_until(lambda: count_signalling(lab.home_agent()) >= 300)
    home_agent.check_bindings()
    assert [stream.result() for stream in streams] == [[(0, 0), (0, 0)]] * 2
    assert "Traceback" not in lab.log(HOME_AGENT) + lab.log(MOBILE_ROUTER)
