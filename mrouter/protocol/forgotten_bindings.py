"""Mobile routers that still send by bindings which the home agent has forgotten, as in a reboot.

They would notice at their next refresh, which may be minutes away. They are told by a Binding
Error, as RFC 6275 §9.3.3 has it for packets with a Home Address option; nobody vouches for it, so
all that it does at the mobile router is that it registers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.correspondent_registration import is_routable
from mrouter.protocol.events import Counted, SendPacket
from mrouter.wire.constants import BindingErrorStatus
from mrouter.wire.messages import BindingError, Packet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.events import Effect, UnboundPacketSeen
    from mrouter.protocol.prefix_table import PrefixTable

#: Seconds between two Binding Errors about one home address (RFC 6275 §9.3.3: their rate SHOULD be
#: limited). There are no more of these times than mobile routers that are served.
_INTERVAL = 1.0


class ForgottenBindings:
    """Answers packets of served mobile routers that no binding vouches for."""

    def __init__(self, address: IPv6Address, table: PrefixTable) -> None:
        """Answer as the home agent ``address``, which serves those in ``table``."""
        self._address = address
        self._table = table
        self._next_at: dict[IPv6Address, float] = {}

    def answer(
        self, event: UnboundPacketSeen, bindings: Iterable[CacheEntry], now: float
    ) -> list[Effect]:
        """Return what to do about a packet that was dropped; ``now`` in monotonic seconds.

        ``bindings`` are all that there are.
        """
        router = self._table.find_owner(event.inner_source)
        if router is None or not is_routable(event.source):
            return [Counted("data-dropped", "not-served")]
        home = router.home_address
        # one that has others has just ended this one, and something was still on its way
        known = any(entry.home_address == home for entry in bindings)
        if known or now < self._next_at.get(home, now):
            return []
        self._next_at[home] = now + _INTERVAL
        error = BindingError(BindingErrorStatus.UNKNOWN_BINDING, home)
        return [
            Counted("data-dropped", "unknown-binding"),
            SendPacket(Packet(self._address, event.source, error)),
        ]
