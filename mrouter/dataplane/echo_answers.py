"""The home agent's own echo replies go back by the binding that the request came by.

Mobile routers probe their bindings so. seg6 delivers a request untracked, so that no connection
mark can tell the way; a set for each slot remembers who asked by it. With ip6tnl requests are
tracked, and their answers go by the connection mark as everything does.
"""

from __future__ import annotations

from mrouter.dataplane import marks
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.dataplane.state import Encapsulation
from mrouter.dataplane.way_back import map_slots

#: The kernel answers at once.
_TIMEOUT = "1s"


class EchoAnswers:
    """What the ruleset needs for ``slots``; nothing where requests are tracked."""

    def __init__(self, encapsulation: Encapsulation, slots: list[int]) -> None:
        self._slots = slots if encapsulation is Encapsulation.SEG6 else []

    @property
    def delivered(self) -> str:
        """The chain for what seg6 has delivered to the home agent itself."""
        return "delivered" if self._slots else "inner"

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules for what the home agent itself sends to a mobile router."""
        return ("icmpv6 type echo-reply goto answer",) if self._slots else ()

    @property
    def sets(self) -> tuple[NftSet, ...]:
        """The sets of who has asked by each slot."""
        return tuple(
            NftSet(
                f"asked_{slot}",
                "typeof ip6 saddr . icmpv6 id; flags dynamic,timeout; "
                f"timeout {_TIMEOUT}; size 65536;",
            )
            for slot in self._slots
        )

    @property
    def chains(self) -> tuple[Chain, ...]:
        """The chains that remember and find a request's slot; they go on as without."""
        if not self._slots:
            return ()
        by_slot = f"meta mark & {marks.SLOT_MASK:#010x} vmap {map_slots(self._slots, 'jump asked')}"
        return (
            Chain("delivered", (f"icmpv6 type echo-request {by_slot}", "goto inner")),
            *(
                Chain(f"asked_{slot}", (f"update @asked_{slot} {{ ip6 saddr . icmpv6 id }}",))
                for slot in self._slots
            ),
            Chain(
                "answer",
                (
                    *(
                        f"ip6 daddr . icmpv6 id @asked_{slot} goto to_{slot}"
                        for slot in self._slots
                    ),
                    "goto downlink",
                ),
            ),
        )
