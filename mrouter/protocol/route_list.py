"""Which bindings a correspondent node should have (the draft §7.2, §7.3, §7.7, §7.8)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mrouter.protocol.egress import find_wanted
from mrouter.protocol.route_binding import RouteBinding, create_route_binding
from mrouter.protocol.update_list import RENEWAL_RETRY

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.events import EgressAddress

    Key = tuple[str, IPv6Address]


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the mobile node is.

    ``addresses`` are its care-of addresses, ``registered`` says that its home agent tunnels for
    it, ``at_home`` that its primary interface is on the home link.
    """

    addresses: tuple[EgressAddress, ...] = ()
    registered: bool = False
    at_home: bool = False


class RouteList:
    """The bindings towards one correspondent node, kept to what the situation asks for.

    In ``single`` mode the correspondent node does not know CoAINFO, and gets the primary care-of
    address alone. ``retired`` says that it should have none. ``find_ifids`` tells which IFIDs
    other destinations know a care-of address by.
    """

    def __init__(
        self,
        home_address: IPv6Address,
        random: Random,
        find_ifids: Callable[[IPv6Address], set[int]],
    ) -> None:
        self._home_address = home_address
        self._random = random
        self._find_ifids = find_ifids
        self.situation = Situation()
        self.bindings: list[RouteBinding] = []
        self.primary: Key | None = None
        self.single = False
        self.retired = False
        self._parked: list[RouteBinding] = []  # what the de-registration of all stands for

    def place(self, situation: Situation, now: float) -> None:
        """Take note of where the mobile node is now; ``reconcile`` draws the consequences."""
        if situation == self.situation:
            return
        self.situation = situation
        if not situation.addresses and self.single:
            # Several addresses are tried again once every link has been gone.
            self.single = False
            self.bindings = [binding for binding in self.bindings if not binding.plain]
        for binding in self.bindings:
            if binding.is_ending and binding.due_at is None and not binding.waits:
                binding.due_at = now  # there may be a way to say so again

    def fall_back(self, now: float) -> None:
        """Register the primary care-of address only, without CoAINFO (the draft §7.4, §7.6).

        Its Binding Update overwrites whatever the correspondent node has.
        """
        self.single = True
        kept = next((b for b in self.bindings if b.key == self.primary and not b.is_ending), None)
        self.bindings = [] if kept is None else [kept]
        if kept is not None:
            kept.plain = True
            kept.renew_at = kept.replaces = None
            kept.test.forget()
            kept.mark_registering(now)

    def keep_single(self, binding: RouteBinding) -> None:
        """Go on with ``binding``, which was accepted as the only one."""
        self.single = True
        binding.plain = True
        binding.renew_at = binding.replaces = None
        binding.test.forget()  # the next one says nothing of CoAINFO
        self.bindings = [binding]

    def remove(self, binding: RouteBinding) -> None:
        """Take out ``binding``, which has ended."""
        self.bindings.remove(binding)
        if binding.plain:
            self._parked = []

    def is_held_back(self, binding: RouteBinding) -> bool:
        """Say whether ``binding`` has to wait for the primary care-of address's.

        "the MN first attempts to process registration of its P-CoA to the CN ... The MN MUST wait
        a BA from the CN to confirm successfully registration" (the draft §7.3).
        """
        if binding.is_ending or binding.usable or binding.key == self.primary:
            return False
        return not any(b.usable and b.key == self.primary for b in self.bindings)

    def _find_wanted(self) -> dict[Key, EgressAddress]:
        """Return what should be registered, the primary care-of address first.

        Its IFPRI is "set to zero (to indicate primary)" (the draft §7.3), and no other's is.
        """
        if self.retired:
            return {}
        wanted = find_wanted(self.situation.addresses, self._home_address, primary_only=self.single)
        return {
            key: replace(address, ifpri=max(address.ifpri, 1) if number else 0)
            for number, (key, address) in enumerate(wanted.items())
        }

    def reconcile(self, now: float) -> None:
        """Make the list match the addresses: end what has gone, begin what is new."""
        wanted = self._find_wanted()
        self.primary = next(iter(wanted), None)
        if not wanted and (self.retired or self.situation.addresses):
            self._end_all(now)
            return
        self._unpark(now)
        for binding in tuple(self.bindings):
            if binding.key in wanted and not binding.is_ending:
                if binding.set_egress(wanted[binding.key]) and not binding.plain:
                    binding.test.forget()  # its token is for the old IFPRI
                    binding.tell_change(now)
            elif binding.plain and wanted:
                self.bindings.remove(binding)  # overwritten by the next one
            elif not binding.is_ending:
                self._end(binding, now)
        present = {binding.key for binding in self.bindings if not binding.is_ending}
        for key, address in wanted.items():
            if key not in present:
                self._begin(address, now)
        self._renew(now)

    def _begin(self, address: EgressAddress, now: float) -> RouteBinding | None:
        avoid = self._find_ifids(address.address)
        binding = create_route_binding(address, self.bindings, self._random, avoid)
        if binding is not None:
            binding.plain = self.single
            binding.begin_update(now)
            self.bindings.append(binding)
        return binding

    def _end(self, binding: RouteBinding, now: float) -> None:
        if binding.held_until > now:
            binding.end(now)
        else:
            self.bindings.remove(binding)

    def _end_all(self, now: float) -> None:
        """De-register all, "by exclusion of the CoAINFO sub-option" (the draft §7.7, §7.8)."""
        if self._parked:
            return
        self._parked = [binding for binding in self.bindings if binding.held_until > now]
        self.bindings = []
        if self._parked:
            last = max(self._parked, key=lambda binding: binding.held_until)
            farewell = RouteBinding(
                last.egress,
                last.ifid,
                last.slot,
                last.sequence,
                plain=True,
                held_until=last.held_until,
            )
            farewell.end(now)
            self.bindings = [farewell]

    def _unpark(self, now: float) -> None:
        """De-register each for itself after all: one of all would end what is registered next."""
        if not self._parked:
            return
        self.bindings = []
        for binding in self._parked:
            if binding.held_until > now and not binding.plain:
                binding.end(now)
                self.bindings.append(binding)
        self._parked = []

    def _renew(self, now: float) -> None:
        """Begin a binding with a fresh IFID where one is due (the draft §5.2)."""
        for old in tuple(self.bindings):
            if not old.may_renew or old.renew_at is None or old.renew_at > now:
                continue
            fresh = self._begin(old.egress, now)
            old.renew_at = now + RENEWAL_RETRY if fresh is None else None
            if fresh is not None:
                fresh.replaces = old
