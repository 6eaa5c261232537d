"""The home agent's choice of the binding that a packet for a mobile router goes by.

In this order: the slot that the flow's other direction came by; the mobile router's flow
bindings (RFC 6089); the primary care-of address.

Deviates from RFC 6089 §5.3.6, where flow bindings come first: what a flow's other direction came by
is the mobile router's own latest choice for that very flow, also where it is one that no traffic
selector can express; and it costs a running flow one look-up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.flow_choice import FIRST_CHAIN, find_without
from mrouter.dataplane.fragments import has_mark, set_connection_mark, set_mark
from mrouter.dataplane.nft import Chain

if TYPE_CHECKING:
    from collections.abc import Iterable


def map_slots(slots: Iterable[int], verdict: str) -> str:
    """Return a map from the firewall mark's slots to ``verdict_<slot>``."""
    elements = (f"{marks.mark_slot(slot):#010x} : {verdict}_{slot}" for slot in slots)
    return "{ " + ", ".join(elements) + " }"


def make_arrival_chains(slots: list[int]) -> Iterable[Chain]:
    """Keep the slot that an outer packet came by in the mark, which the inner packet has then."""
    for slot in slots:
        yield Chain(
            f"from_{slot}",
            (
                set_mark(0, marks.DECAP | marks.mark_slot(slot)),
                f"counter name uplink-{slot}",
                "goto decap",
            ),
        )


def make_uplink_chains(slots: list[int]) -> Iterable[Chain]:
    """Learn the way back: the slot that a packet came by goes into the connection mark.

    Each direction of a flow has a field of its own, since both ends may be mobile routers.
    """
    for slot in slots:
        yield Chain(
            f"inner_{slot}",
            (
                f"{has_mark(marks.BICAST)} goto inner_bicast_{slot}",
                f"ct direction vmap {{ original : goto learn_original_{slot}, "
                f"reply : goto learn_reply_{slot} }}",
            ),
        )
        yield Chain(
            f"inner_bicast_{slot}",
            (
                *(
                    f"ct direction {way.name} update @bicast_{way.name}_{slot} {{ ct id }}"
                    for way in (marks.ORIGINAL, marks.REPLY)
                ),
                f"jump unseen_{slot}",
                f"ct direction original goto learn_bicast_original_{slot}",
                f"ct direction reply goto learn_bicast_reply_{slot}",
            ),
        )
        for way in (marks.ORIGINAL, marks.REPLY):
            field = way.slot_mask | way.bicast
            for name, value in (
                (f"learn_{way.name}_{slot}", way.mark_slot(slot)),
                (f"learn_bicast_{way.name}_{slot}", way.mark_slot(slot) | way.bicast),
            ):
                yield Chain(
                    name,
                    (
                        f"ct mark & {field:#010x} == {value:#010x} return",
                        set_connection_mark(field, value),
                    ),
                )


def make_downlink_chains(
    slots: list[int], *, by_flow: bool, family: Family = Family.IPV6
) -> Iterable[Chain]:
    """Send a flow back by the slot that its other direction came by.

    Where it came by none, or by one that has gone, ``by_flow`` says that there are flow bindings
    to be asked; what they leave finds no slot's route, and the primary care-of address's table
    takes it (draft §8.1: choose by priority).
    """
    ways = ((marks.ORIGINAL, marks.REPLY), (marks.REPLY, marks.ORIGINAL))
    otherwise = (f"goto {FIRST_CHAIN}",) if by_flow else ()
    yield Chain(
        "downlink",
        (
            *([f"{fragments.UNSTEERED_ICMPV6} return"] if family is Family.IPV6 else []),
            set_mark(0, marks.ENCAP),
            "ct direction vmap { original : goto downlink_original, reply : goto downlink_reply }",
            *otherwise,
        ),
    )
    for here, back in ways:
        elements = ", ".join(
            f"{back.mark_slot(slot) | bits:#010x} : goto {verdict}"
            for slot in slots
            for bits, verdict in (
                (0, f"to_{slot}"),
                (back.bicast, f"downlink_bicast_{here.name}_{slot}"),
            )
        )
        by_mark = f"ct mark & {back.slot_mask | back.bicast:#010x} vmap {{ {elements} }}"
        yield Chain(f"downlink_{here.name}", (*((by_mark,) if slots else ()), *otherwise))
    for here, back in ways:
        for slot in slots:
            # The mark has been read, once for all: on another processor the other direction's next
            # packet may change it, and two copies would go by one slot.
            others = [
                f"ct id @bicast_{back.name}_{other} jump copy_{other}"
                for other in slots
                if other != slot
            ]
            yield Chain(f"downlink_bicast_{here.name}_{slot}", (*others, f"goto last_{slot}"))
    for slot in slots:
        use = (
            set_mark(0, marks.ENCAP | marks.mark_slot(slot)),
            f"counter name downlink-{slot}",
        )
        # other mobile routers may have this slot where the packet's own has lost it
        gone = (f"ip6 daddr @{find_without(slot)} goto {FIRST_CHAIN}",) if by_flow else ()
        yield Chain(f"to_{slot}", (*gone, *use))
        if by_flow:
            yield Chain(f"flow_{slot}", use)
        copy = (*fragments.copy_rules(slot, family), f"counter name downlink-{slot}")
        yield Chain(f"copy_{slot}", copy)
        # STRICT stays set if a copy was made: should this slot be gone, the others carry the flow
        yield Chain(
            f"last_{slot}",
            (
                set_mark(marks.STRICT, marks.ENCAP | marks.BICAST | marks.mark_slot(slot)),
                f"counter name downlink-{slot}",
            ),
        )
