"""How much a machine remembers: every item of every container that can be reached from it."""

from __future__ import annotations

from random import Random


def count_items(machine: object) -> int:
    """Return how many items the containers of ``machine`` hold, but for its settings."""
    items = 0
    seen: set[int] = set()
    waiting = [machine]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, Random | type):
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            items += len(thing)
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset):
            items += len(thing)
            waiting += thing
        elif _is_ours(thing):
            waiting += list(_list_attributes(thing))
    return items


def _is_ours(thing: object) -> bool:
    modules = [kind.__module__ for kind in type(thing).__mro__]
    # settings are read once, and as large as the configuration
    fixed = modules[0].endswith((".settings", ".prefix_table"))
    return not fixed and any(module.startswith("mrouter.") for module in modules)


def _list_attributes(thing: object):
    yield from getattr(thing, "__dict__", {}).values()
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(thing, name):
                yield getattr(thing, name)
