"""Signals as exceptions, and sections which they may not break in the middle."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptGuard:
    """Turn SIGINT, SIGTERM and SIGHUP into exceptions so that ``finally`` and ``with`` clean up.

    SIGINT raises KeyboardInterrupt, the others SystemExit(128 + number). Within ``deferred()``
    they wait for the section's end. Outside the main thread, where Python lets nobody install
    handlers, the guard does nothing.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._pending: int | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Take the handlers over."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Give the handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold signals back until the section ends, then raise the first that came."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and self._pending is not None:
                number, self._pending = self._pending, None
                _raise_for(number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._depth == 0:
            _raise_for(number)
        elif self._pending is None:
            self._pending = number


def _raise_for(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
