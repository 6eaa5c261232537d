"""Results as Markdown, and the machine that they were measured on."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

_NUMBER = re.compile(r"-|[\d,.]+( \([\d,.]+-[\d,.]+\)| / [\d,.]+)?")


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark's part of the report; ``verdicts`` are (aim, measured, reached)."""

    title: str
    paragraphs: tuple[str, ...]
    verdicts: tuple[tuple[str, str, bool], ...] = field(default=())


def format_report(sections: Iterable[Section], *, quick: bool) -> str:
    """Write the whole RESULTS.md: the machine, the aims, then a section a benchmark."""
    sections = list(sections)
    aims = [
        (title, aim, measured, "yes" if reached else "**no**")
        for title, verdicts in ((section.title, section.verdicts) for section in sections)
        for aim, measured, reached in verdicts
    ]
    how = "`python -m bench --quick`: few rounds, a first impression" if quick else "`make bench`"
    parts = [
        "# Benchmarks",
        f"Written by {how}. Compare ratios, which were measured within one run, in turns;"
        " absolute numbers depend on the machine and on what else it did.",
        "## The machine",
        format_table(("what", "which"), describe_machine()),
        "## Aims",
        format_table(("benchmark", "aim", "measured", "reached"), aims),
    ]
    for section in sections:
        parts += [f"## {section.title}", *section.paragraphs]
    return "\n\n".join(parts) + "\n"


def format_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; what looks like a number is set to the right."""
    rows = list(rows)
    numeric = [
        bool(rows) and all(_NUMBER.fullmatch(row[column]) for row in rows)
        for column in range(len(headings))
    ]
    lines = [headings, ["---:" if right else "---" for right in numeric], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_spread(values: Sequence[float], digits: int = 1) -> str:
    """Write "median (least-most)"."""
    middle = statistics.median(values)
    return f"{middle:,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def describe_machine() -> list[tuple[str, str]]:
    """List what matters of the machine: CPU, kernel, Python, load, date."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        ("CPU", f"{_read_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} CPUs"),
        (
            "virtual machine",
            "yes" if "hypervisor" in _read_field("/proc/cpuinfo", "flags") else "no",
        ),
        ("memory", _read_field("/proc/meminfo", "MemTotal")),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("load average at the end", load),
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]


def _read_field(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
