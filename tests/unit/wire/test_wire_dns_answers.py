from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR, dns_compress
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from wire_strategies import unhurried

from mrouter.errors import ParseError
from mrouter.wire.dns_answers import NamedAddress, parse_dns_answer, parse_dns_packet

ADDRESS, OTHER = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
QUESTION_AT = 12


def aaaa(name, address=ADDRESS, ttl=300):
    return DNSRR(rrname=name, type="AAAA", ttl=ttl, rdata=str(address))


def alias(name, target, ttl=300):
    return DNSRR(rrname=name, type="CNAME", ttl=ttl, rdata=target)


def make_answer(name, *records, **fields):
    question = DNSQR(qname=name, qtype="AAAA")
    return DNS(**{"id": 7, "qr": 1, "qd": [question], "an": list(records), **fields})


def parse(answer):
    return parse_dns_answer(bytes(answer))


def refuse(message):
    with pytest.raises(ParseError) as caught:
        parse_dns_answer(bytes(message))
    return caught.value.reason


labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)
names = st.lists(labels, min_size=1, max_size=5).map(".".join)
ttls = st.integers(0, 2**31 - 1)


@unhurried
@given(
    chain=st.lists(st.tuples(names, ttls), min_size=1, max_size=4, unique_by=lambda each: each[0]),
    addresses=st.lists(st.tuples(st.ip_addresses(), ttls), max_size=4),
    compress=st.booleans(),
    data=st.data(),
)
def test_the_addresses_of_a_name_and_of_its_aliases_are_read(chain, addresses, compress, data):
    """As scapy has written them, in any order of records."""
    path = [name for name, _ in chain]
    aliases = [alias(*pair, ttl) for pair, (_, ttl) in zip(pairwise(path), chain, strict=False)]
    records = [
        DNSRR(
            rrname=path[-1],
            type="A" if address.version == 4 else "AAAA",
            ttl=ttl,
            rdata=str(address),
        )
        for address, ttl in addresses
    ]
    order = data.draw(st.permutations(range(len(records))))
    answer = make_answer(path[0], *aliases, *(records[at] for at in order))
    if compress:
        answer = dns_compress(answer)
    least = min((ttl for _, ttl in chain[:-1]), default=2**31 - 1)
    assert parse(answer) == tuple(
        NamedAddress(tuple(path), addresses[at][0], min(least, addresses[at][1])) for at in order
    )


@unhurried
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(message):
    for read in (parse_dns_answer, parse_dns_packet):
        with contextlib.suppress(ParseError):
            assert isinstance(read(message), tuple)


@unhurried
@given(st.data())
def test_a_garbled_answer_is_read_or_refused(data):
    records = alias("www.example.com", "cdn.example.com"), aaaa("cdn.example.com")
    message = bytearray(bytes(dns_compress(make_answer("www.example.com", *records))))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ParseError):
        parse_dns_answer(bytes(message[: data.draw(st.integers(0, len(message)))]))


def test_names_are_in_lower_case():
    (found,) = parse(make_answer("WWW.Example.com", aaaa("www.EXAMPLE.com")))
    assert found.names == ("www.example.com",)


def test_an_octet_that_no_host_name_has_is_written_so_that_no_name_is_like_it():
    message = bytes(make_answer("axb", aaaa("axb"))).replace(b"\3axb", b"\3a.b")
    (found,) = parse_dns_answer(message)
    assert found.names == ("a\\046b",)


def test_addresses_of_names_that_were_not_asked_for_are_left_out():
    assert parse(make_answer("a.example", aaaa("b.example"))) == ()
    (found,) = parse(make_answer("a.example", aaaa("b.example", OTHER), aaaa("a.example")))
    assert found.address == ADDRESS


def test_a_ring_of_aliases_ends():
    ring = alias("a", "b"), alias("b", "c"), alias("c", "a")
    (found,) = parse(make_answer("a", *ring, aaaa("c")))
    assert found.names == ("a", "b", "c")


def test_a_lifetime_with_the_highest_bit_is_none():
    message = bytes(make_answer("a", aaaa("a", ttl=0x01020304)))
    (found,) = parse_dns_answer(message.replace(b"\1\2\3\4", b"\x81\2\3\4"))
    assert found.lifetime == 0


