"""Marks, tables and rule preferences: every number of ours in the kernel comes from here.

Firewall mark, mask ``FIREWALL_MASK`` (the 12 highest bits); the rest is left as it is::

    31    30     29   28     27    26    25 ... 20
    OUTER STRICT COPY BICAST DECAP ENCAP slot

Connection mark, mask ``CONNECTION_MASK`` (the 20 highest bits); at the mobile router a policy's
number, at the home agent the slots that the two directions of a flow came by::

    31 ... 26  25            24               23 ... 18   17 ... 12
    .          bicast reply  bicast original  reply slot  original slot
"""

from __future__ import annotations

#: The bits of the firewall mark that are ours.
FIREWALL_MASK = 0xFFF00000
SLOT_SHIFT = 20
SLOT_MASK = 0x3F << SLOT_SHIFT
#: To be encapsulated; never to leave otherwise.
ENCAP = 1 << 26
#: Came out of a tunnel that was checked; between the outer and the inner packet only. At the mobile
#: router with slot 0 if the tunnel was a correspondent node's, which no home agent vouches for.
DECAP = 1 << 27
#: One of several copies: the far end drops what it has seen.
BICAST = 1 << 28
#: A copy that is still to be routed by its mark.
COPY = 1 << 29
#: Only by this very slot, never by the primary care-of address instead.
STRICT = 1 << 30
#: Encapsulated, or on the very way into its encapsulation: routed again, as the outer packet.
OUTER = 1 << 31

#: The bits of the connection mark that are ours.
CONNECTION_MASK = 0xFFFFF000
POLICY_SHIFT = 12
MAX_POLICY_NUMBER = (1 << 20) - 1

#: Route and rule protocol number: how we know our own again after a restart.
PROTOCOL = 77

#: The request identifier of our XFRM states and of our policies' templates, far from those that
#: IKE daemons draw; and the priority of our policies.
XFRM_REQUEST = 0x6D720000 | PROTOCOL
XFRM_PRIORITY = 7600

#: Tables and rules share their numbers. The order of preference is the order of the numbers.
_OUTER_TABLE = 7600
#: The home agent's, and the correspondent node's, for outer packets; no binding has slot 0.
NARROW_TABLE = _OUTER_TABLE
DECAP_TABLE = 7690
_SLOT_TABLE = 7700
STRICT_TABLE = 7770
#: No table of its own: a look into the main one, which finds what is on board.
LOCAL_RULE = 7774
NESTED_TABLE = 7775
PRIMARY_TABLE = 7780
TABLES = range(_OUTER_TABLE, PRIMARY_TABLE + 1)

#: The flow label of a tunnelled bicast copy. It is a hint to look for duplicates, no more.
BICAST_FLOW_LABEL = 0xB1CA5


#: At the mobile router: the slot of what waits for a link, which no binding has.
WAITING_SLOT = 0x3F


def mark_slot(slot: int) -> int:
    """Return the firewall mark bits of ``slot``."""
    return slot << SLOT_SHIFT


def slot_of_mark(mark: int) -> int:
    """Return the slot in firewall mark ``mark``."""
    return (mark & SLOT_MASK) >> SLOT_SHIFT


def came_by_home_agent(mark: int) -> bool:
    """Say whether firewall mark ``mark`` is of what came out of the home agent's tunnel."""
    return bool(mark & DECAP) and slot_of_mark(mark) != 0


def slot_table(slot: int) -> int:
    """Return the routing table, and the preference of its rule, of ``slot``."""
    return _SLOT_TABLE + slot


def outer_table(slot: int) -> int:
    """Return the table, and the preference of its rule, by which ``slot``'s outer packets go."""
    return _OUTER_TABLE + slot


def mark_policy(number: int) -> int:
    """Return the connection mark bits of policy ``number``."""
    return number << POLICY_SHIFT


def policy_of_mark(mark: int) -> int:
    """Return the policy's number in connection mark ``mark``."""
    return (mark & CONNECTION_MASK) >> POLICY_SHIFT


class FlowDirection:
    """The home agent's connection mark fields for one direction of a flow."""

    def __init__(self, name: str, slot_shift: int, bicast: int) -> None:
        """Keep conntrack's ``name`` of the direction, and where its fields lie."""
        self.name = name
        self.slot_mask = 0x3F << slot_shift
        self.bicast = bicast
        self._slot_shift = slot_shift

    def mark_slot(self, slot: int) -> int:
        """Return the connection mark bits that say "came by ``slot``"."""
        return slot << self._slot_shift

    def slot_of_mark(self, mark: int) -> int:
        """Return the slot that connection mark ``mark`` names for this direction."""
        return (mark & self.slot_mask) >> self._slot_shift


ORIGINAL = FlowDirection("original", 12, 1 << 24)
REPLY = FlowDirection("reply", 18, 1 << 25)
