"""Have running flows classified again that an earlier policy may match by now.

Their connection marks lose our bits, so their next packet is looked at like a first one. A flow
that no policy takes from its own gets its verdict back.
"""

from __future__ import annotations

import logging
import struct
from contextlib import closing
from typing import TYPE_CHECKING

from mrouter.agent.flows import read_flows
from mrouter.agent.journal import note
from mrouter.dataplane import marks
from mrouter.dataplane.family import Family
from mrouter.netlink import (
    HEADER,
    RawMessage,
    RouteSocket,
    make_attribute,
    read_attributes,
)
from mrouter.policy.difference import read_tracked_flow
from mrouter.policy.overtaking import Overtaking

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mrouter.policy.model import Address, PolicyTable

# linux/netlink.h, linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h
_NETLINK_NETFILTER = 12
_CHANGE_FLOW = 1 << 8 | 0
_GET_FLOWS = 1 << 8 | 1
_FAMILY = struct.Struct("=BBH")
_NUMBER = struct.Struct("!I")
_NESTED = 0x8000
_TUPLE, _MARK, _ZONE, _MARK_MASK, _FILTER = 1, 8, 18, 21, 25
#: A flow's ends, by IPv4; those by IPv6 come after.
_TUPLE_ADDRESSES, _SOURCE, _DESTINATION, _IPV6_KINDS = 1, 1, 2, 2
#: Which flags say that an end is asked for: its own bit, from 0 on.
_FILTER_ORIGINAL, _FLAGS = 1, struct.Struct("=I")


def forget_overtaken(
    families: Iterable[Family],
    table: PolicyTable,
    names: Mapping[int, str],
    overtakers: Collection[str],
) -> None:
    """Take their verdicts from the flows of later policies that ``overtakers`` may match.

    Of ``families``, in which there are tables of ours: other flows' marks are not. ``table`` is
    what is in force, ``names`` are its policies' by their numbers in connection marks. Blocking. A
    kernel that refuses costs no more than that the flows stay with their policies.
    """
    overtaking = Overtaking(table, overtakers)
    asked = {number: name for number, name in names.items() if name in overtaking.overtaken}
    try:
        with closing(RouteSocket(_NETLINK_NETFILTER)) as netfilter:
            for family in families:
                found = netfilter.dump_raw(_ask_flows(family), _GET_FLOWS)
                overtaken = _find_overtaken(found, overtaking, asked)
                # one that has ended meanwhile is no failure
                netfilter.transact(map(_forget_verdict, overtaken))
    except OSError as error:
        note("flows-not-moved", logging.WARNING, error=str(error))


def forget_flows_with(far: Iterable[Address], names: Mapping[int, str]) -> None:
    """Take their verdicts from the flows that one of the addresses ``far`` is an end of.

    Those of the policies in ``names``, by their numbers in connection marks. Blocking, briefly: the
    kernel hands out no other flows.
    """
    if not names:
        return
    try:
        with closing(RouteSocket(_NETLINK_NETFILTER)) as netfilter:
            for address in far:
                for end in (_SOURCE, _DESTINATION):
                    request = _ask_flows(Family(address.version), end, address)
                    found = netfilter.dump_raw(request, _GET_FLOWS)
                    concerned = (each for each in found if _has_end(each, address, names))
                    netfilter.transact(map(_forget_verdict, concerned))
    except OSError as error:
        note("flows-not-moved", logging.WARNING, error=str(error))


def _has_end(message: bytes, address: Address, names: Mapping[int, str]) -> bool:
    # kernels before 5.8 hand out all flows
    return any(
        str(address) in (row["source"], row["destination"])
        for row in read_flows([message], names, {})
    )


def _ask_flows(family: Family, end: int = 0, address: Address | None = None) -> RawMessage:
    """Return the request for all flows, or for those with ``address`` at one ``end``."""
    body = _FAMILY.pack(family.socket_family, 0, 0)
    if address is not None:
        kind = end + (_IPV6_KINDS if family is Family.IPV6 else 0)
        addresses = make_attribute(_TUPLE_ADDRESSES | _NESTED, make_attribute(kind, address.packed))
        flags = make_attribute(_FILTER_ORIGINAL, _FLAGS.pack(1 << end - 1))
        body += make_attribute(_TUPLE | _NESTED, addresses)
        body += make_attribute(_FILTER | _NESTED, flags)
    return RawMessage(_GET_FLOWS, 0, body)


def _find_overtaken(
    messages: Iterable[bytes], overtaking: Overtaking, names: Mapping[int, str]
) -> Iterator[bytes]:
    for message in messages:
        for row in read_flows([message], names, {}):
            tracked = read_tracked_flow(row)
            if overtaking.concerns(tracked.flow, tracked.policy):
                yield message


def _forget_verdict(message: bytes) -> RawMessage:
    """Return the change of the flow in conntrack's ``message`` that clears our bits of its mark."""
    known = read_attributes(message[HEADER.size + _FAMILY.size :])
    identity = {kind: known[kind] for kind in (_TUPLE | _NESTED, _ZONE) if kind in known}
    cleared = {_MARK: _NUMBER.pack(0), _MARK_MASK: _NUMBER.pack(marks.CONNECTION_MASK)}
    attributes = (make_attribute(*each) for each in {**identity, **cleared}.items())
    family = message[HEADER.size : HEADER.size + _FAMILY.size]
    return RawMessage(_CHANGE_FLOW, 0, family + b"".join(attributes))
