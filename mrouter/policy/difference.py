"""What changes from one table of policies to another, in policies and in tracked flows."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from mrouter.policy.conditions import (
    UNTRACKED,
    VARYING,
    describe_action,
    describe_flow,
    list_conditions,
    show_value,
)
from mrouter.policy.find import Flow
from mrouter.policy.resolve import LinkSituation
from mrouter.policy.values import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from mrouter.policy.model import Policy, PolicyTable


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs; "" stands for one that is not there."""

    field: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What differs in the policy called ``name`` that both tables have."""

    name: str
    changes: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class TableDifference:
    """Names of policies that only one table has, or that stand elsewhere among the others."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[str, ...]
    changed: tuple[PolicyChange, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved or self.changed)


@dataclass(frozen=True, slots=True)
class TrackedFlow:
    """A flow as connection tracking knows it, with the policy and links that it has.

    Of ``flow`` DSCP, ingress interface and source MAC are not known.
    """

    flow: Flow
    policy: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FlowChange:
    """A tracked flow that would meet one of ``policies``, and go by ``links`` if that is the first.

    There are several where a condition decides that can't be asked of a tracked flow.
    """

    tracked: TrackedFlow
    policies: tuple[str, ...]
    links: tuple[str, ...]


def compare_tables(old: PolicyTable, new: PolicyTable) -> TableDifference:
    """Return what is different in ``new``; policies are known by their names."""
    before = {policy.name: policy for policy in old.policies}
    after = {policy.name: policy for policy in new.policies}
    changed = (
        PolicyChange(name, tuple(_compare(before[name], policy)))
        for name, policy in after.items()
        if name in before
    )
    return TableDifference(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        moved=_find_moved([name for name in before if name in after], after),
        changed=tuple(change for change in changed if change.changes),
    )


def _find_moved(before: Sequence[str], after: Collection[str]) -> tuple[str, ...]:
    """Return the fewest names without which both have the rest in the same order."""
    place = {name: index for index, name in enumerate(before)}
    common = [name for name in after if name in place]
    # the longest rising run of old places stays; ends[k] is the lowest end of one of length k + 1
    ends: list[int] = []
    lengths = []
    for name in common:
        length = bisect_left(ends, place[name])
        ends[length : length + 1] = [place[name]]
        lengths.append(length)
    wanted = len(ends) - 1
    staying = set()
    for name, length in zip(reversed(common), reversed(lengths), strict=True):
        if length == wanted:
            staying.add(name)
            wanted -= 1
    return tuple(name for name in common if name not in staying)


def _compare(old: Policy, new: Policy) -> Iterator[FieldChange]:
    if old == new:
        return
    before, after = _describe(old), _describe(new)
    for field in sorted({*before, *after}, key=_rank):
        one, other = before.get(field, _ABSENT), after.get(field, _ABSENT)
        if one.value != other.value:
            yield FieldChange(field, one.text, other.text)


def _rank(field: str) -> tuple[bool, str]:
    return not field.startswith("match."), field


@dataclass(frozen=True, slots=True)
class _Shown:
    """A value, and how it looks; a long one is cut short, so that two may look the same."""

    value: Any
    text: str


_ABSENT = _Shown(None, "")


def _describe(policy: Policy) -> dict[str, _Shown]:
    conditions = list_conditions(policy.match)
    described = {f"match.{each.key}": _Shown(each.match, each.asks) for each in conditions}
    described["action"] = _Shown(policy.action, describe_action(policy.action))
    for each in fields(policy):
        value = getattr(policy, each.name)
        if each.name not in ("name", "match", "action") and value != each.default:
            described[each.name] = _Shown(value, show_value(each.name, value))
    return described


# --- tracked flows ----------------------------------------------------------------------


