"""``mrouter check``: say of a file whether the agent would take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.config.load import load_config
from mrouter.config.model import CorrespondentNodeConfig, MobileRouterConfig
from mrouter.policy.load import load_policies
from mrouter.toml_source import read_toml

if TYPE_CHECKING:
    from pathlib import Path


def check_file(path: Path) -> str:
    """Check the configuration (with its policy file) or the policy file at ``path``.

    Returns one line that says what is in it.

    :raises FileError: with every problem of the file.
    """
    if "role" not in read_toml(path).data:
        policies = load_policies(path)
        return f"{path}: {len(policies.policies)} policies, no problems"
    config = load_config(path)
    if isinstance(config, MobileRouterConfig):
        links = [link.name for link in config.links]
        policies = load_policies(config.policy, links, config.ingress)
        return (
            f"{path}: mobile router {config.settings.home_address}, {len(links)} links, "
            f"{len(policies.policies)} policies, no problems"
        )
    if isinstance(config, CorrespondentNodeConfig):
        return f"{path}: correspondent node {config.settings.address}, no problems"
    return (
        f"{path}: home agent {config.settings.address}, {len(config.settings.served)} served, "
        "no problems"
    )
