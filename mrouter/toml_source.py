"""Read a TOML file that a person wrote, and say on which line a key stands."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import tomli

from mrouter.errors import FileError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

#: How to reach a value: table keys, and zero-based positions in arrays.
KeyPath = tuple[str | int, ...]

_SYNTAX_ERROR = re.compile(
    r"(?P<reason>.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_HINTS = {
    "Invalid value": 'text needs quotes, as in "lte"',
    "Cannot overwrite a value": "the same key stands twice in this table",
    "Invalid statement": "write key = value, [table] or [[list of tables]]",
}
_BYTE_ORDER_MARK = "\ufeff"


class MistakeError(ValueError):
    """A value is wrong: how, what to write instead, and where below the value that was checked."""

    def __init__(self, message: str, suggestion: str = "", at: KeyPath = ()) -> None:
        """Keep the words for a `Problem`, and the path ``at`` relative to the checked value."""
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion
        self.at = at


class TomlSource:
    """A TOML document with the lines of its keys; the lines are looked for only when asked."""

    def __init__(self, file: str, text: str) -> None:
        """Parse ``text``; raise `FileError` with one `Problem` if it is not TOML."""
        self.file = file
        self.data = _parse(file, text)
        self._text = text
        self._lines: dict[KeyPath, int] | None = None

    def lines(self) -> dict[KeyPath, int]:
        """Return the line, from 1, of every key, table and array element."""
        if self._lines is None:
            scanner = _Scanner(self._text)
            # A document may be nested as deeply as the parser just bears: a key that lies
            # too deep for the scanner gets the line of a table around it.
            with suppress(RecursionError):
                scanner.scan_document()
            self._lines = scanner.lines
        return self._lines

    def line_of(self, path: KeyPath) -> int | None:
        """Return the line of ``path``, or of the nearest table around it if it is missing."""
        lines = self.lines()
        for length in range(len(path), 0, -1):
            if path[:length] in lines:
                return lines[path[:length]]
        return None

    def problem(self, path: KeyPath, message: str, suggestion: str = "") -> Problem:
        """Make the `Problem` that ``message`` describes at ``path``."""
        path = _without_invented_index(self.data, path)
        return Problem(self.file, self.line_of(path), format_key(path), message, suggestion)


def read_toml(path: Path) -> TomlSource:
    """Read and parse the file at ``path``.

    Raises `FileError` with one `Problem` if it is missing, unreadable, not UTF-8 or not TOML.
    """
    return TomlSource(str(path), read_text(path))


def read_text(path: Path) -> str:
    """Read the file at ``path``; raise `FileError` if it is missing, unreadable or not UTF-8."""
    file = str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError([Problem(file, None, "", f"cannot be read: {reason}")]) from None
    except ValueError:
        raise FileError([Problem(file, None, "", "is not a file name")]) from None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8: byte 0x{content[error.start]:02x} at offset {error.start}"
        raise FileError([Problem(file, line, "", message, "save the file as UTF-8")]) from None


def sorted_by_line(problems: Collection[Problem]) -> list[Problem]:
    """Put ``problems`` in file order; those of the whole file come first."""
    return sorted(problems, key=lambda problem: problem.line or 0)


def format_key(path: KeyPath) -> str:
    """Write ``path`` as in ``policy[3].match.destination-port``; positions count from 0."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            # A quoted key may hold anything, an escape sequence for the terminal included.
            text += ("." if text else "") + (
                step if _BARE_KEY.fullmatch(step) else json.dumps(step)
            )
    return text


def suggest(word: str, known: Collection[str]) -> str:
    """Return "did you mean" with the word of ``known`` that is closest, else all of them."""
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_lower, n=1)
    if close:
        return f"did you mean {by_lower[close[0]]}?"
    return f"known: {', '.join(known)}" if known else ""


