"""Say which links an action uses now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.policy.model import Action, Balance, Bicast, Drop, Steer

if TYPE_CHECKING:
    from collections.abc import Collection

    from mrouter.policy.model import Tier


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
