"""Flows shared over several links by weight: no state is kept, a flow's hash says its link.

A hash falls into one of many buckets, and every bucket has an order of links of its own: it takes
the first of them that is up. So the loss of a link moves that link's buckets alone, and its return
moves them back. The orders are made so that whatever links are up, each has its share.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from mrouter.dataplane import marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.fragments import set_mark
from mrouter.dataplane.nft import Chain, NftSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

#: The set that counts what balanced policies send, by (connection mark, firewall mark).
BALANCED_SET = "balanced"

#: So many buckets at least, that rounding them is far below a thousandth.
_LEAST_BUCKETS = 1 << 16
#: Never another: a restart leaves every flow on its link.
_SEED = marks.PROTOCOL
#: Whose header begins with ports: TCP, UDP, SCTP, UDP-Lite. Of others not even the identifier of an
#: echo request is looked at, which its error messages would not show.
_WITH_PORTS = "meta l4proto { 6, 17, 132, 136 }"

#: Buckets from the first to the last, both included.
Span = tuple[int, int]


def count_buckets(shares: Mapping[str, int]) -> int:
    """Return how many buckets there are: while all links are up, shares are exact."""
    total = sum(shares.values())
    return total * -(-_LEAST_BUCKETS // total)


def assign_buckets(shares: Mapping[str, int], up: Collection[str]) -> dict[Span, str]:
    """Return the link of each bucket, in order, neighbours with the same link as one span.

    ``shares`` are the weights of all links, those not in ``up`` included. It depends on these two
    alone, not on what was up before, nor on their order.
    """
    found: dict[Span, str] = {}
    # buckets by the links that they would take and that are down; those of as many such links
    # are complete before they are shared out
    waiting: dict[frozenset[str], list[Span]] = {frozenset(): [(0, count_buckets(shares) - 1)]}
    while waiting:
        refused: dict[frozenset[str], list[Span]] = defaultdict(list)
        for down, spans in waiting.items():
            left = {link: shares[link] for link in sorted(shares) if link not in down}
            for link, part in _share_out(left, sorted(spans)):
                if link in up:
                    found[part] = link
                else:
                    refused[down | {link}].append(part)
        waiting = {down: spans for down, spans in refused.items() if len(down) < len(shares)}
    return _join(found)


def _share_out(shares: Mapping[str, int], spans: Iterable[Span]) -> Iterator[tuple[str, Span]]:
    """Cut ``spans`` into parts by weight, each link's one after the other."""
    left = deque(spans)
    size, total = sum(last - first + 1 for first, last in left), sum(shares.values())
    weight = given = 0
    for link, share in shares.items():
        weight += share
        # rounded where it ends, not by its length: so the lengths add up
        wanted = size * weight // total - given
        given += wanted
        while wanted:
            first, last = left.popleft()
            end = min(last, first + wanted - 1)
            yield link, (first, end)
            wanted -= end - first + 1
            if end < last:
                left.appendleft((end + 1, last))


def _join(found: Mapping[Span, str]) -> dict[Span, str]:
    joined: list[tuple[Span, str]] = []
    for (first, last), link in sorted(found.items()):
        if joined and joined[-1][1] == link:
            first = joined.pop()[0][0]
        joined.append(((first, last), link))
    return dict(joined)


def balance_rules(
    shares: Mapping[str, int],
    by_source: bool,
    slots: Mapping[str, int],
    family: Family = Family.IPV6,
) -> tuple[str, ...]:
    """Return the rules that send a packet by its flow's link, or by its source's.

    ``shares`` are the weights of all links, ``slots`` has those that are up. Only what leaves the
    vehicle is looked at, so the two directions of a flow need not have the same hash.
    """
    choices = ", ".join(
        f"{_render_span(span)} : goto {_chain_name(slots[link])}"
        for span, link in assign_buckets(shares, slots).items()
    )
    choose = f"mod {count_buckets(shares)} seed {_SEED:#x} vmap {{ {choices} }}"
    source, destination = f"{family.word} saddr", f"{family.word} daddr"
    if by_source:
        return (f"jhash {source} {choose}",)
    addresses = f"{source} . {destination} . meta l4proto"
    return (
        f"{_WITH_PORTS} jhash {addresses} . th sport . th dport {choose}",
        f"jhash {addresses} {choose}",
    )


def single_rules(slot: int) -> tuple[str, ...]:
    """Return the rules of a balanced policy that has one link only for now."""
    return (f"goto {_chain_name(slot)}",)


def share_chain(slot: int) -> Chain:
    """Return the chain that sends by ``slot``, and counts for which policy."""
    bits = marks.ENCAP | marks.mark_slot(slot)
    count = f"update @{BALANCED_SET} {{ ct mark . meta mark }}"
    return Chain(_chain_name(slot), (set_mark(0, bits), count, "accept"))


def balanced_set() -> NftSet:
    """Return the set in which balanced policies' packets are counted, by policy and slot."""
    declaration = "typeof ct mark . meta mark; flags dynamic; size 65536; counter;"
    return NftSet(BALANCED_SET, declaration)


def _render_span(span: Span) -> str:
    first, last = span
    return str(first) if first == last else f"{first}-{last}"


def _chain_name(slot: int) -> str:
    return f"share_{slot}"
