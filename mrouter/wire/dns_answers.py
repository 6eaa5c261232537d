"""DNS answers in UDP (RFC 1035): whose addresses they give, and for how long.

Nothing is asked here. What others have asked and are answered passes by, and may be anything.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from mrouter.errors import ParseError
from mrouter.wire.parse_errors import Reason

_IPV6_HEADER, _IPV4_HEADER = 40, 20
_NEXT_HEADER_AT, _IPV4_PROTOCOL_AT = 6, 9
_UDP, _UDP_HEADER = 17, 8
#: Identifier, flags, and how many records each of the four sections has.
_HEADER = struct.Struct("!HHHHHH")
_RESPONSE, _OPERATION, _FAILURE = 0x8000, 0x7800, 0x000F
#: Type and class of a question; what follows a record's name: type, class, TTL, length.
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHiH")
_INTERNET = 1
_A, _CNAME, _AAAA = 1, 5, 28
_ADDRESS_OCTETS = {_A: 4, _AAAA: 16}
_POINTER = 0xC0
_MOST_NAME_OCTETS = 255
#: Pointers in one name: more than a name has labels are of no use.
_MOST_JUMPS = 127
#: Far more than are told of any name; what is past them is not read.
_MOST_RECORDS = 256
#: Letters, digits, and what host names and service names have besides.
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """An ``address`` of all ``names``: the one that was asked for, then the names it stands for.

    Names are in lower case, without a dot at the end; an octet that no host name has is written as
    a backslash and its number. ``lifetime`` in seconds is the least of those on the way.
    """

    names: tuple[str, ...]
    address: IPv4Address | IPv6Address
    lifetime: int


class _Record(NamedTuple):
    name: str
    kind: int
    lifetime: int
    start: int
    end: int


def parse_dns_packet(packet: bytes) -> tuple[NamedAddress, ...]:
    """Read the DNS answer in the whole IP ``packet``.

    :raises ParseError: if it holds none.
    """
    start = _find_payload(packet)
    length = int.from_bytes(packet[start - 4 : start - 2]) - _UDP_HEADER
    if length < 0 or start + length > len(packet):
        raise ParseError(Reason.TRUNCATED, "UDP says that it is longer than its packet")
    return parse_dns_answer(packet[start : start + length])


def _find_payload(packet: bytes) -> int:
    """Return where the payload of UDP begins."""
    version = packet[0] >> 4 if packet else 0
    header = {4: _IPV4_HEADER, 6: _IPV6_HEADER}.get(version, len(packet))
    if len(packet) < header + _UDP_HEADER:
        raise ParseError(Reason.TRUNCATED, f"{len(packet)} octets are no UDP packet")
    if version == 4:
        header = 4 * (packet[0] & 0xF)
        protocol = packet[_IPV4_PROTOCOL_AT]
    else:
        protocol = packet[_NEXT_HEADER_AT]
    if protocol != _UDP or header < _IPV4_HEADER or len(packet) < header + _UDP_HEADER:
        raise ParseError(Reason.NOT_AN_ANSWER, "no UDP behind the IP header")
    return header + _UDP_HEADER


def parse_dns_answer(message: bytes) -> tuple[NamedAddress, ...]:
    """Read the addresses that a DNS ``message`` gives for the name that was asked for.

    There are none if the server failed, or there is no such name. An answer that was cut short
    (TC) is asked for once more by TCP; what it holds is true all the same.

    :raises ParseError: if it is no answer to one question, or ends before what it holds does.
    """
    if len(message) < _HEADER.size:
        raise ParseError(Reason.TRUNCATED, f"{len(message)} octets are no DNS message")
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
    if not flags & _RESPONSE or flags & _OPERATION or questions != 1:
        raise ParseError(Reason.NOT_AN_ANSWER, f"flags {flags:#06x}, {questions} questions")
    if flags & _FAILURE:
        return ()
    asked, at = _read_name(message, _HEADER.size)
    _require(message, at + _QUESTION.size)
    _, asked_class = _QUESTION.unpack_from(message, at)
    if asked_class != _INTERNET:
        return ()
    return _collect(asked, message, _read_records(message, at + _QUESTION.size, answers))


def _read_records(message: bytes, at: int, count: int) -> list[_Record]:
    records = []
    for _ in range(min(count, _MOST_RECORDS)):
        name, at = _read_name(message, at)
        start = at + _RECORD.size
        _require(message, start)
        kind, record_class, lifetime, length = _RECORD.unpack_from(message, at)
        at = start + length
        _require(message, at)
        if record_class == _INTERNET:
            # RFC 2181 §8: "treat TTL values received with the most significant bit set as if the
            # entire value received was zero"
            records.append(_Record(name, kind, max(0, lifetime), start, at))
    return records


def _collect(asked: str, message: bytes, records: list[_Record]) -> tuple[NamedAddress, ...]:
    """Follow the aliases from the name that was ``asked`` for, and take what they lead to."""
    aliases: dict[str, tuple[str, int]] = {}
    for record in records:
        if record.kind == _CNAME:
            target, end = _read_name(message, record.start)
            if end != record.end:
                raise ParseError(Reason.BAD_NAME, "an alias of another length than it says")
            aliases.setdefault(record.name, (target, record.lifetime))
    #: Each name on the way, and the least lifetime up to there.
    reached: dict[str, int] = {}
    name, least = asked, 2**31 - 1
    while name not in reached:
        reached[name] = least
        if name in aliases:
            target, lifetime = aliases[name]
            name, least = target, min(least, lifetime)
    names = tuple(reached)
    return tuple(
        NamedAddress(
            names[: names.index(record.name) + 1],
            _read_address(record.kind, message[record.start : record.end]),
            min(record.lifetime, reached[record.name]),
        )
        for record in records
        if record.name in reached and _ADDRESS_OCTETS.get(record.kind) == record.end - record.start
    )


def _read_address(kind: int, octets: bytes) -> IPv4Address | IPv6Address:
    return IPv4Address(octets) if kind == _A else IPv6Address(octets)


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    """Return the name at ``at``, and where what follows it begins."""
    labels: list[str] = []
    octets = 1
    end: int | None = None
    jumps = 0
    while True:
        _require(message, at + 1)
        length = message[at]
        if length & _POINTER:
            end = end or at + 2
            at = _follow_pointer(message, at)
            jumps += 1
        elif length == 0:
            return ".".join(labels), end or at + 1
        else:
            _require(message, at + 1 + length)
            labels.append(_write_label(message[at + 1 : at + 1 + length]))
            octets += length + 1
            at += length + 1
        if octets > _MOST_NAME_OCTETS or jumps > _MOST_JUMPS:
            raise ParseError(Reason.BAD_NAME, f"{octets} octets, {jumps} pointers")


def _follow_pointer(message: bytes, at: int) -> int:
    """Return where the pointer at ``at`` leads.

    Always back, to "a prior occurance of the same name" (RFC 1035 §4.1.4): so none is met twice
    without a label in between.
    """
    _require(message, at + 2)
    target = int.from_bytes(message[at : at + 2]) & 0x3FFF
    if message[at] & _POINTER != _POINTER or target >= at:
        raise ParseError(Reason.BAD_NAME, f"{message[at]:#04x} is no length and no pointer back")
    return target


def _write_label(label: bytes) -> str:
    lower = label.lower()
    if _PLAIN.issuperset(lower):
        return lower.decode("ascii")
    return "".join(chr(each) if each in _PLAIN else f"\\{each:03}" for each in lower)


def _require(message: bytes, end: int) -> None:
    if end > len(message):
        raise ParseError(Reason.TRUNCATED, f"{len(message)} octets of at least {end}")
