"""The flows that the kernel tracks, with the policy that each one met.

Read without pyroute2's classes: a vehicle may have a hundred thousand flows, and while they are
parsed the agent waits.
"""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mrouter.dataplane import marks
from mrouter.errors import DataplaneError
from mrouter.netlink import HEADER, RawMessage, RouteSocket, read_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}

# linux/netlink.h, linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h
_NETLINK_NETFILTER = 12
_GET_FLOWS = 1 << 8 | 1
_FAMILY = struct.Struct("=BBH")
_TUPLE, _MARK, _COUNTERS, _COUNTERS_REPLY = 1, 8, 9, 10
_TUPLE_ADDRESSES, _TUPLE_PROTOCOL = 1, 2
#: The addresses of a flow, by the kernel's number of its family.
_SOURCE = {int(socket.AF_INET): 1, int(socket.AF_INET6): 3}
_DESTINATION = {int(socket.AF_INET): 2, int(socket.AF_INET6): 4}
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT, _ICMPV6_ID, _ICMPV6_TYPE = 1, 2, 3, 7, 8
_PACKETS, _BYTES = 1, 2
#: The two highest bits of an attribute's type say how it is encoded.
_TYPE_MASK = 0x3FFF


def list_flows(
    policies: Mapping[int, str], active: Mapping[int, tuple[str, ...]], *, ipv4: bool = False
) -> list[dict[str, Any]]:
    """Return the tracked flows that a policy has been found for.

    ``policies`` names policy numbers, ``active`` gives the links that a number's flows use now;
    ``ipv4`` asks for the flows of IPv4 as well. Blocking: dumps the connection tracking table.

    :raises DataplaneError: if the kernel does not hand it out.
    """
    messages: list[bytes] = []
    try:
        with closing(RouteSocket(_NETLINK_NETFILTER)) as netfilter:
            for family in (socket.AF_INET6, *((socket.AF_INET,) if ipv4 else ())):
                request = RawMessage(_GET_FLOWS, 0, _FAMILY.pack(family, 0, 0))
                messages += netfilter.dump_raw(request, _GET_FLOWS)
    except OSError as error:
        raise DataplaneError("list tracked flows", str(error)) from error
    return list(read_flows(messages, policies, active))


def read_flows(
    messages: Iterable[bytes], policies: Mapping[int, str], active: Mapping[int, tuple[str, ...]]
) -> Iterator[dict[str, Any]]:
    """Yield the flows in conntrack's ``messages`` that one of ``policies`` has been found for.

    Packets and bytes are both directions' together, None unless the kernel counts them: it does for
    flows that begin while ``net.netfilter.nf_conntrack_acct`` is 1.
    """
    for message in messages:
        entry = _read(message[HEADER.size + _FAMILY.size :])
        verdict = marks.policy_of_mark(int.from_bytes(entry.get(_MARK, b"")))
        policy = policies.get(verdict)
        if policy is None:
            continue
        ends = _read(entry[_TUPLE])
        addresses, protocol = _read(ends[_TUPLE_ADDRESSES]), _read(ends[_TUPLE_PROTOCOL])
        number = protocol[_NUMBER][0]
        family = message[HEADER.size]
        counters = [_read(entry[kind]) for kind in (_COUNTERS, _COUNTERS_REPLY) if kind in entry]
        yield {
            "protocol": _PROTOCOL_NAMES.get(number, str(number)),
            "source": socket.inet_ntop(family, addresses[_SOURCE[family]]),
            "source_port": _read_number(protocol, _SOURCE_PORT),
            "destination": socket.inet_ntop(family, addresses[_DESTINATION[family]]),
            "destination_port": _read_number(protocol, _DESTINATION_PORT),
            "icmpv6_type": _read_number(protocol, _ICMPV6_TYPE),
            "icmpv6_id": _read_number(protocol, _ICMPV6_ID),
            "policy": policy,
            "links": list(active.get(verdict, ())),
            "packets": _sum(counters, _PACKETS),
            "bytes": _sum(counters, _BYTES),
        }


def _read(data: bytes) -> dict[int, bytes]:
    return {kind & _TYPE_MASK: value for kind, value in read_attributes(data).items()}


def _read_number(attributes: Mapping[int, bytes], kind: int) -> int | None:
    value = attributes.get(kind)
    return None if value is None else int.from_bytes(value)


def _sum(counters: list[dict[int, bytes]], kind: int) -> int | None:
    return sum(int.from_bytes(each[kind]) for each in counters) if counters else None
