"""Read the values of a policy's match: protocols, ports and code points of packets."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from mrouter.policy.model import PortRange
from mrouter.toml_source import MistakeError, show, suggest

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "esp": 50, "icmpv6": 58, "sctp": 132, "udplite": 136}
#: Whose header begins with a source and a destination port.
PROTOCOLS_WITH_PORTS = frozenset(PROTOCOLS[name] for name in ("tcp", "udp", "sctp", "udplite"))

#: Class selectors (RFC 2474 §4.2.2), assured (RFC 2597 §6) and expedited forwarding (RFC 3246).
CODE_POINTS = {
    **{f"cs{number}": number << 3 for number in range(8)},
    **{f"af{group}{drop}": group << 3 | drop << 1 for group in range(1, 5) for drop in range(1, 4)},
    "ef": 46,
}

#: Those that begin a flow or answer one: the kernel keeps no flow of any other type, an error goes
#: with the flow that it speaks of (RFC 4443 §2.1: below 128), and the rest goes by the default.
ICMPV6_TYPES = {
    "echo-request": 128,
    "echo-reply": 129,
    "node-information-query": 139,
    "node-information-reply": 140,
}

_LAST_PORT = 65535
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_GROUP_BIT = 0x01
_PORTS = re.compile(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?")


def parse_protocol(value: Any) -> int:
    """Read a protocol by name or next header number, or raise `MistakeError`."""
    return _parse_named_number(value, PROTOCOLS, 255, "protocol")


def parse_code_point(value: Any) -> int:
    """Read a DSCP by name or number, or raise `MistakeError`."""
    return _parse_named_number(value, CODE_POINTS, 63, "DSCP")


def parse_icmpv6_type(value: Any) -> int:
    """Read the type of an ICMPv6 message that belongs to a flow, or raise `MistakeError`."""
    number = _parse_named_number(value, ICMPV6_TYPES, 255, "ICMPv6 type")
    if number not in ICMPV6_TYPES.values():
        message = f"no flow is known by ICMPv6 type {number}"
        raise MistakeError(message, f"known: {', '.join(ICMPV6_TYPES)}")
    return number


def parse_mac(value: Any) -> str:
    """Read a device's MAC address, or raise `MistakeError`; returns it in lower case."""
    text = value.lower() if isinstance(value, str) else ""
    if not _MAC.fullmatch(text):
        raise MistakeError(f"{show(value)} is not a MAC address", 'as in "02:00:00:00:00:01"')
    if int(text[:2], 16) & _GROUP_BIT:
        raise MistakeError(f"{text} is a group address, which no device sends from")
    return text


def _parse_named_number(value: Any, names: dict[str, int], highest: int, what: str) -> int:
    article = "an" if what.startswith("I") else "a"
    if isinstance(value, str):
        if value.lower() in names:
            return names[value.lower()]
        if value.isdecimal():
            raise MistakeError(f"{show(value)} is text", "write the number without quotes")
        raise MistakeError(f"unknown {what} {show(value)}", suggest(value, names))
    if isinstance(value, bool) or not isinstance(value, int):
        raise MistakeError(
            f"must be the name or number of {article} {what}", f"known: {', '.join(names)}"
        )
    if not 0 <= value <= highest:
        raise MistakeError(f"{article} {what} number is from 0 to {highest}, this is {show(value)}")
    return value


def parse_ports(value: Any) -> PortRange:
    """Read a port, or a range as text "first-last", or raise `MistakeError`."""
    if isinstance(value, str):
        found = _PORTS.fullmatch(value)
        if found is None:
            raise MistakeError(f"{show(value)} is not a port or a range", 'as in "5000-5010"')
        first = int(found[1])
        last = first if found[2] is None else int(found[2])
    elif isinstance(value, int) and not isinstance(value, bool):
        first = last = value
    else:
        raise MistakeError('must be a port such as 5060 or a range such as "5000-5010"')
    for port in (first, last):
        if not 0 <= port <= _LAST_PORT:
            raise MistakeError(f"a port is from 0 to {_LAST_PORT}, this is {show(port)}")
    if first > last:
        raise MistakeError(f"the range {first}-{last} is reversed", f'write "{last}-{first}"')
    return PortRange(first, last)


def refuse_overlapping_ports(ranges: list[PortRange]) -> list[PortRange]:
    """Raise `MistakeError` if two of ``ranges`` share a port."""
    by_first = sorted(range(len(ranges)), key=lambda index: (ranges[index], index))
    for earlier, later in pairwise(by_first):
        one, other = ranges[earlier], ranges[later]
        if other.first <= one.last:
            merged = PortRange(one.first, max(one.last, other.last))
            message = f"{format_ports(other)} overlaps {format_ports(one)} of the same list"
            raise MistakeError(message, f"write {_as_toml(merged)} once for both", (later,))
    return ranges


def format_ports(ports: PortRange) -> str:
    """Write a range as a policy file does, a single port as its number."""
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _as_toml(ports: PortRange) -> str:
    text = format_ports(ports)
    return f'"{text}"' if "-" in text else text


#: Bits in a second by the unit's name.
_RATE_UNITS = {"kbit/s": 1_000, "Mbit/s": 1_000_000, "Gbit/s": 1_000_000_000}
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(\S+)")


def parse_rate(value: Any) -> int:
    """Read a rate, as in "2 Mbit/s", or raise `MistakeError`; returns octets a second."""
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise MistakeError(f"{show(value)} is not a rate", 'as in "2 Mbit/s"')
    unit = found[2]
    if unit not in _RATE_UNITS:
        raise MistakeError(f"{show(unit)} is not a unit of rates", suggest(unit, _RATE_UNITS))
    octets = round(float(found[1]) * _RATE_UNITS[unit] / 8)
    if not 1_000 <= octets <= 125_000_000_000:
        raise MistakeError(f"{show(value)} is not from 8 kbit/s to 1000 Gbit/s")
    return octets
