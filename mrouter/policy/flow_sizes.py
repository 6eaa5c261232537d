"""How much a flow has carried when policies that ask for it may decide otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.policy.size_ranges import LARGEST_FLOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mrouter.policy.model import Policy, PolicyTable

#: So many sizes a file may name: at each of them flows are classified again.
MOST_SIZES = 8


def list_sizes(policy: Policy) -> frozenset[int]:
    """Return the sizes at which a flow begins or ceases to meet ``policy``."""
    none_of = policy.match.none_of
    ranges = policy.match.flow_sizes + (() if none_of is None else none_of.flow_sizes)
    begins = (each.first for each in ranges if each.first)
    ends = (each.last + 1 for each in ranges if each.last != LARGEST_FLOW)
    return frozenset((*begins, *ends))


def find_turning_sizes(table: PolicyTable) -> dict[str, tuple[int, ...]]:
    """Return of each policy the sizes at which its flows may meet another one, sorted.

    Policies without any are left out. Those of a policy's own and of all before it count, but for
    those that are of other protocols.
    """
    found: dict[str, tuple[int, ...]] = {}
    #: By each size the protocols of the policies that name it; None for all.
    known: dict[int, frozenset[int] | None] = {}
    for policy in table.policies:
        protocols = frozenset(policy.match.protocols)
        for size in list_sizes(policy):
            before = known.get(size, frozenset())
            known[size] = before | protocols if protocols and before is not None else None
        if known:
            sizes = (size for size, others in known.items() if _may_share(protocols, others))
            if mine := tuple(sorted(sizes)):
                found[policy.name] = mine
    return found


def _may_share(protocols: frozenset[int], others: frozenset[int] | None) -> bool:
    return not protocols or others is None or bool(protocols & others)


def find_too_many(policies: Sequence[Policy]) -> Iterator[tuple[int, int]]:
    """Yield position and count of the policy that names more sizes than there may be."""
    sizes: set[int] = set()
    for position, policy in enumerate(policies):
        sizes |= list_sizes(policy)
        if len(sizes) > MOST_SIZES:
            yield position, len(sizes)
            return