def read_tracked_flow(row: Mapping[str, Any]) -> TrackedFlow:
    """Read a flow as the agent's control command "flows" lists it."""
    protocol = row["protocol"]
    flow = Flow(
        protocol=PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol),
        source=ip_address(row["source"]),
        destination=ip_address(row["destination"]),
        source_port=row["source_port"],
        destination_port=row["destination_port"],
        icmpv6_type=row["icmpv6_type"],
    )
    return TrackedFlow(flow, row["policy"], tuple(row["links"]))


def find_changing_flows(
    flows: Iterable[TrackedFlow],
    old: PolicyTable,
    new: PolicyTable,
    situation: LinkSituation | None = None,
) -> Iterator[FlowChange]:
    """Yield the flows that would have another policy or other links than they have by ``old``.

    In no ``situation`` every link can carry traffic. A flow whose policy is no longer in ``old``
    has been overtaken by a reload and is passed over.
    """
    pairs = zip(old.policies, new.policies, strict=False)
    same = next((n for n, (one, other) in enumerate(pairs) if one != other), len(new.policies))
    # what met a policy up to the first that differs keeps it, all else has met none of them
    before = [_Asked(policy) for policy in old.policies[same:]]
    after = [_Asked(policy) for policy in new.policies[same:]]
    places = {asked.policy.name: place for place, asked in enumerate(before)}
    for tracked in flows:
        if tracked.policy not in places:
            continue
        place = places[tracked.policy]
        met = _find_answers(tracked, after, before[place], before[:place])
        links = (situation or LinkSituation()).resolve(met[0], met[0].action.links)
        if len(met) > 1 or (met[0].name, links) != (tracked.policy, tracked.links):
            yield FlowChange(tracked, tuple(policy.name for policy in met), links)


class _Asked:
    """A policy with its conditions, apart by whether a tracked flow can answer them."""

    def __init__(self, policy: Policy) -> None:
        conditions = list_conditions(policy.match)
        self.policy = policy
        self.known = [each for each in conditions if each.attribute not in UNTRACKED]
        self.unknown = {each.match for each in conditions if each.attribute in UNTRACKED}
        #: Whether what the flow's first packets have answered says what the next ones will.
        self.lasting = not any(each.attribute in VARYING for each in conditions)

    def may_match(self, flow: Flow) -> bool:
        return all(each.holds(flow) for each in self.known)


def _find_answers(
    tracked: TrackedFlow, after: Sequence[_Asked], own: _Asked, missed: Sequence[_Asked]
) -> list[Policy]:
    """Return the policies that ``tracked`` may meet, the last of them if none before.

    What can't be asked is inferred where that is possible: the flow has met ``own``, and has
    ``missed`` those before it.
    """
    flow = tracked.flow
    refused = [
        asked.unknown
        for asked in missed
        if asked.unknown and asked.lasting and asked.may_match(flow)
    ]
    answers = []
    for asked in after:
        if not asked.may_match(flow) or any(asked.unknown >= each for each in refused):
            continue
        answers.append(asked.policy)
        if asked.lasting and asked.unknown <= own.unknown:
            break
    return answers


# --- as JSON can carry it ---------------------------------------------------------------


def describe_difference(
    difference: TableDifference, flows: Iterable[FlowChange] | None = None
) -> dict[str, Any]:
    """Return what ``mrouter policy diff --json`` prints; ``flows`` are None if nobody was asked."""
    return {
        "added": list(difference.added),
        "removed": list(difference.removed),
        "moved": list(difference.moved),
        "changed": [
            {
                "policy": policy.name,
                "fields": [
                    {"field": each.field, "old": each.old, "new": each.new}
                    for each in policy.changes
                ],
            }
            for policy in difference.changed
        ],
        "flows": None if flows is None else [_describe_change(each) for each in flows],
    }


def _describe_change(change: FlowChange) -> dict[str, Any]:
    tracked = change.tracked
    packet = describe_flow(tracked.flow)
    return {
        **{name: value for name, value in packet.items() if name not in UNTRACKED},
        "policy": tracked.policy,
        "links": list(tracked.links),
        "new_policies": list(change.policies),
        "new_links": list(change.links),
    }
