"""What a document shows: files in ```toml blocks, commands in ```sh blocks."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.main import get_command

from mrouter.cli import app

REPOSITORY = Path(__file__).resolve().parents[3]
GUIDE = REPOSITORY / "docs" / "policies.md"
README = REPOSITORY / "README.md"

_BLOCK = re.compile(r"^[ ]*```(toml|sh)\n(.*?)^[ ]*```", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^## (.+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of a document, and the blocks below it."""

    title: str
    files: tuple[str, ...]
    commands: tuple[str, ...]

    def find_file(self, beginning: str) -> str | None:
        """Return the only file that begins so."""
        found = [text for text in self.files if text.startswith(beginning)]
        assert len(found) < 2
        return found[0] if found else None


def read_sections(path: Path) -> list[Section]:
    """Return what stands below each heading, what is before the first one left out."""
    _, *parts = _HEADING.split(path.read_text(encoding="utf-8"))
    return [_read_section(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]


def _read_section(title: str, text: str) -> Section:
    blocks = _BLOCK.findall(text)
    return Section(
        title,
        tuple(block for kind, block in blocks if kind == "toml"),
        tuple(line for kind, block in blocks if kind == "sh" for line in block.splitlines()),
    )


def split_command(line: str) -> list[str]:
    """Return the words of a command, without what is behind a # or a >."""
    words = shlex.split(line, comments=True)
    return words[: words.index(">")] if ">" in words else words


def parse_command(words: list[str]) -> Any:
    """Parse ``mrouter ...`` as the program does; raise KeyError or click's errors at a mistake."""
    _, *rest = words
    command: Any = get_command(app)
    name = "mrouter"
    while hasattr(command, "commands"):
        name, *rest = rest
        command = command.commands[name]
    return command.make_context(name, rest)
