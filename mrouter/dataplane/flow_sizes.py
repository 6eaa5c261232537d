"""Flows that are classified again when they have carried so many bytes.

A policy whose flows may then meet another one has a number for each step of size. The number of a
step leads by a check of what the flow has carried to the policy's action, that of the last step
leads there directly: so a flow is classified once in each step, and other policies' flows cost
no more than ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrouter.dataplane import marks
from mrouter.dataplane.fragments import set_connection_mark
from mrouter.dataplane.nft import Chain, NftSet

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The connection mark's number to an action, where a flow has just been classified.
_VERDICTS = "verdicts"
_AGAIN = "classify_again"
#: Neighbouring sizes have distant numbers; both are primes.
_MODULUS, _STRIDE = 1_048_571, 524_287
_LOOK_UP = f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @{_VERDICTS}"


@dataclass(frozen=True, slots=True)
class SizeSteps:
    """The ``sizes`` that end the steps of a policy's number, sorted, and all steps' ``numbers``.

    The first step's number is that number itself; there is one step more than sizes.
    """

    sizes: tuple[int, ...]
    numbers: tuple[int, ...]


def find_size_steps(
    turning: Mapping[str, tuple[int, ...]], names: Mapping[int, str]
) -> dict[int, SizeSteps]:
    """Return the steps of each number that has any.

    ``turning`` are the policies' sizes, from `find_turning_sizes`, ``names`` the policies of all
    numbers. A step's number lasts as long as that which it belongs to, whatever other sizes come
    or go.
    """
    taken = set(names)
    steps: dict[int, SizeSteps] = {}
    for number, name in names.items():
        sizes = turning.get(name)
        if not sizes:
            continue
        mine = [number]
        for size in sizes:
            step = (number + size % _MODULUS * _STRIDE) % marks.MAX_POLICY_NUMBER + 1
            while step in taken:
                step = step % marks.MAX_POLICY_NUMBER + 1
            taken.add(step)
            mine.append(step)
        steps[number] = SizeSteps(sizes, tuple(mine))
    return steps


def make_verdict_chain(name: str, number: int, steps: SizeSteps | None) -> Chain:
    """Return the chain that leaves a policy's number, or that of the step, in the mark."""
    first = _set_number(number)
    if steps is None:
        return Chain(name, (first,))
    largest_first = list(zip(steps.sizes, steps.numbers[1:], strict=True))[::-1]
    later = (f"ct bytes >= {size} {_set_number(each)} return" for size, each in largest_first)
    return Chain(name, (*later, first))


def _set_number(number: int) -> str:
    return set_connection_mark(marks.CONNECTION_MASK, marks.mark_policy(number))


@dataclass(frozen=True, slots=True)
class Dispatch:
    """From connection marks to actions: the ``actions`` map's elements, and what they need."""

    elements: dict[str, str]
    sets: tuple[NftSet, ...]
    chains: tuple[Chain, ...]


def make_dispatch(
    actions: Mapping[int, str], steps: Mapping[int, SizeSteps], default_action: str, errors: str
) -> Dispatch:
    """Lead every number, and those of its steps, to its chain in ``actions``.

    ``errors`` matches the ICMP errors of the family.
    """
    elements: dict[str, str] = {}
    stepped: dict[str, str] = {}
    checks: dict[str, Chain] = {}
    for number, action in actions.items():
        elements[_key(number)] = f"goto {action}"
        if number not in steps:
            continue
        mine = steps[number]
        elements.update((_key(each), f"goto {action}") for each in mine.numbers)
        for each, size in zip(mine.numbers, mine.sizes, strict=False):  # the last has no end
            name = f"{action}_below_{size}"
            rules = (f"ct bytes >= {size} goto {_AGAIN}", f"goto {action}")
            checks[name] = Chain(name, rules)
            stepped[_key(each)] = f"goto {name}"
    if not checks:
        return Dispatch(elements, (), ())
    again = Chain(
        _AGAIN,
        (
            # an error goes as the flow that it speaks of, and never chooses for it
            f"{errors} {_LOOK_UP}",
            "jump classify",
            # not by the map that has led here: nft knows no loops
            _LOOK_UP,
            f"goto {default_action}",
        ),
    )
    verdicts = NftSet(_VERDICTS, "type mark : verdict;", "map", elements)
    return Dispatch({**elements, **stepped}, (verdicts,), (again, *checks.values()))


def _key(number: int) -> str:
    return f"{marks.mark_policy(number):#010x}"