def show(value: object) -> str:
    """Write a value for a message: short, in one line, and safe for a terminal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of more than 64 bits"
    text = json.dumps(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without_invented_index(data: Any, path: KeyPath) -> KeyPath:
    """Drop the 0 that stands for the only item of a list that was written without brackets."""
    real: KeyPath = ()
    for step in path:
        if isinstance(step, int):
            if not isinstance(data, list):
                continue
            data = data[step]
        else:
            data = data.get(step) if isinstance(data, dict) else None
        real = (*real, step)
    return real


def _parse(file: str, text: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except RecursionError:
        raise FileError([Problem(file, None, "", "nested too deeply")]) from None
    except ValueError as error:
        raise FileError([_describe_syntax_error(file, text, str(error))]) from None


def _describe_syntax_error(file: str, text: str, message: str) -> Problem:
    if text.startswith(_BYTE_ORDER_MARK):
        return Problem(file, 1, "", "starts with a byte order mark", "save as UTF-8 without BOM")
    found = _SYNTAX_ERROR.fullmatch(message)
    if found is None:
        return Problem(file, None, "", f"not valid TOML: {message}")
    reason = found["reason"]
    hint = _HINTS.get(reason, "")
    if found[2] is None:
        last_line = max(1, len(text.splitlines()))
        return Problem(file, last_line, "", f"not valid TOML: {reason}, at the end of file", hint)
    return Problem(file, int(found[2]), "", f"not valid TOML: {reason}, at column {found[3]}", hint)


class _Scanner:
    """Walk over a document that tomli has accepted, and note where each key stands."""

    _SPACE = re.compile(r"[ \t\r\n,]*(?:#[^\n]*[ \t\r\n,]*)*")
    _KEY_PART = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')[ \t]*""")
    #: Up to two quotes may stand before the three that close a multi-line string.
    _STRING = re.compile(
        r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
        r"|'''.*?'''(?:'{0,2})"
        r'|"(?:[^"\\]|\\.)*"'
        r"|'[^']*'",
        re.DOTALL,
    )
    _SCALAR = re.compile(r"[^,\]}#\n]+")

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._position = 0
        self._line_starts = [0, *(found.end() for found in re.finditer("\n", text))]
        #: How many tables each array of tables has had so far.
        self._table_counts: dict[KeyPath, int] = {}

    def scan_document(self) -> None:
        table: KeyPath = ()
        self._skip_space()
        while self._position < len(self._text):
            if self._text.startswith("[", self._position):
                table = self._scan_header()
            else:
                self._scan_pair(table)
            self._skip_space()

    def _scan_header(self) -> KeyPath:
        line = self._current_line()
        brackets = 2 if self._text.startswith("[[", self._position) else 1
        self._position += brackets
        keys = self._scan_key()
        self._position += brackets
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._enter_last_table((*path, key), line)
        path = (*path, keys[-1])
        if brackets == 2:
            self._table_counts[path] = self._table_counts.get(path, 0) + 1
        return self._enter_last_table(path, line)

    def _enter_last_table(self, path: KeyPath, line: int) -> KeyPath:
        self.lines.setdefault(path, line)
        if path in self._table_counts:
            path = (*path, self._table_counts[path] - 1)
            self.lines.setdefault(path, line)
        return path

    def _scan_pair(self, table: KeyPath) -> None:
        line = self._current_line()
        path = table
        for key in self._scan_key():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._position += len("=")
        self._scan_value(path)

    def _scan_key(self) -> list[str]:
        keys = []
        while True:
            found = self._match(self._KEY_PART)
            part = found[1]
            keys.append(_unquote(part) if part[0] in "\"'" else part)
            if not self._text.startswith(".", self._position):
                return keys
            self._position += len(".")

    def _scan_value(self, path: KeyPath) -> None:
        self._skip_space()
        match self._text[self._position]:
            case "[":
                self._scan_array(path)
            case "{":
                self._scan_inline_table(path)
            case '"' | "'":
                self._match(self._STRING)
            case _:
                self._match(self._SCALAR)

    def _scan_array(self, path: KeyPath) -> None:
        self._position += len("[")
        self._skip_space()
        index = 0
        while not self._text.startswith("]", self._position):
            element = (*path, index)
            self.lines[element] = self._current_line()
            self._scan_value(element)
            self._skip_space()
            index += 1
        self._position += len("]")

    def _scan_inline_table(self, path: KeyPath) -> None:
        self._position += len("{")
        self._skip_space()
        while not self._text.startswith("}", self._position):
            self._scan_pair(path)
            self._skip_space()
        self._position += len("}")

    def _skip_space(self) -> None:
        self._match(self._SPACE)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self._text, self._position)
        if found is None:
            raise AssertionError(f"tomli accepted what the scanner cannot: {pattern.pattern}")
        self._position = found.end()
        return found

    def _current_line(self) -> int:
        return bisect_right(self._line_starts, self._position)


def _unquote(key: str) -> str:
    (name,) = tomli.loads(f"{key} = 0")
    return name
