"""IPv4 packets that don't fit into a tunnel: the kernel answers them, as if they were routed.

They are marked as outer packets that are not to be encapsulated, which nothing else is, and so
find a route that is too narrow for them. What may be fragmented goes whole where it came in
fragments; otherwise it is lost.
"""

from __future__ import annotations

from mrouter.dataplane import marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.fragments import set_mark
from mrouter.dataplane.nft import Chain
from mrouter.dataplane.path_mtu import TUNNEL_HEADER
from mrouter.dataplane.state import Route, Rule

_TCP = 6
_BITS = marks.OUTER | marks.ENCAP

#: For the forward hook: several segments in one packet, each of which fits, have no way here.
STRAY_RULE = f"meta mark & {_BITS:#010x} == {marks.OUTER:#010x} drop"


def make_size_rule(mtu: int, slot: int) -> str:
    """Return the rule for what may not be fragmented and does not fit into a path of ``mtu``.

    TCP's segments are clamped, and may come as many in one packet.
    """
    size = mtu - TUNNEL_HEADER
    kind = f"ip frag-off & 0x4000 != 0 meta l4proto != {_TCP}"
    return f"meta length > {size} {kind} goto too_big_{slot}"


def make_size_chain(slot: int) -> Chain:
    """Return the chain that the rules lead to."""
    return Chain(f"too_big_{slot}", (set_mark(0, marks.OUTER | marks.mark_slot(slot)), "accept"))


def make_size_routing(mtu: int, slot: int) -> tuple[Route, Rule]:
    """Return the route by which nothing that is marked so can leave, and its rule."""
    table = marks.outer_table(slot)
    bits = marks.OUTER | marks.mark_slot(slot)
    return (
        Route(table, Family.IPV4.everything, "lo", mtu=mtu - TUNNEL_HEADER),
        Rule(table, bits, _BITS | marks.SLOT_MASK, family=Family.IPV4),
    )
