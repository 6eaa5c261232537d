"""Log lines for the journal: an event's name, then key=value fields."""

from __future__ import annotations

import logging
import sys
import traceback

_LOG = logging.getLogger("mrouter")


def start_journal(level: int) -> None:
    """Log to standard error from ``level`` on; the journal adds the time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    _LOG.addHandler(handler)
    _LOG.setLevel(level)


def note(name: str, level: int = logging.INFO, /, **fields: object) -> None:
    """Log event ``name`` with ``fields``."""
    if _LOG.isEnabledFor(level):
        text = " ".join(f"{key.replace('_', '-')}={_quote(value)}" for key, value in fields.items())
        _LOG.log(level, "%s", f"{name} {text}".rstrip())


def note_exception(name: str, error: BaseException, **fields: object) -> None:
    """Log event ``name`` with ``fields`` and where ``error`` came from: nobody expected it."""
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f"{frame.filename}:{frame.lineno}" for frame in place)
    note(name, logging.ERROR, error=repr(error), where=where, **fields)
    _LOG.debug("%s", name, exc_info=error)


def _quote(value: object) -> str:
    text = str(value)
    return repr(text) if " " in text or "\n" in text or not text else text