def test_records_of_another_class_type_or_length_are_left_out():
    chaos = DNSRR(rrname="a", type="AAAA", rclass=3, rdata=str(ADDRESS))
    text = DNSRR(rrname="a", type="TXT", rdata=b"2001:db8::1")
    assert [found.address for found in parse(make_answer("a", chaos, text, aaaa("a", OTHER)))] == [
        OTHER
    ]
    short = bytes(make_answer("a", text)).replace(b"\0\x10\0\1", b"\0\x1c\0\1")
    assert parse_dns_answer(short) == ()


@pytest.mark.parametrize("rcode", [2, 3, 5])
def test_a_failure_gives_no_address(rcode):
    assert parse(make_answer("a", aaaa("a"), rcode=rcode)) == ()


def test_an_answer_that_was_cut_short_gives_what_it_has():
    (found,) = parse(make_answer("a", aaaa("a"), tc=1))
    assert found.address == ADDRESS


@pytest.mark.parametrize(
    "fields", [{"qr": 0}, {"opcode": 5}, {"qd": []}, {"qd": [DNSQR(qname="a"), DNSQR(qname="b")]}]
)
def test_what_is_no_answer_to_one_question_is_refused(fields):
    assert refuse(make_answer("a", aaaa("a"), **fields)) == "not-an-answer"


def with_name(*octets):
    """Return an answer whose question has the name of ``octets``."""
    return bytes(DNS(id=7, qr=1, qd=[]))[:4] + bytes((0, 1, 0, 0, 0, 0, 0, 0)) + bytes(octets)


@pytest.mark.parametrize(
    "octets",
    [
        (0xC0, QUESTION_AT),
        (1, 97, 0xC0, QUESTION_AT),
        (0xC0, QUESTION_AT + 2, 0),
        (0x40, 1),
        (0x80, 1),
        (63, *([97] * 63)) * 4,
    ],
    ids=["itself", "round", "forward", "kind 1", "kind 2", "long"],
)
def test_a_name_that_is_none_is_refused(octets):
    assert refuse(with_name(*octets, *([0] * 10))) == "bad-name"


@pytest.mark.parametrize(("steps", "taken"), [(100, True), (400, False)])
def test_a_long_way_of_pointers_is_refused(steps, taken):
    message = bytearray(with_name(1, 97, 0, 0, 28, 0, 1))
    message[7] = 2  # records
    first = len(message) + 11
    chain = bytearray((0xC000 | QUESTION_AT).to_bytes(2))
    for step in range(steps):
        chain += (0xC000 | first + 2 * step).to_bytes(2)
    message += bytes((0, 0, 16, 0, 1, 0, 0, 0, 9)) + len(chain).to_bytes(2) + chain
    message += (0xC000 | first + 2 * steps).to_bytes(2)
    message += bytes((0, 28, 0, 1, 0, 0, 0, 9, 0, 16)) + ADDRESS.packed
    if taken:
        assert parse_dns_answer(bytes(message)) == (NamedAddress(("a",), ADDRESS, 9),)
    else:
        assert refuse(message) == "bad-name"


def test_a_message_of_the_largest_size_is_read_at_once():
    records = [aaaa("a", ADDRESS + number) for number in range(2000)]
    assert len(parse(dns_compress(make_answer("a", *records)))) <= 256


@pytest.mark.parametrize("header", [IPv6(), IP(), IP(options=[b"\1\1\1\0"])])
def test_an_answer_is_found_behind_the_ip_header(header):
    packet = bytes(header / UDP(sport=53, dport=40000) / make_answer("a", aaaa("a")))
    (found,) = parse_dns_packet(packet + b"padding")
    assert found == NamedAddress(("a",), ADDRESS, 300)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (IPv6() / TCP(sport=53) / make_answer("a"), "not-an-answer"),
        (IP(ihl=4) / UDP(sport=53) / make_answer("a"), "not-an-answer"),
        (IPv6() / UDP(sport=53, len=2000) / make_answer("a"), "truncated"),
        (IPv6() / UDP(sport=53, len=7) / make_answer("a"), "truncated"),
        (b"", "truncated"),
        (bytes(100), "truncated"),
    ],
)
def test_a_packet_without_an_answer_is_refused(packet, reason):
    with pytest.raises(ParseError) as caught:
        parse_dns_packet(bytes(packet))
    assert caught.value.reason == reason


def test_an_address_of_ipv4_is_read_too():
    record = DNSRR(rrname="a", type="A", ttl=9, rdata="192.0.2.1")
    assert parse(make_answer("a", record)) == (NamedAddress(("a",), IPv4Address("192.0.2.1"), 9),)
