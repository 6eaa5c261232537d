"""What the home agent counts, and writes into its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.events import Counted, Noted
from mrouter.protocol.statuses import name_status
from mrouter.wire.constants import BindingStatus

if TYPE_CHECKING:
    from mrouter.protocol.bindings import CacheEntry


def count_refusal(status: BindingStatus) -> Counted:
    """Return what to count for a Binding Update that was refused with ``status``."""
    what = {
        BindingStatus.AUTHENTICATION_FAILED: "authentication-failed",
        BindingStatus.ID_MISMATCH: "replay-rejected",
        BindingStatus.MESSAGE_ID_REQUIRED: "replay-rejected",
    }.get(status, "binding-refused")
    return Counted(what, name_status(status))


def note_entry(name: str, entry: CacheEntry) -> Noted:
    """Return a log line ``name`` about ``entry``."""
    return Noted(
        name,
        (
            ("home_address", str(entry.home_address)),
            ("care_of_address", str(entry.care_of_address)),
            ("ifid", "none" if entry.ifid is None else str(entry.ifid)),
            ("ifpri", str(entry.ifpri)),
        ),
    )
