"""How each flow is treated, as links come and go: what its number in the connection mark means.

Most policies mean the same at all times: the links of their list, as far as they are up. Those that
choose by measure, hold links down that have come back, keep running flows where they are, look at
quotas or may have to leave weak links mean something else from time to time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from mrouter.dataplane import marks
from mrouter.dataplane.classify import number_policies
from mrouter.dataplane.flow_sizes import find_size_steps
from mrouter.policy.flow_sizes import find_turning_sizes
from mrouter.policy.model import Balance, Choice
from mrouter.policy.resolve import leave_weak, list_choices, rank, resolve

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mrouter.dataplane.flow_sizes import SizeSteps
    from mrouter.policy.model import Action, Policy, PolicyTable
    from mrouter.policy.resolve import Measures

#: So many links' returns are told apart by a policy whose running flows stay.
_MOST_EPOCHS = 8
#: An odd number, far from every other multiple: neighbouring epochs have distant numbers.
_EPOCH_STEP = 0x9E3B1


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done with packets.

    ``links`` are those that ``action`` may use, None for all that are up. ``limit`` is the policy
    that shares a rate, and the rate in octets a second. ``wait``: see `Policy`.
    """

    action: Action
    links: frozenset[str] | None = None
    remark: int | None = None
    wait: bool = False
    limit: tuple[str, int] | None = None


def treat(
    policy: Policy, action: Action | None = None, links: frozenset[str] | None = None
) -> Treatment:
    """Return how ``policy``'s packets are treated, with another ``action`` or by ``links`` only."""
    limit = None if policy.rate_limit is None else (policy.name, policy.rate_limit)
    return Treatment(action or policy.action, links, policy.remark, policy.wait, limit)


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What is known of the links now: which can carry traffic, and which rather than others."""

    up: frozenset[str]
    over_quota: frozenset[str] = frozenset()
    measures: Measures = field(default_factory=dict)
    weak: frozenset[str] = frozenset()


class Steering:
    """Says which number new flows of each policy get, and how each number's flows are treated.

    ``numbers`` are by policy name, ``treatments`` by number; ``names`` are the numbers' policies.
    ``size_steps`` are by number, and have numbers of their own.
    ``next_deadline`` (monotonic seconds) is when to ``update`` if nothing happens before.
    """

    def __init__(
        self,
        table: PolicyTable,
        former: Steering | None = None,
        bases: Mapping[str, int] | None = None,
        may_weaken: frozenset[str] = frozenset(),
    ) -> None:
        """Steer by ``table``; what ``former`` knows of links and unchanged policies is kept.

        ``bases`` are the numbers of the whole file's policies, of which ``table`` may be a part.
        ``may_weaken`` are the links that may be told of as weak.
        """
        self.policies = table
        self._bases = number_policies(table) if bases is None else bases
        self._turning = find_turning_sizes(table)
        self._plain = treat_plainly(table, self._bases)
        self._up_since: dict[str, float] = {} if former is None else former._up_since  # noqa: SLF001
        self._known: set[str] = set() if former is None else former._known  # noqa: SLF001
        before = {} if former is None else former._conditional  # noqa: SLF001
        self._conditional: dict[str, _Conditional] = {}
        for policy in table.policies:
            if _is_conditional(policy, may_weaken):
                old = before.get(policy.name)
                kept = old is not None and old.policy == policy
                self._conditional[policy.name] = (
                    old if old and kept else _Conditional(policy, may_weaken)
                )
        self.numbers: Mapping[str, int] = self._bases
        self.names: Mapping[int, str] = {}
        self.treatments: Mapping[int, Treatment] = {}
        self.size_steps: Mapping[int, SizeSteps] = {}
        self.next_deadline: float | None = None
        self._facts: LinkFacts | None = None
        self._assign_numbers()

    def update(self, facts: LinkFacts, now: float) -> bool:
        """Take in what is known of the links at ``now``; return whether anything is different."""
        due = self.next_deadline is not None and self.next_deadline <= now
        if facts == self._facts and not due:
            return False  # every event asks, and thousands of policies may be conditional
        self._facts = facts
        self._note_returns(facts.up, now)
        for each in self._conditional.values():
            each.update(facts, self._up_since, now)
        deadlines = [each.deadline for each in self._conditional.values()]
        self.next_deadline = min((at for at in deadlines if at is not None), default=None)
        before = self.numbers, self.treatments
        if self._conditional:
            self._assign_numbers()
        return (self.numbers, self.treatments) != before

    def _note_returns(self, up: frozenset[str], now: float) -> None:
        for link in self._up_since.keys() - up:
            del self._up_since[link]
        for link in up - self._up_since.keys():
            # a link that is new has not come back, and is no reason to wait
            self._up_since[link] = now if link in self._known else -inf
        self._known |= up

    def _assign_numbers(self) -> None:
        numbers = dict(self._bases)
        treatments = dict(self._plain)
        names = {number: name for name, number in self._bases.items()}
        for name, each in self._conditional.items():
            for epoch, treatment in each.list_treatments():
                number = _find_number(self._bases[name], epoch, name, names)
                names[number] = name
                treatments[number] = treatment
                numbers[name] = number
        self.size_steps = find_size_steps(self._turning, names)
        for number, steps in self.size_steps.items():
            names.update(dict.fromkeys(steps.numbers, names[number]))
        self.numbers, self.treatments, self.names = numbers, treatments, names

    def order_links(self, policy: str) -> tuple[str, ...]:
        """Return the links of the policy of that name, the ones to be tried first before others."""
        treatment = self.treatments[self.numbers[policy]]
        links = treatment.links
        if links is None:
            return treatment.action.links
        return tuple(sorted(treatment.action.links, key=lambda link: link not in links))

    def list_links(self, up: Iterable[str]) -> dict[int, tuple[str, ...]]:
        """Return the links that each number's flows use while ``up`` can carry traffic."""
        usable = frozenset(up)
        links = {
            number: resolve(treatment.action, restrict(treatment, usable))
            for number, treatment in self.treatments.items()
        }
        for number, steps in self.size_steps.items():
            if number in links:  # its policy is active
                links.update(dict.fromkeys(steps.numbers, links[number]))
        return links

    def list_balanced(self) -> frozenset[int]:
        """Return the numbers whose flows are shared over several links."""
        own = {n for n, each in self.treatments.items() if isinstance(each.action, Balance)}
        steps = (self.size_steps[number].numbers for number in own & self.size_steps.keys())
        return frozenset(own.union(*steps))

    def list_held(self, policy: Policy, now: float) -> dict[str, str]:
        """Say of each link that is up and that ``policy`` does not use for now, why."""
        found = self._conditional.get(policy.name)
        return {} if found is None else dict(found.explain_held(self._up_since, now))


