"""The kernel's connection tracking table by netlink: asked for flows, and told to forget verdicts.

Without pyroute2's classes: a vehicle may have a hundred thousand flows, and while they are parsed
the agent waits.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from mrouter.dataplane import marks
from mrouter.dataplane.family import Family
from mrouter.netlink import (
    HEADER,
    NETLINK_NETFILTER,
    RawMessage,
    RouteSocket,
    make_attribute,
    read_attributes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.policy.model import Address

# linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h
_CHANGE_FLOW, _GET_FLOWS = 1 << 8 | 0, 1 << 8 | 1
_FAMILY = struct.Struct("=BBH")
TUPLE, MARK, COUNTERS, COUNTERS_REPLY, _ZONE, _MARK_MASK, _FILTER = 1, 8, 9, 10, 18, 21, 25
TUPLE_ADDRESSES, TUPLE_PROTOCOL = 1, 2
#: The addresses of a flow, by the kernel's number of its family.
SOURCE = {int(socket.AF_INET): 1, int(socket.AF_INET6): 3}
DESTINATION = {int(socket.AF_INET): 2, int(socket.AF_INET6): 4}
#: Which flags say by which of a flow's ends it is asked for.
_FILTER_ORIGINAL, _FLAGS = 1, struct.Struct("=I")
_BY_SOURCE, _BY_DESTINATION = 1, 2
_NUMBER = struct.Struct("!I")
#: The two highest bits of an attribute's type say how it is encoded.
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF


class ConnectionTable:
    """The tracked flows of this network namespace. Blocking; all of it raises ``OSError``."""

    def __init__(self) -> None:
        """Open the socket."""
        self._socket = RouteSocket(NETLINK_NETFILTER)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def list_flows(self, family: Family) -> list[bytes]:
        """Return the messages of all flows of ``family``."""
        return self._dump(family, b"")

    def list_flows_with(self, address: Address) -> list[bytes]:
        """Return the messages of the flows that begin or end at ``address``.

        Kernels before 5.8 hand out all the others of its family as well.
        """
        family = Family(address.version)
        found = []
        for kinds, flags in ((SOURCE, _BY_SOURCE), (DESTINATION, _BY_DESTINATION)):
            end = make_attribute(kinds[family.socket_family], address.packed)
            asked = make_attribute(_FILTER_ORIGINAL, _FLAGS.pack(flags))
            found += self._dump(
                family,
                make_attribute(TUPLE | _NESTED, make_attribute(TUPLE_ADDRESSES | _NESTED, end))
                + make_attribute(_FILTER | _NESTED, asked),
            )
        return found

    def _dump(self, family: Family, attributes: bytes) -> list[bytes]:
        body = _FAMILY.pack(family.socket_family, 0, 0) + attributes
        return self._socket.dump_raw(RawMessage(_GET_FLOWS, 0, body), _GET_FLOWS)

    def forget_verdicts(self, messages: Iterable[bytes]) -> None:
        """Clear our bits of the marks of the flows in ``messages``; one may have ended."""
        self._socket.transact(map(_forget_verdict, messages))


def _forget_verdict(message: bytes) -> RawMessage:
    known = read_attributes(message[HEADER.size + _FAMILY.size :])
    identity = {kind: known[kind] for kind in (TUPLE | _NESTED, _ZONE) if kind in known}
    cleared = {MARK: _NUMBER.pack(0), _MARK_MASK: _NUMBER.pack(marks.CONNECTION_MASK)}
    attributes = (make_attribute(*each) for each in {**identity, **cleared}.items())
    family = message[HEADER.size : HEADER.size + _FAMILY.size]
    return RawMessage(_CHANGE_FLOW, 0, family + b"".join(attributes))


def read_flow(message: bytes) -> tuple[int, dict[int, bytes]]:
    """Return the family of a flow, the kernel's number, and the attributes of its ``message``."""
    return message[HEADER.size], read_nested(message[HEADER.size + _FAMILY.size :])


def read_nested(data: bytes) -> dict[int, bytes]:
    """Return the attributes in ``data`` by their types, without how they are encoded."""
    return {kind & _TYPE_MASK: value for kind, value in read_attributes(data).items()}
