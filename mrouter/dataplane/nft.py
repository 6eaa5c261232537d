"""An nftables table as data, its text, and the text that turns one table into another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mrouter.dataplane.family import Family

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The name of our table, the one that is ours in each family.
TABLE = "mrouter"

#: libnftables looks for each range that is deleted among all of them: of more than so many, it is
#: quicker to put in all anew.
MOST_DELETED = 100
_INTERVAL = "flags interval"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: its rules in nft's syntax; ``hook`` is what makes it a base chain."""

    name: str
    rules: tuple[str, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class NftSet:
    """A set or map. ``elements`` maps a key to "" (set) or to its value (map).

    ``declaration`` is what stands between the braces before the elements. A dynamic set's
    elements are the kernel's own business: leave them empty here, and they are not touched.
    ``initial`` elements are put in when the set is made, and are nothing of its identity.
    """

    name: str
    declaration: str
    kind: str = "set"
    elements: Mapping[str, str] = field(default_factory=dict)
    initial: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class NftTable:
    """The whole table; names are unique within each field."""

    counters: tuple[str, ...]
    sets: tuple[NftSet, ...]
    chains: tuple[Chain, ...]
    family: Family = Family.IPV6


def name_table(family: Family) -> str:
    """Return family and name of our table, as nft's commands have them."""
    return f"{family.word} {TABLE}"


def render_table(table: NftTable) -> str:
    """Return commands that build ``table`` from nothing."""
    place = name_table(table.family)
    lines = [f"add table {place}"]
    lines += [f"add counter {place} {name}" for name in table.counters]
    lines += [_declare_chain(place, chain) for chain in table.chains]
    for item in table.sets:
        lines.append(_make_set(place, item))
    for chain in table.chains:
        lines += _add_rules(place, chain)
    return "\n".join(lines) + "\n"


def render_replacement(table: NftTable) -> str:
    """Return one transaction that puts ``table`` in the place of whatever stands there."""
    return render_removal(table.family) + render_table(table)


def render_removal(family: Family = Family.IPV6) -> str:
    """Return one transaction after which no table of ours stands in ``family``."""
    place = name_table(family)
    return f"add table {place}\ndelete table {place}\n"


def render_change(old: NftTable, new: NftTable) -> str:
    """Return one transaction from ``old`` to ``new`` of the same family, "" if they hold the same.

    What is the same in both is not touched: counters count on, dynamic sets keep their elements.
    A base chain's hook or a set's declaration can't be changed in place: then the whole table is
    replaced, still at once.
    """
    if old == new:
        return ""
    old_chains = {chain.name: chain for chain in old.chains}
    new_chains = {chain.name: chain for chain in new.chains}
    old_sets = {item.name: item for item in old.sets}
    new_sets = {item.name: item for item in new.sets}
    if any(
        name in old_chains and old_chains[name].hook != chain.hook
        for name, chain in new_chains.items()
    ) or any(
        name in old_sets and _declaration(old_sets[name]) != _declaration(item)
        for name, item in new_sets.items()
    ):
        return render_replacement(new)

    place = name_table(new.family)
    lines = [f"add counter {place} {name}" for name in new.counters if name not in old.counters]
    lines += [
        _declare_chain(place, chain) for name, chain in new_chains.items() if name not in old_chains
    ]
    lines += [_make_set(place, item) for name, item in new_sets.items() if name not in old_sets]
    changed = [chain for name, chain in new_chains.items() if chain != old_chains.get(name)]
    gone = [name for name in old_chains if name not in new_chains]
    lines += [
        f"flush chain {place} {name}"
        for name in [*(c.name for c in changed if c.name in old_chains), *gone]
    ]
    for name, item in new_sets.items():
        if name in old_sets:
            lines += _render_element_changes(place, old_sets[name], item)
    for chain in changed:
        lines += _add_rules(place, chain)
    lines += [
        f"delete {item.kind} {place} {name}"
        for name, item in old_sets.items()
        if name not in new_sets
    ]
    lines += [f"delete chain {place} {name}" for name in gone]
    lines += [f"delete counter {place} {name}" for name in old.counters if name not in new.counters]
    return "".join(f"{line}\n" for line in lines)


def render_renewal(family: Family, name: str, elements: Mapping[str, str]) -> str:
    """Return one transaction that puts ``elements`` in a set, or gives them their timeouts anew."""
    # kernels before 6.12 leave the timeout of an element that is there as it is
    verbs = ("add", "delete", "add")
    place = name_table(family)
    lines = [line for verb in verbs for line in _change_elements(place, verb, name, elements)]
    return "".join(f"{line}\n" for line in lines)


def _render_element_changes(place: str, old: NftSet, new: NftSet) -> list[str]:
    before, after = old.elements, new.elements
    if before is after or before == after:
        return []
    stale = {key: "" for key, value in before.items() if after.get(key) != value}
    if _INTERVAL in new.declaration and len(stale) > MOST_DELETED:
        return [
            f"flush {new.kind} {place} {new.name}",
            *_change_elements(place, "add", new.name, after),
        ]
    fresh = {key: value for key, value in after.items() if before.get(key) != value}
    return [
        *_change_elements(place, "delete", new.name, stale),
        *_change_elements(place, "add", new.name, fresh),
    ]


def _change_elements(place: str, verb: str, name: str, elements: Mapping[str, str]) -> list[str]:
    texts = _write_elements(elements)
    return [f"{verb} element {place} {name} {{ {', '.join(texts)} }}"] if texts else []


def _write_elements(elements: Mapping[str, str]) -> list[str]:
    return [f"{key} : {value}" if value else key for key, value in elements.items()]


def _declaration(item: NftSet) -> tuple[str, str]:
    return item.kind, item.declaration


def _make_set(place: str, item: NftSet) -> str:
    # in one command: the kernel takes intervals far more quickly that come with their set
    texts = _write_elements({**item.elements, **item.initial})
    elements = f" elements = {{ {', '.join(texts)} }};" if texts else ""
    return f"add {item.kind} {place} {item.name} {{ {item.declaration}{elements} }}"


def _declare_chain(place: str, chain: Chain) -> str:
    hook = f" {{ {chain.hook} }}" if chain.hook else ""
    return f"add chain {place} {chain.name}{hook}"


def _add_rules(place: str, chain: Chain) -> list[str]:
    return [f"add rule {place} {chain.name} {rule}" for rule in chain.rules]
