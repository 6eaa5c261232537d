"""Say which links an action uses now."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from mrouter.policy.model import Action, Balance, Bicast, Choice, Drop, Steer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mrouter.policy.model import Policy, Tier

#: How good links are by a measure, 0 for the best: links of one level are as good as each other.
Measures: TypeAlias = "Mapping[Choice, Mapping[str, int]]"


def rank(action: Action, measures: Measures) -> Action:
    """Return ``action`` with its links in the order in which they are tried now.

    Links of one level stay as they are listed; those that are not measured come last.
    """
    match action:
        case Drop():
            return action
        case Balance(tiers):
            return replace(action, tiers=tuple(_rank_tier(tier, measures) for tier in tiers))
        case Steer(links) | Bicast(links):
            return replace(action, links=_sort(links, action.choice, measures))


def _rank_tier(tier: Tier, measures: Measures) -> Tier:
    # where flows are shared, all links are used
    return tier if tier.weights else replace(tier, links=_sort(tier.links, tier.choice, measures))


def _sort(links: tuple[str, ...], choice: Choice, measures: Measures) -> tuple[str, ...]:
    levels = measures.get(choice, {})
    return tuple(sorted(links, key=lambda link: levels.get(link, inf)))


def list_choices(action: Action) -> set[Choice]:
    """Return the measures that ``action`` goes by."""
    match action:
        case Drop():
            return set()
        case Balance(tiers):
            return {tier.choice for tier in tiers}
        case Steer() | Bicast():
            return {action.choice}


def resolve(action: Action, up: Collection[str]) -> tuple[str, ...]:
    """Return the links to send over while the links ``up`` can carry traffic.

    None means drop, one means steer; several mean a copy over each (bicast), or that each carries
    some of the flows (balance).
    """
    match action:
        case Drop():
            return ()
        case Steer(links):
            return tuple(link for link in links if link in up)[:1]
        case Bicast(links, copies):
            return tuple(link for link in links if link in up)[:copies]
        case Balance():
            tier = find_tier(action, up)
            if tier is None:
                return ()
            running = tuple(link for link in tier.links if link in up)
            return running if tier.weights else running[:1]


def find_tier(action: Balance, up: Collection[str]) -> Tier | None:
    """Return the tier that is used while the links ``up`` can carry traffic; None if none is."""
    return next((tier for tier in action.tiers if any(link in up for link in tier.links)), None)


def leave_weak(action: Action, usable: frozenset[str], weak: Collection[str]) -> frozenset[str]:
    """Return those of the links ``usable`` that ``action`` is to go by while some are ``weak``.

    A weak link is used where there is no other, and for a copy that none would carry otherwise.
    """
    strong = usable.difference(weak)
    if isinstance(action, Bicast):
        spare = [link for link in action.links if link in usable and link not in strong]
        return strong.union(spare[: max(0, action.copies - len(strong))])
    return strong or usable


@dataclass(frozen=True, slots=True)
class LinkSituation:
    """What keeps policies from links now, and in which order they try them.

    ``down`` says of each link that can't carry traffic why not, ``held`` of each that a policy does
    not use for a reason of its own, by the policy's name.
    """

    down: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    measures: Measures = field(default_factory=dict)

    def find_unused(self, policy: Policy) -> dict[str, str]:
        """Return the links that ``policy`` does not use, and why not."""
        return {**self.held.get(policy.name, {}), **self.down}

    def resolve(self, policy: Policy, links: Collection[str]) -> tuple[str, ...]:
        """Return those of ``links`` that ``policy`` sends over."""
        unused = self.find_unused(policy)
        usable = [link for link in links if link not in unused]
        return resolve(rank(policy.action, self.measures), usable)
