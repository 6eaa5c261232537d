"""Start the agent that a configuration file asks for."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mrouter.loader import load_config_apart, start_loading_config

if TYPE_CHECKING:
    from pathlib import Path

    from mrouter.agent.base import Agent


def run_agent(path: Path) -> None:
    """Run the agent that the file at ``path`` configures, until it is told to stop.

    :raises FileError: if the configuration or the policy file is refused.
    :raises DataplaneError: where a privilege or a kernel feature is missing.
    """
    loading = start_loading_config(path)
    # large imports, while the file is being loaded
    from mrouter.agent.home_agent import HomeAgentAgent
    from mrouter.agent.journal import start_journal
    from mrouter.agent.mobile_router import MobileRouterAgent
    from mrouter.config.model import MobileRouterConfig

    config = load_config_apart(loading)
    start_journal(logging.getLevelNamesMapping()[config.log_level.name])

    async def run() -> None:
        agent: Agent
        if isinstance(config, MobileRouterConfig):
            agent = MobileRouterAgent(config)
        else:
            agent = HomeAgentAgent(config)
        await agent.run()

    asyncio.run(run())
