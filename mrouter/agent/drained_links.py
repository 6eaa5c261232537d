"""Links that an operator has set aside: their flows and bindings move while they still work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.agent.journal import note
from mrouter.control import ControlError
from mrouter.toml_source import show, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.protocol.events import EgressAddress

_VERBS = ("drain", "undrain")


class DrainedLinks:
    """Keeps their names. A drained link is used on while there is no other."""

    def __init__(self, known: Iterable[str], drained: Iterable[str] = ()) -> None:
        """Know the links ``known``; of those, ``drained`` are set aside from the start."""
        self._known = tuple(known)
        self._names = set(drained) & set(self._known)

    @property
    def names(self) -> tuple[str, ...]:
        """The links that are set aside, sorted."""
        return tuple(sorted(self._names))

    def obey(self, command: str) -> bool:
        """Obey ``command`` if it is "drain LINK" or "undrain LINK"; return whether it is.

        :raises ControlError: if there is no such link.
        """
        verb, _, name = command.partition(" ")
        if verb not in _VERBS:
            return False
        if name not in self._known:
            raise ControlError(f"no link {show(name)} ({suggest(name, self._known)})")
        if verb == "drain":
            self._names.add(name)
        else:
            self._names.discard(name)
        note(f"link-{verb}ed", link=name)
        return True

    def leave_out(self, addresses: tuple[EgressAddress, ...]) -> tuple[EgressAddress, ...]:
        """Return ``addresses`` without those of drained links, unless there are no others."""
        kept = tuple(each for each in addresses if each.link not in self._names)
        return kept or addresses
