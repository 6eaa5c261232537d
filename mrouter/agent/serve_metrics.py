"""The metrics server, from within the agent's loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from mrouter.agent.journal import note

if TYPE_CHECKING:
    from collections.abc import Callable

    from mrouter.metrics import MetricsServer


def serve_metrics(
    address: tuple[str, int] | None,
    describe: Callable[[], dict[str, Any]],
    loop: asyncio.AbstractEventLoop,
) -> MetricsServer | None:
    """Serve what ``describe`` says in ``loop`` at ``address``; None if that is not to be had."""
    if address is None:
        return None
    # large, and only needed once the vehicle is on the road
    from mrouter.metrics import MetricsServer

    async def read() -> dict[str, Any]:
        return describe()

    def read_status() -> dict[str, Any]:
        return asyncio.run_coroutine_threadsafe(read(), loop).result(timeout=5.0)

    try:
        return MetricsServer(address, read_status)
    except OSError as error:
        # no reason to keep a vehicle off the road
        note("metrics-unavailable", logging.ERROR, error=str(error))
        return None
