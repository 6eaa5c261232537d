"""What a match asks, as nftables' tests: what stands before the verdict in a rule."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from itertools import product
from typing import TYPE_CHECKING

from mrouter.dataplane.name_sets import name_set_of
from mrouter.dataplane.prefix_lookups import PrefixLookup, find_lookup
from mrouter.policy.model import Match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mrouter.dataplane.family import Family
    from mrouter.policy.model import Network, PortRange, PrefixSet, SizeRange

    #: What a field is compared with.
    Values = str | PrefixLookup

#: As octets: by name, nft refuses it beside whatever else a policy says of the protocol.
_ICMPV6_TYPE = "meta l4proto 58 @th,0,8"
#: Where a packet has not what is looked at, no comparison holds, nor does "!=": what else says so.
_WITHOUT = {
    _ICMPV6_TYPE: ("meta l4proto != 58",),
    # by another kind of interface, or by none: the router's own packets
    "ether saddr": ("meta iiftype != ether", "meta iif 0"),
}

#: So many protocols are rules of their own.
_FEW = 2


def render_rules(match: Match, family: Family) -> Iterator[str]:
    """Yield what stands before the verdict in each of the rules that ``match`` comes to.

    A look-up asks one set alone: of several, each has a rule of its own.
    """
    choices = [
        [_write_test(selector, values) for values in alternatives]
        for selector, alternatives in _list_tests(match, family)
    ]
    for selector, alternatives in _list_tests(match.none_of or Match(), family):
        none = " ".join(_write_test(selector, values, "!=") for values in alternatives)
        choices.append([none, *_WITHOUT.get(selector, ())])
    for tests in product(*choices):
        yield " ".join(tests)


def _write_test(selector: str, values: str | PrefixLookup, operator: str = "") -> str:
    if isinstance(values, PrefixLookup):
        return values.write_test(selector, operator)
    return f"{selector} {operator} {values}" if operator else f"{selector} {values}"


def _list_tests(match: Match, family: Family) -> Iterator[tuple[str, Sequence[Values]]]:
    """Yield what each field looks at, and the sets of values that it takes, the quickest first.

    Ports stand only beside protocols that have them, so every packet that comes to be asked for
    one has it.
    """
    if match.ingress:
        yield "iifname", [_show_values(f'"{name}"' for name in match.ingress)]
    if match.protocols:
        yield "meta l4proto", _list_protocols(match)
    if match.icmpv6_types:
        yield _ICMPV6_TYPE, [_show_values(map(str, match.icmpv6_types))]
    if match.source_ports:
        yield "th sport", [_show_values(map(_render_numbers, match.source_ports))]
    if match.destination_ports:
        yield "th dport", [_show_values(map(_render_numbers, match.destination_ports))]
    if match.dscp:
        yield f"{family.word} dscp", [_show_values(map(str, match.dscp))]
    if match.source_macs:
        yield "ether saddr", [_show_values(match.source_macs)]
    yield from _list_size_tests(match)
    yield from _list_address_tests(match, family)


def _list_address_tests(match: Match, family: Family) -> Iterator[tuple[str, Sequence[Values]]]:
    if match.source_prefixes or match.source_sets:
        sets = _list_address_sets(match.source_prefixes, match.source_sets, family)
        yield f"{family.word} saddr", list(sets)
    if match.destination_prefixes or match.destination_sets:
        sets = _list_address_sets(match.destination_prefixes, match.destination_sets, family)
        yield f"{family.word} daddr", list(sets)
    if match.destination_domains:
        yield f"{family.word} daddr", [f"@{name_set_of(match.destination_domains, family)}"]


def _list_protocols(match: Match) -> list[str]:
    """Return TCP and UDP, which many policies name, as two alternatives rather than as a set."""
    protocols = [str(protocol) for protocol in match.protocols]
    return protocols if len(protocols) <= _FEW else [_show_values(protocols)]


def _list_size_tests(match: Match) -> Iterator[tuple[str, Sequence[Values]]]:
    if match.packet_sizes:
        yield "meta length", [_show_values(map(_render_numbers, match.packet_sizes))]
    if match.flow_sizes:
        yield "ct bytes", [_show_values(map(_render_numbers, match.flow_sizes))]


def _list_address_sets(
    prefixes: tuple[Network, ...], sets: tuple[PrefixSet, ...], family: Family
) -> Iterator[Values]:
    if prefixes:
        # nft refuses a prefix inside another one of the same set
        yield _show_values(map(str, _collapse(prefixes)))
    yield from (find_lookup(prefix_set, family) for prefix_set in sets)


def _collapse(prefixes: tuple[Network, ...]) -> Iterator[Network]:
    yield from collapse_addresses(each for each in prefixes if isinstance(each, IPv4Network))
    yield from collapse_addresses(each for each in prefixes if isinstance(each, IPv6Network))


def _render_numbers(numbers: PortRange | SizeRange) -> str:
    first, last = numbers.first, numbers.last
    return str(first) if first == last else f"{first}-{last}"


def _show_values(items: Iterable[str]) -> str:
    """Write what is compared: sets without names are dear by thousands, so one value is no set."""
    values = list(items)
    return values[0] if len(values) == 1 else "{ " + ", ".join(values) + " }"
