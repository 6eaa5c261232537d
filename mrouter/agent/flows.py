"""The flows that the kernel tracks, with the policy that each one met."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from mrouter.dataplane import marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROTOCOL_NAMES = {6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}


def list_flows(
    policies: Mapping[int, str], active: Mapping[str, tuple[str, ...]]
) -> list[dict[str, Any]]:
    """Return the tracked flows that a policy has been found for.

    ``policies`` names policy numbers, ``active`` gives the links that a policy uses now. Blocking:
    dumps the connection tracking table.
    """
    return list(_read_flows(policies, active))


def _read_flows(
    policies: Mapping[int, str], active: Mapping[str, tuple[str, ...]]
) -> Iterator[dict[str, Any]]:
    # pyroute2's conntrack is loaded only when asked for: it is large
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

    with NFCTSocket(nfgen_family=socket.AF_INET6) as conntrack:
        for entry in conntrack.dump():
            policy = policies.get(marks.policy_of_mark(entry.get_attr("CTA_MARK") or 0))
            if policy is None:
                continue
            tuple_ = entry.get_attr("CTA_TUPLE_ORIG")
            addresses = tuple_.get_attr("CTA_TUPLE_IP")
            protocol = tuple_.get_attr("CTA_TUPLE_PROTO")
            number = protocol.get_attr("CTA_PROTO_NUM")
            yield {
                "protocol": _PROTOCOL_NAMES.get(number, str(number)),
                "source": addresses.get_attr("CTA_IP_V6_SRC"),
                "source_port": protocol.get_attr("CTA_PROTO_SRC_PORT"),
                "destination": addresses.get_attr("CTA_IP_V6_DST"),
                "destination_port": protocol.get_attr("CTA_PROTO_DST_PORT"),
                "icmpv6_type": protocol.get_attr("CTA_PROTO_ICMPV6_TYPE"),
                "icmpv6_id": protocol.get_attr("CTA_PROTO_ICMPV6_ID"),
                "policy": policy,
                "links": list(active.get(policy, ())),
                **_read_traffic(entry),
            }


def _read_traffic(entry: Any) -> dict[str, int | None]:
    """Return packets and bytes of both directions; None unless the kernel counts them.

    It does for flows that begin while ``net.netfilter.nf_conntrack_acct`` is 1.
    """
    counters = [
        counter
        for name in ("CTA_COUNTERS_ORIG", "CTA_COUNTERS_REPLY")
        if (counter := entry.get_attr(name)) is not None
    ]
    if not counters:
        return {"packets": None, "bytes": None}
    return {
        "packets": sum(counter.get_attr("CTA_COUNTERS_PACKETS") for counter in counters),
        "bytes": sum(counter.get_attr("CTA_COUNTERS_BYTES") for counter in counters),
    }
