"""Which policies are active: those whose times it is, or that have none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mrouter.policy.find import contains_minute
from mrouter.policy.model import Match, PolicyTable
from mrouter.policy.week import read_minute

if TYPE_CHECKING:
    from mrouter.policy.model import Policy, WeekSpan


def find_time_zone(table: PolicyTable) -> str | None:
    """Return the zone of the policies' times; None if no policy has any."""
    return next((span.zone for policy in table.policies for span in _list_times(policy)), None)


def find_timed(table: PolicyTable) -> frozenset[str]:
    """Return the names of the policies that have times."""
    return frozenset(policy.name for policy in table.policies if _list_times(policy))


def find_week_minute(table: PolicyTable, now: float) -> int | None:
    """Return the minute of the week for ``table`` at ``now``, Unix time; None if it asks none."""
    zone = find_time_zone(table)
    return None if zone is None else read_minute(now, zone)


def take_active(table: PolicyTable, minute: int | None) -> PolicyTable:
    """Return the policies that are active in ``minute`` of the week, without their times."""
    return PolicyTable(
        tuple(
            _without_times(policy) for policy in table.policies if _is_active(policy.match, minute)
        )
    )


def _list_times(policy: Policy) -> tuple[WeekSpan, ...]:
    none_of = policy.match.none_of
    return policy.match.times + (() if none_of is None else none_of.times)


def _is_active(match: Match, minute: int | None) -> bool:
    if match.times and not contains_minute(match.times, minute):
        return False
    return match.none_of is None or not contains_minute(match.none_of.times, minute)


def _without_times(policy: Policy) -> Policy:
    if not _list_times(policy):
        return policy
    none_of = policy.match.none_of
    if none_of is not None:
        none_of = replace(none_of, times=())
        none_of = None if none_of == Match() else none_of
    return replace(policy, match=replace(policy.match, times=(), none_of=none_of))
