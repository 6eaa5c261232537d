"""Load a policy file: TOML in, a table of policies out, or every mistake in it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrouter.errors import FileError, PolicyError, Problem
from mrouter.policy.model import Match, Policy, PolicyTable
from mrouter.policy.schema import DEFAULT_NAME, PolicyFile
from mrouter.toml_model import find_repeats, iter_tables, validate
from mrouter.toml_source import KeyPath, TomlSource, read_toml, sorted_by_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_ACTIONS = ("links", "bicast", "drop")


def load_policies(
    path: Path, links: Collection[str] | None = None, ingress: Collection[str] | None = None
) -> PolicyTable:
    """Read the policy file at ``path``.

    ``links`` and ``ingress`` are the configured names that the file may use; None accepts any.
    The file's [default] becomes the last policy. Raises `PolicyError` with every problem found.
    """
    try:
        source = read_toml(path)
    except FileError as error:
        raise PolicyError(error.problems) from None
    file, problems = validate(PolicyFile, source, {"links": links, "ingress": ingress})
    problems += _find_wrong_actions(source)
    problems += find_repeats(source, "policy", "name")
    if file is None or problems:
        raise PolicyError(sorted_by_line(problems))
    default = Policy(DEFAULT_NAME, Match(), file.default.to_action())
    return PolicyTable((*(policy.to_policy() for policy in file.policy), default))


def _find_wrong_actions(source: TomlSource) -> Iterator[Problem]:
    for path, table in _tables(source):
        actions = [action for action in _ACTIONS if action in table]
        if not actions:
            message = "does not say what to do with the packets"
            yield source.problem(path, message, 'write links = ["lte"], bicast or drop = true')
        if len(actions) > 1:
            message = f"only one of {' and '.join(actions)} can be given"
            yield source.problem((*path, actions[-1]), message, "keep one, or split the policy")


def _tables(source: TomlSource) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield each table that has an action, as far as the file has the right form."""
    yield from iter_tables(source, "policy")
    default = source.data.get(DEFAULT_NAME)
    if isinstance(default, dict):
        yield (DEFAULT_NAME,), default
