"""Say why a packet meets its policy, why none before it, and which links it takes now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mrouter.policy.conditions import (
    Condition,
    describe_action,
    describe_flow,
    list_conditions,
)
from mrouter.policy.find import Flow, find_policy
from mrouter.policy.resolve import LinkSituation, rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mrouter.policy.model import Policy, PolicyTable


@dataclass(frozen=True, slots=True)
class LinkChoice:
    """One of the policy's links, in the order of preference: is it used, and why or why not."""

    link: str
    used: bool
    reason: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An earlier policy, and the first of its conditions that the packet does not meet."""

    policy: Policy
    failed: Condition


@dataclass(frozen=True, slots=True)
class Explanation:
    """``policy`` is met by all of its ``conditions``; ``passed_over`` stand before it."""

    flow: Flow
    policy: Policy
    conditions: tuple[Condition, ...]
    links: tuple[LinkChoice, ...]
    passed_over: tuple[PassedOver, ...]


def explain_flow(
    table: PolicyTable, flow: Flow, situation: LinkSituation | None = None
) -> Explanation:
    """Explain what becomes of ``flow``; in no ``situation`` every link can carry traffic."""
    policy = find_policy(table, flow)
    earlier = table.policies[: table.policies.index(policy)]
    return Explanation(
        flow=flow,
        policy=policy,
        conditions=list_conditions(policy.match),
        links=explain_links(policy, situation or LinkSituation()),
        passed_over=tuple(PassedOver(each, _find_failed(each, flow)) for each in earlier),
    )


def explain_links(policy: Policy, situation: LinkSituation) -> tuple[LinkChoice, ...]:
    """Say of each link of ``policy`` whether it is used now, and why or why not."""
    listed = rank(policy.action, situation.measures).links
    used, unused = situation.resolve(policy, listed), situation.find_unused(policy)
    return tuple(LinkChoice(link, link in used, _say_why(link, used, unused)) for link in listed)


def _say_why(link: str, used: tuple[str, ...], unused: Mapping[str, str]) -> str:
    if link in unused:
        return unused[link]
    if link not in used:
        return f"up, but {' and '.join(used)} {'comes' if len(used) == 1 else 'come'} before it"
    return "up" if len(used) == 1 else f"up, as one of {len(used)}"


def _find_failed(policy: Policy, flow: Flow) -> Condition:
    return next(each for each in list_conditions(policy.match) if not each.holds(flow))


def describe_explanation(explanation: Explanation) -> dict[str, Any]:
    """Return what ``mrouter policy explain --json`` prints."""
    flow, policy = explanation.flow, explanation.policy
    return {
        "packet": describe_flow(flow),
        "policy": policy.name,
        "action": describe_action(policy.action),
        "conditions": [_describe_condition(each, flow) for each in explanation.conditions],
        "links": [
            {"link": each.link, "used": each.used, "reason": each.reason}
            for each in explanation.links
        ],
        "passed_over": [
            {"policy": each.policy.name, **_describe_condition(each.failed, flow)}
            for each in explanation.passed_over
        ],
    }


def _describe_condition(condition: Condition, flow: Flow) -> dict[str, str]:
    answer = condition.show_answer(flow)
    return {"condition": condition.key, "asks": condition.asks, "has": answer}
