"""Start the agent that a configuration file asks for."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

from mrouter.loader import ConfigLoading

if TYPE_CHECKING:
    from pathlib import Path

    from mrouter.agent.base import Agent


def run_agent(path: Path) -> None:
    """Run the agent that the file at ``path`` configures, until it is told to stop.

    :raises FileError: if the configuration or the policy file is refused.
    :raises DataplaneError: where a privilege or a kernel feature is missing.
    """
    loading = ConfigLoading(path)
    # large imports, while the file is being loaded
    from mrouter.agent.correspondent_node import CorrespondentNodeAgent
    from mrouter.agent.home_agent import HomeAgentAgent
    from mrouter.agent.journal import start_journal
    from mrouter.agent.mobile_router import MobileRouterAgent
    from mrouter.config.model import CorrespondentNodeConfig

    loaded = loading.wait_for_config()
    gc.freeze()  # large policy files live as long as the agent does: never look at them again
    config = loaded[0] if isinstance(loaded, tuple) else loaded
    start_journal(logging.getLevelNamesMapping()[config.log_level.name])

    def make() -> Agent:
        if isinstance(loaded, tuple):
            return MobileRouterAgent(*loaded, path)
        if isinstance(loaded, CorrespondentNodeConfig):
            return CorrespondentNodeAgent(loaded)
        return HomeAgentAgent(loaded)

    async def run() -> None:
        await make().run()

    asyncio.run(run())
