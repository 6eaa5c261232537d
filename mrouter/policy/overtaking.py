"""Which running flows an earlier policy may match that did not, or could not, when they began."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mrouter.policy.conditions import UNTRACKED, list_conditions
from mrouter.policy.values import ICMPV6_TYPES, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Collection

    from mrouter.policy.conditions import Condition
    from mrouter.policy.find import Flow
    from mrouter.policy.model import PolicyTable

_ANSWERS = {
    ICMPV6_TYPES["echo-request"]: ICMPV6_TYPES["echo-reply"],
    ICMPV6_TYPES["node-information-query"]: ICMPV6_TYPES["node-information-reply"],
}


class Overtaking:
    """The ``overtakers`` among a table's policies, and the flows of those after them."""

    def __init__(self, table: PolicyTable, overtakers: Collection[str]) -> None:
        """Look at ``table``; ``overtakers`` are names of its policies."""
        #: By each policy's name the conditions of the overtakers before it, which can be asked.
        self._before: dict[str, tuple[list[Condition], ...]] = {}
        before: tuple[list[Condition], ...] = ()
        for policy in table.policies:
            if before:
                self._before[policy.name] = before
            if policy.name in overtakers:
                conditions = list_conditions(policy.match)
                asked = [each for each in conditions if each.attribute not in UNTRACKED]
                before = (*before, asked)

    @property
    def overtaken(self) -> Collection[str]:
        """The policies whose flows are to be asked about."""
        return self._before.keys()

    def concerns(self, flow: Flow, policy: str) -> bool:
        """Say whether a tracked flow that has met ``policy`` may now meet an earlier one.

        ``flow`` is as it began, by whichever end.
        """
        ways = (flow, _turn_round(flow))
        return any(
            all(each.holds(way) for each in conditions)
            for conditions in self._before.get(policy, ())
            for way in ways
        )


def _turn_round(flow: Flow) -> Flow:
    """Return the packets that answer ``flow``'s."""
    icmpv6_type = flow.icmpv6_type
    if flow.protocol == PROTOCOLS["icmpv6"] and icmpv6_type is not None:
        icmpv6_type = _ANSWERS.get(icmpv6_type, icmpv6_type)
    return replace(
        flow,
        source=flow.destination,
        destination=flow.source,
        source_port=flow.destination_port,
        destination_port=flow.source_port,
        icmpv6_type=icmpv6_type,
    )
