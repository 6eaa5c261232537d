"""Say which links an action uses now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.policy.model import Action, Bicast, Drop, Steer

if TYPE_CHECKING:
    from collections.abc import Collection


def resolve(action: Action, up: Collection[str]) -> tuple[str, ...]:
    """Return the links to send over while the links ``up`` can carry traffic.

    None means drop, one means steer, several mean a copy over each.
    """
    match action:
        case Drop():
            return ()
        case Steer(links):
            return tuple(link for link in links if link in up)[:1]
        case Bicast(links, copies):
            return tuple(link for link in links if link in up)[:copies]
