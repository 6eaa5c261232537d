"""What ``mrouter link`` does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mrouter.control import request

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds for the bindings to end at the home agent, and between two looks.
_PATIENCE = 10.0
_PAUSE = 0.1


def drain(link: str, socket: Path) -> int:
    """Have the agent at ``socket`` leave ``link``, and wait until it has; return the exit code.

    :raises ControlError: if the agent can't be asked, or has no such link.
    """
    request(socket, f"drain {link}")
    deadline = time.monotonic() + _PATIENCE
    while True:
        status = request(socket, "status")
        bound = [row for row in status["bindings"] if row["link"] == link]
        if not bound:
            print(f"{link} is drained: {_describe_others(status)}")
            return 0
        if time.monotonic() >= deadline:
            print(f"{link} is still in use: {_describe_others(status)}")
            return 1
        time.sleep(_PAUSE)


def undrain(link: str, socket: Path) -> None:
    """Have the agent at ``socket`` use ``link`` again.

    :raises ControlError: if the agent can't be asked, or has no such link.
    """
    drained = request(socket, f"undrain {link}")
    print(f"{link} is used again; drained: {', '.join(drained) or 'none'}")


def _describe_others(status: dict[str, Any]) -> str:
    drained = status["drained"]
    usable = {row["link"] for row in status["bindings"] if row["usable"]} - set(drained)
    if not usable:
        return "no other link can be used"
    return f"flows go by {' and '.join(sorted(usable))}"
