"""Names of statuses for metrics and log lines."""

from __future__ import annotations

from mrouter.wire.constants import BindingStatus

_NAMES = {status.value: status.name.lower().replace("_", "-") for status in BindingStatus}


def name_status(status: int) -> str:
    """Return the name of a Binding Acknowledgement's status, ``other`` for one without a name."""
    return _NAMES.get(status, "other")
