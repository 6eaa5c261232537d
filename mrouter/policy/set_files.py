"""Read the files that a policy file's sets name: one prefix a line."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from mrouter.errors import FileError, Problem
from mrouter.policy.model import FIRST_IPV4, pack_prefix
from mrouter.toml_model import parse_any_prefix
from mrouter.toml_source import MistakeError, TomlSource, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A file of the wrong kind is wrong in every line: so many of them are told one by one.
_MOST_PROBLEMS = 20


def read_set_files(
    source: TomlSource, directory: Path
) -> tuple[dict[str, list[int]], list[Problem]]:
    """Read the file of each [set.NAME] that names one; a relative name starts at ``directory``.

    Returns the prefixes by the set's name, each as `pack_prefix` writes it, and every problem, in
    the policy file and in those.
    """
    prefixes: dict[str, list[int]] = {}
    problems: list[Problem] = []
    for name, table in _iter_sets(source):
        if "prefixes" not in table and "file" not in table:
            remedy = f'write prefixes = ["2001:db8::/32"] or file = "{name}.txt"'
            problems.append(source.problem(("set", name), "has no prefixes", remedy))
        if isinstance(table.get("file"), str):
            try:
                text = read_text(directory / table["file"])
            except FileError as error:
                problems += [_at_its_name(source, name, problem) for problem in error.problems]
                continue
            prefixes[name], wrong = _parse_lines(str(directory / table["file"]), text)
            problems += wrong
    return prefixes, problems


def _iter_sets(source: TomlSource) -> Iterator[tuple[str, dict[str, Any]]]:
    sets = source.data.get("set")
    for name, table in sets.items() if isinstance(sets, dict) else ():
        if isinstance(table, dict):
            yield name, table


def _at_its_name(source: TomlSource, name: str, problem: Problem) -> Problem:
    """Tell of a file that cannot be read where it is named; of its content, where that is."""
    if problem.line is not None:
        return problem
    return source.problem(("set", name, "file"), f"{problem.file}: {problem.message}")


def _parse_lines(file: str, text: str) -> tuple[list[int], list[Problem]]:
    prefixes: list[int] = []
    problems: list[Problem] = []
    wrong = 0
    for number, line in enumerate(text.split("\n"), start=1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        try:
            packed = _parse_plain(entry)
            prefixes.append(pack_prefix(parse_any_prefix(entry)) if packed is None else packed)
        except MistakeError as mistake:
            wrong += 1
            if wrong <= _MOST_PROBLEMS:
                problems.append(Problem(file, number, "", mistake.message, mistake.suggestion))
    if wrong > _MOST_PROBLEMS:
        more = f"{wrong - _MOST_PROBLEMS} more lines are wrong"
        problems.append(Problem(file, None, "", more))
    if not prefixes and not wrong:
        problems.append(Problem(file, None, "", "holds no prefix", "write one a line"))
    return prefixes, problems


def _parse_plain(entry: str) -> int | None:
    """Read a prefix that is written without any doubt, many times faster than is done otherwise."""
    address, slash, length_text = entry.partition("/")
    family, bits = (socket.AF_INET6, 128) if ":" in address else (socket.AF_INET, 32)
    try:
        number = int.from_bytes(socket.inet_pton(family, address))
    except (OSError, ValueError):
        return None
    if not (length_text.isascii() and length_text.isdigit() and len(length_text) <= 3) and slash:
        return None
    length = int(length_text) if slash else bits
    # what is multicast, link-local or has host bits is refused with words of its own
    if length > bits or number & ((1 << (bits - length)) - 1):
        return None
    if bits == 32:
        if number >> 16 >= 0xE000 or number >> 16 == 0xA9FE:
            return None
        number = FIRST_IPV4 + (number << 96)
    elif number >> 118 >= 0x3FA:
        return None
    return number << 8 | length
