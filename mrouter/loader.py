"""Load files in a process of its own, so that the daemon stays small.

Validation needs pydantic, which would take a fifth of the agent's memory and start time for
work that is done at start and at a reload. The child also starts while its parent still imports.
"""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from mrouter.errors import ConfigError, FileError, MrouterError, PolicyError

if TYPE_CHECKING:
    from pathlib import Path

    from mrouter.config.model import (
        CorrespondentNodeConfig,
        HomeAgentConfig,
        MobileRouterConfig,
    )
    from mrouter.policy.model import PolicyTable

    LoadedConfig = (
        HomeAgentConfig | CorrespondentNodeConfig | tuple[MobileRouterConfig, PolicyTable]
    )

_FILE_ERRORS: dict[str, type[FileError]] = {
    error.__name__: error for error in (ConfigError, PolicyError, FileError)
}


class LoaderError(MrouterError):
    """The loading process died."""


class ConfigLoading:
    """A configuration file being loaded, together with the policy file that it names."""

    def __init__(self, path: Path) -> None:
        """Start to load the configuration at ``path``."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "mrouter.loader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self._child.stdin is not None:
            with self._child.stdin as request_pipe:
                request_pipe.write(pickle.dumps(path))

    def wait_for_config(self) -> LoadedConfig:
        """Return a role's configuration, a mobile router's with its policies; blocks.

        :raises ConfigError: with every problem of the configuration file.
        :raises PolicyError: with every problem of the policy file.
        :raises LoaderError: if the child died.
        """
        output = self._child.stdout.read() if self._child.stdout is not None else b""
        if self._child.wait() != 0:
            raise LoaderError(f"the loading process ended with code {self._child.returncode}")
        kind, value = pickle.loads(output)  # noqa: S301 - our own child's
        if kind in _FILE_ERRORS:
            raise _FILE_ERRORS[kind](value)
        loaded: LoadedConfig = value
        return loaded


def _serve() -> None:
    path = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent's
    try:
        answer: tuple[str, Any] = ("loaded", _load(path))
    except FileError as error:
        answer = (type(error).__name__, error.problems)
    sys.stdout.buffer.write(pickle.dumps(answer))


def _load(path: Path) -> LoadedConfig:
    from mrouter.config.load import load_config
    from mrouter.config.model import MobileRouterConfig
    from mrouter.policy.load import load_policies

    config = load_config(path)
    if not isinstance(config, MobileRouterConfig):
        return config
    links = [link.name for link in config.links]
    return config, load_policies(config.policy, links, config.ingress)


if __name__ == "__main__":
    gc.disable()  # the process ends before its garbage would be worth collecting
    _serve()
