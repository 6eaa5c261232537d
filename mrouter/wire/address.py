"""Addresses as 16 octets: conversion, and which may stand where."""

from __future__ import annotations

from ipaddress import IPv6Address

from mrouter.errors import ParseError
from mrouter.wire.parse_errors import Reason

_IPV4_MAPPED = 0xFFFF


def parse_address(data: bytes, offset: int) -> IPv6Address:
    """Return the address in the 16 octets at ``offset``; the caller has checked the bounds."""
    return IPv6Address(int.from_bytes(data[offset : offset + 16], "big"))


def parse_unicast(data: bytes, offset: int) -> IPv6Address:
    """Return the address at ``offset``; raise ParseError unless it can be one node's."""
    address = parse_address(data, offset)
    if data[offset] == 0xFF or int(address) == 0:
        raise ParseError(Reason.BAD_ADDRESS, f"{address} is not unicast")
    return address


def parse_routable(data: bytes, offset: int) -> IPv6Address:
    """Return the address at ``offset``; raise ParseError unless it is unicast routable.

    RFC 6275 §3.1 means by it one interface's address that another IPv6 subnet can reach. Home
    addresses and care-of addresses must be such (§6.3, §6.4, §9.5.1).
    """
    address = parse_address(data, offset)
    value = int(address)
    leading = value >> 112
    if (
        leading >> 8 == 0xFF  # multicast
        or leading & 0xFFC0 == 0xFE80  # link-local
        or value >> 32 in (0, _IPV4_MAPPED)  # unspecified, loopback, IPv4 inside
    ):
        raise ParseError(Reason.BAD_ADDRESS, f"{address} is not unicast routable")
    return address
