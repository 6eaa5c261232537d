"""Runs what follows ModemManager in a thread of its own, and goes on after every failure.

A thread, since the D-Bus library closes the descriptor of a lost connection under the event loop
that watches it: whatever becomes of that loop, the agent's goes on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mrouter.links.radio import RadioFacts

T = TypeVar("T")

#: After how many seconds a bus that was lost or can't be had is tried again.
_RETRY = 5.0
#: How long to wait for the thread's end, in seconds; it ends with the process anyway.
_PATIENCE = 2.0


class ModemWatch:
    """Watches from ``start`` to ``stop``; calls back in the loop that it was started in."""

    def __init__(
        self,
        interfaces: Collection[str],
        on_facts: Callable[[Mapping[str, RadioFacts]], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        """Call ``on_facts`` with what is known by interface, none after ``on_failure``."""
        self._interfaces = interfaces
        self._on_facts = on_facts
        self._on_failure = on_failure
        self._stop: Callable[[], None] | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch, and call back in ``loop``."""
        own_loop = asyncio.new_event_loop()
        task = own_loop.create_task(self._watch(loop))
        thread = Thread(target=_run, args=(own_loop, task), name="modems", daemon=True)

        def stop() -> None:
            with suppress(RuntimeError):  # it has ended by itself
                own_loop.call_soon_threadsafe(task.cancel)
            thread.join(_PATIENCE)

        self._stop = stop
        thread.start()

    def stop(self) -> None:
        """Watch no more; what is called back already may still arrive."""
        if self._stop is not None:
            self._stop()

    async def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            from mrouter.agent.modem_manager import follow_modems
        except ImportError as error:
            _call_back(loop, self._on_failure, error)
            return  # the next start may find it installed
        while True:
            try:
                await follow_modems(self._interfaces, partial(_call_back, loop, self._on_facts))
            except Exception as error:  # whatever a service answers
                _call_back(loop, self._on_failure, error)
            await asyncio.sleep(_RETRY)


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def _call_back(loop: asyncio.AbstractEventLoop, function: Callable[[T], None], value: T) -> None:
    with suppress(RuntimeError):  # the agent has ended
        loop.call_soon_threadsafe(function, value)
