"""Write docs/conformance.md: what each document asks, and the test that holds it.

Run it as `python tests/conformance/table.py` (`make conformance`) after a change to a file in
`requirements/`, whose README.md says what is in them.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
REQUIREMENTS = TESTS / "conformance" / "requirements"
TABLE = REPOSITORY / "docs" / "conformance.md"

DOCUMENTS = (
    "draft-01",
    "rfc3963",
    "rfc4285",
    "rfc6275",
    "rfc5648",
    "rfc6089",
    "rfc6088",
    "rfc5555",
)
"""The stems of the files in `requirements/`, in the order of the table."""

LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY")
ROLES = ("mobile router", "home agent", "correspondent node", "all")
OUTCOMES = {
    "tests": "held by a test",
    "deviates": "done differently",
    "reason": "does not apply",
    "repeats": "said twice",
}
"""Key of an entry that decides its outcome, and the outcome's name in the table.

An entry with `deviates` may have `tests` too; they show what is done instead.
"""


@dataclass(frozen=True, slots=True)
class Requirement:
    """Hold one sentence of a document, in our words, and what became of it."""

    section: str
    level: str
    who: str
    text: str
    tests: tuple[str, ...] = ()
    reason: str = ""
    deviates: str = ""
    repeats: str = ""

    @property
    def outcome(self) -> str:
        """Return the key in `OUTCOMES`; raise ValueError unless there is exactly one."""
        given = [key for key in OUTCOMES if getattr(self, key)]
        if given == ["tests", "deviates"]:
            return "deviates"
        if len(given) != 1:
            raise ValueError(f"§{self.section} {self.text!r}: one outcome is needed, has {given}")
        return given[0]


@dataclass(frozen=True, slots=True)
class Document:
    """Hold a document's requirements in the document's order."""

    name: str
    title: str
    note: str
    requirements: tuple[Requirement, ...]
    keywords: dict[str, int]
    """Section to the number of RFC 2119's words in it; empty where it was not counted."""


@dataclass(frozen=True, slots=True)
class Robustness:
    """Hold tests that no sentence of a document asks for, and why they are there."""

    reason: str
    tests: tuple[str, ...]


def load_document(name: str) -> Document:
    """Return the document of `requirements/{name}.toml`; raise TypeError at an unknown key."""
    data = tomllib.loads((REQUIREMENTS / f"{name}.toml").read_text())
    return Document(
        name=name,
        title=data["title"],
        note=data.get("note", ""),
        requirements=tuple(
            Requirement(**entry | {"tests": tuple(entry.get("tests", ()))})
            for entry in data["requirement"]
        ),
        keywords=data.get("keywords", {}),
    )


def load_robustness() -> tuple[Robustness, ...]:
    """Return the groups of `requirements/robustness.toml`."""
    data = tomllib.loads((REQUIREMENTS / "robustness.toml").read_text())
    return tuple(Robustness(group["reason"], tuple(group["tests"])) for group in data["group"])


@cache
def find_tests(file: str) -> frozenset[str]:
    """Return the names of the tests in `file` (relative to tests/), methods as `Class::name`."""
    body = ast.parse((TESTS / file).read_text()).body
    found = _list_tests(body)
    for node in body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{name}" for name in _list_tests(node.body)}
    return frozenset(found)


def _list_tests(body: list[ast.stmt]) -> set[str]:
    return {
        node.name
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    }


def render_table(documents: tuple[Document, ...]) -> str:
    """Return docs/conformance.md."""
    parts = [_render_introduction(), _render_summary(documents)]
    parts += [_render_document(document) for document in documents]
    return "\n".join(parts)


def _render_introduction() -> str:
    return """# Conformance

Every MUST, SHOULD and MAY of the draft and of RFC 3963, 4285, 5648, 6089 and 6088, and of the parts
of RFC 6275 and 5555 that apply, with the test that holds it or the reason why there is none.

- **Held by a test**: the test named fails when the code does not do it. A test is a conversation:
  messages in, messages out, with a fixed clock and seed (`tests/conformance`), or real packets in
  real kernels (`tests/netns`, `tests/kernels`).
- **Done differently**: what is done instead, and why. Where one place in the code does it, that
  says so too: `grep -rn "Deviates from" mrouter`.
- **Does not apply**: a choice not taken (MAY), or the business of somebody else.
- **Said twice**: the document asks for it in another section as well; see there.

The requirements are in our words, to be read beside the document. `make conformance` writes this
file from [the lists of requirements](../tests/conformance/requirements/README.md). A test fails
when it is out of date, names a test that is not there, or leaves out one of `tests/conformance`.
"""


def _render_summary(documents: tuple[Document, ...]) -> str:
    lines = [
        "## Summary\n",
        "| document | level | " + " | ".join(OUTCOMES.values()) + " |",
        "| --- | --- |" + " ---: |" * len(OUTCOMES),
    ]
    for document in documents:
        counts = Counter((entry.level, entry.outcome) for entry in document.requirements)
        link = f"[{document.name}](#{_make_anchor(document.title)})"
        for level in LEVELS:
            row = [counts[level, outcome] for outcome in OUTCOMES]
            if any(row):
                lines.append(f"| {link} | {level} | " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines) + "\n"


def _render_document(document: Document) -> str:
    lines = [f"## {document.title}\n"]
    if document.note:
        lines.append(document.note.strip() + "\n")
    lines += ["| § | level | who | what | held by |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {entry.section} | {entry.level} | {entry.who} | {_escape(entry.text)} "
        f"| {_render_outcome(entry)} |"
        for entry in document.requirements
    ]
    return "\n".join(lines) + "\n"


def _render_outcome(entry: Requirement) -> str:
    links = "<br>".join(_render_test(test) for test in entry.tests)
    match entry.outcome:
        case "tests":
            return links
        case "deviates":
            said = f"**Done differently.** {_escape(entry.deviates)}"
            return f"{said}<br>{links}" if links else said
        case "reason":
            return f"*Does not apply.* {_escape(entry.reason)}"
        case _:
            return f"See §{entry.repeats}."


def _render_test(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[{name or file}](../tests/{file})"


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _make_anchor(title: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    kept = "".join(sign for sign in title.lower() if sign.isalnum() or sign in "- ")
    return kept.replace(" ", "-")


def load_documents() -> tuple[Document, ...]:
    """Return all documents in the order of the table."""
    return tuple(load_document(name) for name in DOCUMENTS)


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(render_table(load_documents()))
