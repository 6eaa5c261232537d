"""What a match asks for of the packets of one IP version."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mrouter.policy.model import Match
from mrouter.policy.prefix_sets import list_spans

if TYPE_CHECKING:
    from mrouter.policy.model import Network, PrefixSet

_ENDS = (("source_prefixes", "source_sets"), ("destination_prefixes", "destination_sets"))


def restrict_match(match: Match, version: int) -> Match | None:
    """Return what ``match`` asks of a packet of IP ``version``; None if it takes no such packet.

    Its prefixes are all of that version, and each of its sets holds some that are.
    """
    if version == 4 and match.icmpv6_types:
        return None
    restricted = _keep_version(match, version)
    if any(_names(match, end) and not _names(restricted, end) for end in _ENDS):
        return None
    if match.none_of is None:
        return restricted
    # what no packet of this version has need not be looked for
    none_of = _keep_version(match.none_of, version)
    if version == 4 and none_of.icmpv6_types:
        none_of = replace(none_of, icmpv6_types=())
    return replace(restricted, none_of=None if none_of == Match() else none_of)


def _names(match: Match, end: tuple[str, str]) -> bool:
    return any(getattr(match, field) for field in end)


def _keep_version(match: Match, version: int) -> Match:
    kept: dict[str, Any] = {
        "source_prefixes": _filter_prefixes(match.source_prefixes, version),
        "destination_prefixes": _filter_prefixes(match.destination_prefixes, version),
        "source_sets": _filter_sets(match.source_sets, version),
        "destination_sets": _filter_sets(match.destination_sets, version),
    }
    changed = {field: left for field, left in kept.items() if left != getattr(match, field)}
    return replace(match, **changed) if changed else match


def _filter_prefixes(prefixes: tuple[Network, ...], version: int) -> tuple[Network, ...]:
    return tuple(prefix for prefix in prefixes if prefix.version == version)


def _filter_sets(sets: tuple[PrefixSet, ...], version: int) -> tuple[PrefixSet, ...]:
    return tuple(each for each in sets if list_spans(each, version))
