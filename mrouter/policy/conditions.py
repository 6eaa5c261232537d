"""A match taken apart: one condition for each thing that it asks of a packet, in words."""

from __future__ import annotations

from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from mrouter.policy.find import matches
from mrouter.policy.model import (
    Balance,
    Bicast,
    Choice,
    Drop,
    Match,
    PortRange,
    PrefixSet,
    SizeRange,
    Steer,
    WeekSpan,
)
from mrouter.policy.size_ranges import format_size, format_sizes
from mrouter.policy.values import CODE_POINTS, ICMPV6_TYPES, PROTOCOLS, format_ports
from mrouter.policy.week import format_minute, format_spans

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.policy.find import Flow
    from mrouter.policy.model import Action, Tier

#: What each condition is called in a file: the fields of a `Match` that make it, any of which is
#: enough, and the attribute of a `Flow` that it looks at.
KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "protocol": (("protocols",), "protocol"),
    "icmpv6-type": (("icmpv6_types",), "icmpv6_type"),
    "source-port": (("source_ports",), "source_port"),
    "destination-port": (("destination_ports",), "destination_port"),
    "source": (("source_prefixes", "source_sets"), "source"),
    "destination": (("destination_prefixes", "destination_sets"), "destination"),
    "source-mac": (("source_macs",), "source_mac"),
    "dscp": (("dscp",), "dscp"),
    "ingress": (("ingress",), "ingress"),
    "time": (("times",), "time"),
    "packet-size": (("packet_sizes",), "packet_size"),
    "flow-bytes": (("flow_sizes",), "flow_size"),
    "destination-domain": (("destination_domains",), "destination_domain"),
}
#: Attributes of a `Flow` that connection tracking does not keep: a running one can't be asked.
UNTRACKED = frozenset(
    {"dscp", "ingress", "source_mac", "packet_size", "flow_size", "destination_domain"}
)
#: Those of them whose answer may be another for a flow's next packet.
VARYING = frozenset({"packet_size", "flow_size", "destination_domain"})
_NEGATION = "not-"
_DSCP_NAMES = {number: name for name, number in CODE_POINTS.items()}
_NAMES = {
    "protocol": {number: name for name, number in PROTOCOLS.items()},
    "icmpv6_type": {number: name for name, number in ICMPV6_TYPES.items()},
    "dscp": _DSCP_NAMES,
    "remark": _DSCP_NAMES,
}
#: Numbers that are written as something else.
_SPELT = {*_NAMES, "time", "flow_size"}
#: What stands for an address that is not given: it is in no prefix but ::/0, or 0.0.0.0/0.
NO_ADDRESS, NO_IPV4_ADDRESS = IPv6Address(0), IPv4Address(0)
_NOTHING = (None, "", NO_ADDRESS, NO_IPV4_ADDRESS)
_MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that a policy asks of a packet.

    ``key`` is its place in the file's match table, ``asks`` what is asked for, ``match`` a match
    that asks for nothing else, ``attribute`` that of a `Flow` that answers.
    """

    key: str
    asks: str
    match: Match
    attribute: str

    def holds(self, flow: Flow) -> bool:
        """Say whether ``flow`` meets the condition."""
        return matches(self.match, flow)

    def show_answer(self, flow: Flow) -> str:
        """Return what ``flow`` has where the condition looks; "none" if it has nothing there."""
        value = getattr(flow, self.attribute)
        return "none" if value in _NOTHING else show_value(self.attribute, value)


def list_conditions(match: Match) -> tuple[Condition, ...]:
    """Return the conditions of ``match``, all of which a packet must meet; none if it has none."""
    found = [
        Condition(kind, _show_values(part, fields, attribute), part, attribute)
        for kind, (fields, attribute) in KINDS.items()
        if (part := take_part(match, fields)) != Match()
    ]
    if match.none_of is not None:
        found += [
            Condition(
                f"{_NEGATION}{each.key}",
                f"not {each.asks}",
                Match(none_of=each.match),
                each.attribute,
            )
            for each in list_conditions(match.none_of)
        ]
    return tuple(found)


def take_part(match: Match, fields: Iterable[str]) -> Match:
    """Return a match that has of ``match`` nothing but ``fields``."""
    return Match(**{field: getattr(match, field) for field in fields})


def show_value(attribute: str, value: Any) -> str:
    """Write ``value`` as a policy file does: by name where it has one."""
    if isinstance(value, PortRange):
        return format_ports(value)
    if isinstance(value, SizeRange):
        return format_sizes(value)
    if isinstance(value, PrefixSet):
        return f"set {value.name} ({len(value.packed)} prefixes, {value.digest[:8]})"
    if attribute == "time":
        return format_minute(value)
    if attribute == "flow_size":
        return format_size(value)
    return _NAMES.get(attribute, {}).get(value, str(value))


def _show_values(match: Match, fields: Iterable[str], attribute: str) -> str:
    values = [value for field in fields for value in getattr(match, field)]
    if isinstance(values[0], WeekSpan):
        return format_spans(values)
    shown = ", ".join(show_value(attribute, value) for value in values[:_MOST_SHOWN])
    more = len(values) - _MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def describe_action(action: Action) -> str:
    """Say in one line what ``action`` does."""
    match action:
        case Drop():
            return "drop"
        case Steer(links, choice):
            return f"links {', '.join(links)}{_describe_choice(choice)}"
        case Bicast(links, copies, choice):
            return f"bicast {', '.join(links)} ({copies} copies){_describe_choice(choice)}"
        case Balance(tiers, by_source):
            shown = "; then ".join(_describe_tier(tier) for tier in tiers)
            return f"balance {shown}{', sticky by source' if by_source else ''}"


def _describe_tier(tier: Tier) -> str:
    shares = tier.shares
    links = ", ".join(f"{link} = {shares[link]}" if shares else link for link in tier.links)
    return links + _describe_choice(tier.choice)


def _describe_choice(choice: Choice) -> str:
    return "" if choice is Choice.FAILOVER else f", {choice.value} first"


def describe_flow(flow: Flow) -> dict[str, Any]:
    """Return the packet's fields as JSON can carry them; those that are not known are left out."""
    values = {each.name: getattr(flow, each.name) for each in fields(flow)}
    return {
        name: show_value(name, value) if name in _SPELT or not isinstance(value, int) else value
        for name, value in values.items()
        if value not in _NOTHING
    }
