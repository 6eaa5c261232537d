"""``mrouter capture`` on files made by hand."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address

import pytest
from capture_samples import (
    ASSOCIATION,
    COA,
    DRAFT,
    HOME,
    HOME_AGENT,
    KEY,
    RFC5648,
    SIGNED,
    TIME,
    show,
    tunnel,
    write_frames,
)
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter, wrpcap

from mrouter.capture.find import find_signalling
from mrouter.capture.pcap import read_frames
from mrouter.capture.run import CaptureOptions, run_capture
from mrouter.protocol.settings import Algorithm, SecurityAssociation
from mrouter.scapy_layers import (
    MIP6FlowSubOptUnknown,
    MIP6MH_BU_Draft01,
    MIP6OptFlowIdentification,
)
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    Packet,
)
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    CareOfAddressInformation,
    FlowIdentification,
    FlowSummary,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    NonceIndices,
    UnknownOption,
)
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector


def from_peer(message, **headers):
    return Packet(HOME_AGENT, COA, message, **headers)


# --- lines ---------------------------------------------------------------------------------


def test_a_binding_update_is_one_line(tmp_path):
    assert show(SIGNED, tmp_path, association=ASSOCIATION) == (
        "12:00:01.250000Z - 2001:db8:1::2 > 2001:db8:f0::2: Binding Update, seq 4711, "
        "lifetime 60 s, flags acknowledge home-registration mobile-router multiple, "
        "HAO 2001:db8:f1::100, IFID 13, IFPRI 1, MNP 2001:db8:a1::/64, "
        "timestamp 2025-11-25T10:14:24.000000Z, SPI 256, auth ok"
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (BindingRefreshRequest(), "Binding Refresh Request"),
        (
            CareOfTestInit(bytes(7) + b"\1", (CareOfAddressInformation(7, 0),)),
            "Care-of Test Init, cookie 0000000000000001, IFID 7, IFPRI 0",
        ),
        (BindingUpdate(1, 0), "Binding Update, seq 1, lifetime 0 s (de-registration)"),
        (
            BindingAcknowledgement(0, 1, 60, options=(BindingRefreshAdvice(40),)),
            "Binding Acknowledgement, accepted, seq 1, lifetime 60 s, refresh advice 40 s",
        ),
        (
            BindingAcknowledgement(135, 1, 0, mobile_router=True),
            "Binding Acknowledgement, sequence-number-out-of-window, seq 1, lifetime 0 s, "
            "flags mobile-router",
        ),
        (
            BindingError(2, HOME),
            "Binding Error, unrecognized-mh-type, home address 2001:db8:f1::100",
        ),
        (
            BindingUpdate(1, 4, options=(AlternateCareOfAddress(COA), NonceIndices(3, 4))),
            "Binding Update, seq 1, lifetime 4 s, alternate CoA 2001:db8:1::2, "
            "nonce indices home 3 care-of 4",
        ),
        (
            BindingUpdate(1, 4, options=(UnknownOption(200, b"abc"),)),
            "Binding Update, seq 1, lifetime 4 s, option 200 (3 octets)",
        ),
        (
            BindingUpdate(1, 4, options=(UnknownOption(8, b"\1me@example"),)),
            "Binding Update, seq 1, lifetime 4 s, "
            "Mobile Node Identifier subtype NAI id b'me@example'",
        ),
        (
            BindingUpdate(1, 4, options=(UnknownOption(8, b"\2me@example"),)),
            "Binding Update, seq 1, lifetime 4 s, "
            "Mobile Node Identifier subtype 2 id b'me@example'",
        ),
        (
            BindingUpdate(1, 4, options=(UnknownOption(8, b""),)),
            "Binding Update, seq 1, lifetime 4 s, option 8 (0 octets)",
        ),
    ],
)
def test_every_message_is_told_in_words(tmp_path, message, expected):
    assert show(from_peer(message), tmp_path).split(": ", 1)[1] == expected


def test_the_routing_header_is_told(tmp_path):
    packet = from_peer(BindingAcknowledgement(0, 1, 60), routing_home_address=HOME)
    assert ", RH2 2001:db8:f1::100" in show(packet, tmp_path)


@pytest.mark.parametrize(
    ("fmt", "name"),
    [(DRAFT, "accepted-np-coa"), (RFC5648, "accepted-but-prefix-discovery-necessary")],
)
def test_status_1_is_named_by_dialect(tmp_path, fmt, name):
    assert f"{name}, seq" in show(from_peer(BindingAcknowledgement(1, 1, 60)), tmp_path, fmt)


def test_status_1_beside_a_binding_identifier_is_the_drafts(tmp_path):
    message = BindingAcknowledgement(1, 1, 60, options=(CareOfAddressInformation(7, 0),))
    assert "accepted-np-coa, seq" in show(from_peer(message), tmp_path, RFC5648)


@pytest.mark.parametrize(("status", "name"), [(165, "mcoa-non-mcoa-binding-exists"), (99, "99")])
def test_other_statuses_have_a_name_or_a_number(tmp_path, status, name):
    assert name in show(from_peer(BindingAcknowledgement(status, 1, 60)), tmp_path, RFC5648)


def test_a_binding_identifier_is_told_with_all_it_has(tmp_path):
    option = CareOfAddressInformation(700, 2, 164, COA, home_and_foreign=True)
    message = BindingUpdate(1, 4, multiple=True, overwrite=True, options=(option,))
    line = show(from_peer(message), tmp_path, RFC5648)
    assert "flags multiple overwrite, " in line
    assert "IFID 700, IFPRI 2 (mcoa-malformed) at 2001:db8:1::2 home-and-foreign" in line


def test_keygen_tokens_are_not_shown(tmp_path):
    message = CareOfTest(7, bytes(8), b"\xaa" * 8)
    assert "aaaa" not in show(from_peer(message), tmp_path)
    assert "aaaa" not in show(from_peer(message), tmp_path, as_json=True)


SELECTOR = TrafficSelector(
    source=(IPv6Address("2001:db8:c::"), IPv6Address("2001:db8:c::ff")),
    destination_ports=(5004, 5004),
    next_header=(17, 17),
)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (
            FlowIdentification(1, 10, (3, 4), SELECTOR),
            "flow 1 priority 10 by IFID 3 4: source 2001:db8:c::-2001:db8:c::ff "
            "destination-ports 5004 next-header 17",
        ),
        (
            FlowIdentification(1, 10, (3,), TrafficSelector()),
            "flow 1 priority 10 by IFID 3: everything",
        ),
        (
            FlowIdentification(1, 10, (3,), UnknownSelector(1, bytes(4))),
            "flow 1 priority 10 by IFID 3: selector of format 1 (4 octets)",
        ),
        (FlowIdentification(1, 10, status=131), "flow 1 priority 10 (bid-not-found)"),
        (FlowIdentification(1, 10, status=99), "flow 1 priority 10 (status 99)"),
        (FlowSummary((1, 2)), "flow summary 1 2"),
    ],
)
def test_flow_bindings_are_told_in_words(tmp_path, option, expected):
    line = show(from_peer(BindingUpdate(1, 4, options=(option,))), tmp_path)
    assert line.endswith(f", lifetime 4 s, {expected}")


NETWORK = IPv4Address("192.0.2.0")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (IPv4HomeAddress(NETWORK, 24, request_prefix=True), "IPv4 prefix 192.0.2.0/24"),
        (IPv4HomeAddress(IPv4Address("192.0.2.7"), 32), "IPv4 address 192.0.2.7/32"),
        (IPv4AddressAcknowledgement(0, NETWORK, 24), "IPv4 192.0.2.0/24 (success)"),
        (
            IPv4AddressAcknowledgement(133, NETWORK),
            "IPv4 192.0.2.0 (prefix-allocation-unauthorized)",
        ),
        (IPv4AddressAcknowledgement(200, NETWORK), "IPv4 192.0.2.0 (status 200)"),
    ],
)
def test_ipv4_networks_are_told_in_words(tmp_path, option, expected):
    line = show(from_peer(BindingUpdate(1, 4, options=(option,))), tmp_path)
    assert line.endswith(f", lifetime 4 s, {expected}")


def test_ipv4_networks_are_told_as_values(tmp_path):
    message = BindingUpdate(1, 4, options=(IPv4HomeAddress(NETWORK, 24, request_prefix=True),))
    line = json.loads(show(from_peer(message), tmp_path, as_json=True))
    assert line["options"] == [
        {
            "option": "ipv4-home-address",
            "address": "192.0.2.0",
            "prefix_length": 24,
            "request_prefix": True,
        }
    ]


def test_a_flow_binding_that_cannot_be_read_is_told_as_malformed(tmp_path):
    odd = MIP6FlowSubOptUnknown(otype=2, odata=b"abc")
    option = MIP6OptFlowIdentification(fid=1, fidpri=10, suboptions=[odd])
    update = MIP6MH_BU_Draft01(seq=1, mhtime=1, options=[option])
    line = show(bytes(IPv6(src=str(COA), dst=str(HOME_AGENT)) / update), tmp_path)
    assert line.endswith(", flow 1 priority 10 malformed")


def test_json_has_a_flows_selector(tmp_path):
    option = FlowIdentification(1, 10, (3,), SELECTOR)
    message = BindingUpdate(1, 4, options=(option,))
    (told,) = json.loads(show(from_peer(message), tmp_path, as_json=True))["options"]
    assert told["ifids"] == [3]
    assert told["selector"]["destination_ports"] == [5004, 5004]
    assert told["selector"]["spi"] is None


# --- authenticators ------------------------------------------------------------------------


def test_an_authenticator_of_another_key_is_wrong(tmp_path):
    other = SecurityAssociation(256, Algorithm.HMAC_SHA256, bytes(32))
    assert show(SIGNED, tmp_path, association=other).endswith("auth WRONG")


@pytest.mark.parametrize(
    "association", [None, SecurityAssociation(300, Algorithm.HMAC_SHA256, KEY)]
)
def test_without_the_key_of_its_spi_nothing_is_claimed(tmp_path, association):
    assert show(SIGNED, tmp_path, association=association).endswith("SPI 256, auth ?")


def test_binding_authorization_data_cannot_be_judged(tmp_path):
    message = BindingUpdate(1, 4, options=(BindingAuthorizationData(bytes(12)),))
    line = show(from_peer(message), tmp_path, association=ASSOCIATION)
    assert line.endswith("Binding Authorization Data, auth ?")


def test_a_message_without_an_authenticator_has_no_verdict(tmp_path):
    assert "auth" not in show(from_peer(BindingUpdate(1, 4)), tmp_path, association=ASSOCIATION)


# --- what is refused, and what is found -----------------------------------------------------


def test_a_wrong_checksum_is_shown_with_its_reason(tmp_path):
    spoilt = SIGNED[:-1] + bytes((SIGNED[-1] ^ 1,))
    line = show(spoilt, tmp_path)
    assert line.endswith("2001:db8:1::2 > 2001:db8:f0::2: Binding Update, REFUSED bad-checksum")


def test_a_packet_cut_short_is_shown(tmp_path):
    assert "Mobility Header, REFUSED truncated" in show(
        tunnel(b"")[:6] + b"\x87" + SIGNED[7:41], tmp_path
    )


def test_a_header_that_the_daemons_refuse_is_shown(tmp_path):
    packet = bytes(IPv6(src=str(COA), dst=str(HOME_AGENT)) / IPv6ExtHdrHopByHop(nh=135))
    assert "REFUSED not-mobility-header" in show(packet + SIGNED[64:], tmp_path)


def test_what_follows_rubbish_is_shown_as_well(tmp_path):
    path = write_frames(tmp_path / "two.pcap", SIGNED[:70], SIGNED)
    lines = []
    assert run_capture(CaptureOptions(read=path), DRAFT, None, lines.append) == 2
    assert "REFUSED" in lines[0]
    assert "seq 4711" in lines[1]


def test_signalling_inside_tunnels_is_shown_with_them(tmp_path):
    twice = tunnel(tunnel(SIGNED), "2001:db8:8::1", "2001:db8:8::2")
    line = show(twice, tmp_path, association=ASSOCIATION)
    assert (
        "[2001:db8:8::1 > 2001:db8:8::2] [2001:db8:9::1 > 2001:db8:9::2] 2001:db8:1::2 > "
    ) in line
    assert line.endswith("auth ok")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(40),
        bytes(IPv6(src="::1", dst="::1", nh=17)) + bytes(20),
        bytes(IPv6(src="::1", dst="::1", nh=0)),
        tunnel(b"\x45" + bytes(60)),
        tunnel(SIGNED[:30]),
    ],
)
def test_what_is_no_signalling_is_passed_over(data):
    assert find_signalling(data) is None


def test_deep_tunnels_are_followed_to_a_limit():
    data = SIGNED
    for _ in range(8):
        data = tunnel(data)
    assert find_signalling(data) is None
    assert find_signalling(data[3 * 40 :]) is not None


# --- files ---------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path):
    path = write_frames(tmp_path / "some.pcap", SIGNED, tunnel(SIGNED))
    assert [(frame.time, frame.data) for frame in read_frames(path)] == [
        (TIME, SIGNED),
        (TIME, tunnel(SIGNED)),
    ]


def test_ethernet_is_taken_off(tmp_path):
    path = tmp_path / "ethernet.pcap"
    wrpcap(str(path), [Ether() / IPv6(SIGNED)])
    assert [frame.data for frame in read_frames(path)] == [SIGNED]


def test_an_interface_name_in_pcapng_is_the_link(tmp_path):
    path = tmp_path / "named.pcapng"
    packet = Ether() / IPv6(SIGNED)
    packet.sniffed_on = "sat0"
    writer = PcapNgWriter(str(path))
    writer.write(packet)
    writer.close()
    assert [frame.link for frame in read_frames(path)] == ["sat0"]


def test_only_signalling_is_written_and_the_count_ends_it(tmp_path):
    other = bytes(IPv6(src="::1", dst="::1", nh=59))
    path = write_frames(tmp_path / "all.pcap", other, SIGNED, other, SIGNED, SIGNED)
    kept = tmp_path / "kept.pcap"
    lines = []
    options = CaptureOptions(read=path, write=kept, count=2)
    assert run_capture(options, DRAFT, None, lines.append) == 2
    assert [frame.data for frame in read_frames(kept)] == [SIGNED, SIGNED]


def test_json_has_every_value(tmp_path):
    value = json.loads(show(tunnel(SIGNED), tmp_path, association=ASSOCIATION, as_json=True))
    assert value["time"] == "2025-11-24T12:00:01.250000Z"
    assert (value["message"], value["sequence"], value["lifetime"]) == ("Binding Update", 4711, 60)
    assert value["home_address_option"] == str(HOME)
    assert value["tunnels"] == [{"source": "2001:db8:9::1", "destination": "2001:db8:9::2"}]
    assert value["options"][0]["ifid"] == 13
    assert value["options"][1] == {
        "option": "mobile-network-prefix",
        "prefix": "2001:db8:a1::/64",
    }
    assert value["auth"] == "ok"


def test_json_has_the_reason_of_a_refusal(tmp_path):
    value = json.loads(show(SIGNED[:70], tmp_path, as_json=True))
    assert value["refused"]["reason"] == "truncated"
