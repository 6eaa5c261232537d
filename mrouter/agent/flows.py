"""The flows that the kernel tracks, with the policy that each one met."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mrouter.agent import conntrack
from mrouter.agent.conntrack import ConnectionTable, read_flow, read_nested
from mrouter.dataplane import marks
from mrouter.dataplane.family import Family
from mrouter.errors import DataplaneError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}

# linux/netfilter/nfnetlink_conntrack.h
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT, _ICMPV6_ID, _ICMPV6_TYPE = 1, 2, 3, 7, 8
_PACKETS, _BYTES = 1, 2


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
        with closing(ConnectionTable()) as tracked:
            for family in (Family.IPV6, *((Family.IPV4,) if ipv4 else ())):
                messages += tracked.list_flows(family)
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
        family, entry = read_flow(message)
        verdict = marks.policy_of_mark(int.from_bytes(entry.get(conntrack.MARK, b"")))
        policy = policies.get(verdict)
        if policy is None:
            continue
        ends = read_nested(entry[conntrack.TUPLE])
        addresses = read_nested(ends[conntrack.TUPLE_ADDRESSES])
        protocol = read_nested(ends[conntrack.TUPLE_PROTOCOL])
        number = protocol[_NUMBER][0]
        directions = (conntrack.COUNTERS, conntrack.COUNTERS_REPLY)
        counters = [read_nested(entry[kind]) for kind in directions if kind in entry]
        yield {
            "protocol": _PROTOCOL_NAMES.get(number, str(number)),
            "source": socket.inet_ntop(family, addresses[conntrack.SOURCE[family]]),
            "source_port": _read_number(protocol, _SOURCE_PORT),
            "destination": socket.inet_ntop(family, addresses[conntrack.DESTINATION[family]]),
            "destination_port": _read_number(protocol, _DESTINATION_PORT),
            "icmpv6_type": _read_number(protocol, _ICMPV6_TYPE),
            "icmpv6_id": _read_number(protocol, _ICMPV6_ID),
            "policy": policy,
            "links": list(active.get(verdict, ())),
            "packets": _sum(counters, _PACKETS),
            "bytes": _sum(counters, _BYTES),
        }


def _read_number(attributes: Mapping[int, bytes], kind: int) -> int | None:
    value = attributes.get(kind)
    return None if value is None else int.from_bytes(value)


def _sum(counters: list[dict[int, bytes]], kind: int) -> int | None:
    return sum(int.from_bytes(each[kind]) for each in counters) if counters else None