def treat_plainly(table: PolicyTable, numbers: Mapping[str, int]) -> dict[int, Treatment]:
    """Return how the flows of each policy's number are treated, by the file alone."""
    return {numbers[policy.name]: treat(policy) for policy in table.policies}


def restrict(treatment: Treatment, up: Collection[str]) -> Collection[str]:
    """Return those of the links ``up`` that ``treatment`` may use."""
    return up if treatment.links is None else treatment.links & frozenset(up)


def _is_conditional(policy: Policy, may_weaken: frozenset[str]) -> bool:
    by_measure = list_choices(policy.action) - {Choice.FAILOVER}
    return bool(by_measure) or _is_limited(policy, may_weaken)


def _is_limited(policy: Policy, may_weaken: frozenset[str]) -> bool:
    """Tell whether there are times at which ``policy`` does not use a link that is up."""
    has_terms = policy.hold_down or policy.stay or policy.under_quota
    return bool(has_terms or may_weaken.intersection(policy.action.links))


def _find_number(base: int, epoch: int, name: str, names: Mapping[int, str]) -> int:
    """Return the number of an epoch; the first has its policy's own."""
    if epoch == 0:
        return base
    number = (base + epoch * _EPOCH_STEP) % marks.MAX_POLICY_NUMBER + 1
    while number in names:
        number = number % marks.MAX_POLICY_NUMBER + 1
    return number


@dataclass(slots=True)
class _Epoch:
    """The links that flows have which began while these were the best; those that fail leave."""

    number: int
    action: Action
    links: frozenset[str]


class _Conditional:
    """What one policy means now."""

    def __init__(self, policy: Policy, may_weaken: frozenset[str]) -> None:
        self.policy = policy
        self.deadline: float | None = None
        self._limited = _is_limited(policy, may_weaken)
        self._over_quota: frozenset[str] = frozenset()
        self._weak: frozenset[str] = frozenset()
        self._epochs = [_Epoch(0, policy.action, frozenset())]

    def update(self, facts: LinkFacts, up_since: Mapping[str, float], now: float) -> None:
        policy, current = self.policy, self._epochs[-1]
        action = rank(policy.action, facts.measures)
        self._over_quota = facts.over_quota if policy.under_quota else frozenset()
        available = frozenset(action.links) & facts.up - self._over_quota
        ready = frozenset(
            link
            for link in available
            if link in current.links or up_since[link] + policy.hold_down <= now
        )
        usable = ready or available
        self.deadline = min(
            (up_since[link] + policy.hold_down for link in available - usable), default=None
        )
        self._weak = facts.weak
        links = leave_weak(action, usable, facts.weak)
        # what stays where it is leaves a weak link all the same, before that fails
        kept = available - (facts.weak - links)
        is_better = resolve(action, links) != resolve(current.action, current.links & kept)
        if policy.stay and is_better and current.links & kept:
            self._epochs.append(_Epoch(current.number + 1, action, links))
            del self._epochs[:-_MOST_EPOCHS]
        else:
            current.action, current.links = action, links
        for epoch in self._epochs:
            epoch.links &= kept
            if not epoch.links:
                epoch.action, epoch.links = action, links

    def list_treatments(self) -> Iterator[tuple[int, Treatment]]:
        """Yield the epochs' numbers and treatments, the current one last."""
        for epoch in self._epochs:
            links = epoch.links if self._limited else None
            yield epoch.number, treat(self.policy, epoch.action, links)

    def explain_held(self, up_since: Mapping[str, float], now: float) -> Iterator[tuple[str, str]]:
        for link in self.policy.action.links:
            if link in self._over_quota:
                yield link, "over its quota"
            elif link not in up_since or link in self._epochs[-1].links:
                continue
            elif link in self._weak:
                yield link, "up, but its signal is weak"
            else:
                left = up_since[link] + self.policy.hold_down - now
                yield link, f"held down, {max(left, 0):.0f} s to go"
