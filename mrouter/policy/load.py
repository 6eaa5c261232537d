"""Load a policy file: TOML in, a table of policies out, or every mistake in it at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrouter.errors import FileError, PolicyError, Problem
from mrouter.garbage import pause_collection
from mrouter.policy.flow_sizes import MOST_SIZES, find_too_many
from mrouter.policy.model import Match, Policy, PolicyTable, pack_prefix
from mrouter.policy.prefix_sets import make_packed_set
from mrouter.policy.schema import DEFAULT_NAME, PolicyFile
from mrouter.policy.set_files import read_set_files
from mrouter.toml_model import find_repeats, iter_tables, validate
from mrouter.toml_source import KeyPath, TomlSource, read_toml, sorted_by_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

ACTIONS = ("links", "balance", "tiers", "bicast", "drop")
TIER_ACTIONS = ("links", "balance")


def read_policy_file(path: Path) -> TomlSource:
    """Read and parse the file at ``path``; raises `PolicyError` with one problem if it can't be."""
    try:
        return read_toml(path)
    except FileError as error:
        raise PolicyError(error.problems) from None


@pause_collection()
def load_policies(
    file: Path | TomlSource,
    links: Collection[str] | None = None,
    ingress: Collection[str] | None = None,
) -> PolicyTable:
    """Load the policy ``file``, read already or not.

    ``links`` and ``ingress`` are the configured names that the file may use; None accepts any.
    The files of its sets are read too. The file's [default] becomes the last policy. Raises
    `PolicyError` with every problem found.
    """
    source = file if isinstance(file, TomlSource) else read_policy_file(file)
    set_prefixes, set_problems = read_set_files(source, Path(source.file).parent)
    names = source.data.get("set")
    known = {"links": links, "ingress": ingress, "sets": names if isinstance(names, dict) else ()}
    whole, problems = validate(PolicyFile, source, known)
    problems += _find_wrong_actions(source)
    problems += find_repeats(source, "policy", "name")
    problems += [problem for problem in set_problems if problem.file == source.file]
    if whole is None or problems or set_problems:
        elsewhere = [problem for problem in set_problems if problem.file != source.file]
        raise PolicyError([*sorted_by_line(problems), *elsewhere])
    sets = {
        name: make_packed_set(
            name, [*map(pack_prefix, table.prefixes), *set_prefixes.get(name, ())]
        )
        for name, table in whole.sets.items()
    }
    default = whole.default.make_policy(DEFAULT_NAME, Match())
    policies = tuple(policy.to_policy(sets, whole.time.zone) for policy in whole.policy)
    if too_many := list(_find_too_many_sizes(source, policies)):
        raise PolicyError(too_many)
    return PolicyTable((*policies, default))


def _find_too_many_sizes(source: TomlSource, policies: Sequence[Policy]) -> Iterator[Problem]:
    for position, count in find_too_many(policies):
        message = f"flow-bytes names {count} sizes so far: flows would be looked at too often"
        hint = f"use at most {MOST_SIZES} different sizes in a file"
        yield source.problem(("policy", position, "match"), message, hint)


def _find_wrong_actions(source: TomlSource) -> Iterator[Problem]:
    for path, table in _tables(source):
        actions = [action for action in ACTIONS if action in table]
        if not actions:
            message = "does not say what to do with the packets"
            suggestion = 'write links = ["lte"], balance, tiers, bicast or drop = true'
            yield source.problem(path, message, suggestion)
        if len(actions) > 1:
            message = f"only one of {' and '.join(actions)} can be given"
            yield source.problem((*path, actions[-1]), message, "keep one, or split the policy")
        yield from _find_wrong_tiers(source, path, table.get("tiers"))


def _find_wrong_tiers(source: TomlSource, path: KeyPath, tiers: object) -> Iterator[Problem]:
    for index, tier in enumerate(tiers if isinstance(tiers, list) else []):
        if not isinstance(tier, dict):
            continue
        given = [key for key in TIER_ACTIONS if key in tier]
        if not given:
            suggestion = 'write links = ["lte"] or balance = { lte = 3, wifi = 1 }'
            yield source.problem((*path, "tiers", index), "names no links", suggestion)
        if len(given) > 1:
            message = f"only one of {' and '.join(given)} can be given"
            yield source.problem((*path, "tiers", index, given[-1]), message, "write two tiers")


def _tables(source: TomlSource) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield each table that has an action, as far as the file has the right form."""
    yield from iter_tables(source, "policy")
    default = source.data.get(DEFAULT_NAME)
    if isinstance(default, dict):
        yield (DEFAULT_NAME,), default
