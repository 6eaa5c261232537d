"""Which capabilities an agent needs, and which it has."""

from __future__ import annotations

from pathlib import Path

from mrouter.errors import DataplaneError

#: Names and numbers of capabilities (linux/capability.h).
_NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
_STATUS = Path("/proc/self/status")


def require_capabilities() -> None:
    """Make sure that this process may change routes and rules, and use raw sockets.

    :raises DataplaneError: naming what is missing.
    """
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    missing = [name for name, number in _NEEDED.items() if not effective & 1 << number]
    if missing:
        raise DataplaneError(
            "start the agent",
            f"{' and '.join(missing)} missing",
            f"run as root, or with {' and '.join(_NEEDED)}",
        )
