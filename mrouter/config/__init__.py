"""The configuration of a role: load a file, or name every mistake in it."""

from __future__ import annotations

from mrouter.config.load import load_config
from mrouter.config.model import (
    DEFAULT_CONTROL_SOCKET,
    Config,
    Encapsulation,
    HomeAgentConfig,
    LinkConfig,
    LogLevel,
    MobileRouterConfig,
)

__all__ = [
    "DEFAULT_CONTROL_SOCKET",
    "Config",
    "Encapsulation",
    "HomeAgentConfig",
    "LinkConfig",
    "LogLevel",
    "MobileRouterConfig",
    "load_config",
]
