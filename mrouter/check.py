"""``mrouter check`` and ``mrouter policy check``: say of a file whether the agent would take it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mrouter.config.model import CorrespondentNodeConfig, MobileRouterConfig
from mrouter.errors import ConfigError, Problem
from mrouter.garbage import pause_collection
from mrouter.policy.load import load_policies, read_policy_file
from mrouter.policy.model import Choice
from mrouter.policy.schema import DEFAULT_NAME
from mrouter.policy.shadow import Shadowed, find_shadowed
from mrouter.toml_source import KeyPath, TomlSource, read_toml, show, sorted_by_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mrouter.config.model import HomeAgentConfig
    from mrouter.policy.model import Policy, PolicyTable
    from mrouter.policy.resolve import Measures

_MOST_NAMED = 3
_NO_PROBLEMS = "no problems"


@dataclass(frozen=True, slots=True)
class PolicySource:
    """The ``table`` in the policy ``file``.

    ``config`` is of the configuration file that names it, None where it was given by itself; then
    any link may be named.
    """

    file: TomlSource
    table: PolicyTable
    config: MobileRouterConfig | None = None

    @property
    def path(self) -> Path:
        """Return the name of the policy file."""
        return Path(self.file.file)

    @property
    def links(self) -> tuple[str, ...] | None:
        """Return the names of the configured links; None if they are not known."""
        return None if self.config is None else tuple(link.name for link in self.config.links)

    @property
    def measures(self) -> Measures:
        """Return how good links are by what is configured of them."""
        return {} if self.config is None else {Choice.CHEAPEST: self.config.costs}


@dataclass(frozen=True, slots=True)
class PolicyCheck:
    """A line that says what is in the file, and what is allowed but hardly meant."""

    summary: str
    warnings: tuple[Problem, ...]


@pause_collection()
def check_file(path: Path) -> str:
    """Check the configuration (with its policy file) or the policy file at ``path``.

    Returns one line that says what is in it.

    :raises FileError: with every problem of the file.
    """
    file = read_toml(path)
    if not _is_config(file):
        return _summarize(path, PolicySource(file, load_policies(file)), _NO_PROBLEMS)
    config = _load_config(file)
    if isinstance(config, MobileRouterConfig):
        return _summarize(path, _read_policies_of(config), _NO_PROBLEMS)
    if isinstance(config, CorrespondentNodeConfig):
        return f"{path}: correspondent node {config.settings.address}, {_NO_PROBLEMS}"
    served = len(config.settings.served)
    return f"{path}: home agent {config.settings.address}, {served} served, {_NO_PROBLEMS}"


@pause_collection()
def check_policies(path: Path) -> PolicyCheck:
    """Check the policies that the policy or configuration file at ``path`` leads to.

    :raises FileError: with every problem of the file.
    """
    file = read_toml(path)
    source = _read_policies(file)
    warnings = [*_warn_of_unused_links(file, source), *_warn_of_shadowed(source)]
    outcome = f"{len(warnings)} warnings" if warnings else _NO_PROBLEMS
    return PolicyCheck(_summarize(path, source, outcome), tuple(warnings))


@pause_collection()
def read_policies(path: Path) -> PolicySource:
    """Read the policies that the policy or configuration file at ``path`` leads to.

    :raises FileError: with every problem of the file.
    """
    return _read_policies(read_toml(path))


def _read_policies(file: TomlSource) -> PolicySource:
    if not _is_config(file):
        return PolicySource(file, load_policies(file))
    config = _load_config(file)
    if not isinstance(config, MobileRouterConfig):
        raise ConfigError([_refuse_role(file)])
    return _read_policies_of(config)


def _load_config(
    file: TomlSource,
) -> MobileRouterConfig | HomeAgentConfig | CorrespondentNodeConfig:
    # what it needs takes a tenth of a second to import, and a policy file needs none of it
    from mrouter.config.load import load_config

    return load_config(file)


def _is_config(file: TomlSource) -> bool:
    return "role" in file.data


def _read_policies_of(config: MobileRouterConfig) -> PolicySource:
    links = [link.name for link in config.links]
    file = read_policy_file(config.policy)
    return PolicySource(file, load_policies(file, links, config.ingress), config)


def _refuse_role(source: TomlSource) -> Problem:
    message = f"a {source.data['role']} has no policies"
    return source.problem(("role",), message, "give a mobile router's file, or a policy file")


def _summarize(path: Path, source: PolicySource, outcome: str) -> str:
    policies = f"{len(source.table.policies)} policies, {outcome}"
    if source.config is None:
        return f"{path}: {policies}"
    address, links = source.config.settings.home_address, len(source.config.links)
    return f"{path}: mobile router {address}, {links} links, {policies}"


def _warn_of_unused_links(file: TomlSource, source: PolicySource) -> Iterator[Problem]:
    used = set(source.table.links)
    for index, link in enumerate(source.links or ()):
        if link not in used:
            suggestion = f"name it in {source.path}, or leave the link out"
            yield file.problem(("link", index, "name"), f"no policy uses {show(link)}", suggestion)


def _warn_of_shadowed(source: PolicySource) -> list[Problem]:
    policies = source.table.policies
    found = list(find_shadowed(source.table))
    if not found:
        return []
    file = source.file
    return sorted_by_line(
        [file.problem(*_describe_shadowed(shadowed, policies)) for shadowed in found]
    )


def _describe_shadowed(shadowed: Shadowed, policies: Sequence[Policy]) -> tuple[KeyPath, str, str]:
    names = [show(policies[each].name) for each in shadowed.by[:_MOST_NAMED]]
    more = len(shadowed.by) - len(names)
    earlier = " and ".join(names) + (f" and {more} more" if more else "")
    verb = "matches" if len(shadowed.by) == 1 else "match"
    policy = policies[shadowed.position]
    message = f"{show(policy.name)} is never reached: {earlier} before it {verb} all that it does"
    if policy.name == DEFAULT_NAME:
        return (DEFAULT_NAME,), message, f"make {earlier} the [{DEFAULT_NAME}]"
    where = ("policy", shadowed.position)
    if shadowed.redundant:
        return (
            where,
            f"{message}, and do the same" if len(names) > 1 else f"{message}, and does the same",
            "leave it out",
        )
    return where, message, f"move it before {names[0]}, or leave it out"
