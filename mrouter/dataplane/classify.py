"""Policies to nftables: which policy a flow's first packet meets.

The sets of addresses that a policy file names are shared by all policies.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mrouter.dataplane import marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.dataplane.policy_runs import Asking, PolicyRules
from mrouter.dataplane.prefix_lookups import render_prefix_set
from mrouter.garbage import pause_collection
from mrouter.policy.families import restrict_match
from mrouter.policy.model import Match, PolicyTable, PrefixSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mrouter.dataplane.flow_sizes import SizeSteps


@dataclass(frozen=True, slots=True)
class Classification:
    """``chains`` hold one named "classify" that leaves a policy's number in the connection mark."""

    chains: tuple[Chain, ...]
    sets: tuple[NftSet, ...]


def number_policies(table: PolicyTable) -> dict[str, int]:
    """Give every policy a number that lasts as long as nothing before it in the file changes.

    Connection marks outlive a reload and a restart: a flow keeps its verdict exactly if its
    policy and all that could have matched before it are unchanged; the number is drawn from a
    digest of just these, so no state is kept. All other flows are classified again.
    """
    numbers: dict[str, int] = {}
    taken: set[int] = set()
    digest = hashlib.sha256()
    for policy in table.policies:
        digest.update(repr((policy.name, policy.match, policy.action)).encode())
        number = int.from_bytes(digest.digest()[:4], "big") % marks.MAX_POLICY_NUMBER + 1
        while number in taken:
            number = number % marks.MAX_POLICY_NUMBER + 1
        taken.add(number)
        numbers[policy.name] = number
    return numbers


def compile_classification(
    table: PolicyTable,
    numbers: dict[str, int],
    family: Family = Family.IPV6,
    steps: Mapping[int, SizeSteps] | None = None,
) -> Classification:
    """Compile what ``table`` asks of one family's packets to chains and maps.

    ``numbers`` are the policies' connection marks, ``steps`` those of `find_size_steps`. ``table``
    has no times: it holds just the policies that are active.
    """
    return _compile(_Question(table, numbers, family, steps or {}))


@dataclass(frozen=True, slots=True)
class _Question:
    """What is compiled. It is known again by its table itself: to compare ten thousands is dear."""

    table: PolicyTable
    numbers: Mapping[str, int]
    family: Family
    steps: Mapping[int, SizeSteps]

    def __hash__(self) -> int:
        return hash((id(self.table), self.family))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Question)
            and self.table is other.table
            and self.family is other.family
            and self.numbers == other.numbers
            and self.steps == other.steps
        )


@lru_cache(maxsize=len(Family))
@pause_collection()
def _compile(question: _Question) -> Classification:
    """Compile; for each link that comes or goes the same policies are asked for again."""
    family = question.family
    policies = _restrict(question.table, question.numbers, family)
    rules = PolicyRules(family, question.steps)
    rules.compile_chain("classify", policies)
    named = _find_sets(asking.match for asking in policies)
    return Classification(tuple(rules.chains), (*rules.sets, *_make_sets(named, family)))


def _restrict(table: PolicyTable, numbers: Mapping[str, int], family: Family) -> list[Asking]:
    """Return the policies that take packets of ``family``, with what they ask of these."""
    restricted = ((each, restrict_match(each.match, family.value)) for each in table.policies)
    return [Asking(numbers[each.name], match) for each, match in restricted if match is not None]


def _find_sets(matches: Iterable[Match]) -> tuple[PrefixSet, ...]:
    """Return each set that one of ``matches`` names, once."""
    found: dict[PrefixSet, None] = {}
    for whole in matches:
        for match in (whole, whole.none_of):
            if match is not None:
                found.update(dict.fromkeys((*match.source_sets, *match.destination_sets)))
    return tuple(found)


@lru_cache(maxsize=len(Family))
def _make_sets(sets: tuple[PrefixSet, ...], family: Family) -> tuple[NftSet, ...]:
    """Return the nftables' sets; they are made again when they change, not for each event."""
    return tuple(render_prefix_set(each, family) for each in sets)
