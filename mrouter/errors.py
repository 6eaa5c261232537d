"""The errors that mrouter raises; a peer's refusal is a status, not an exception."""

from __future__ import annotations

from dataclasses import dataclass


class MrouterError(Exception):
    """Base of every error that mrouter raises on purpose."""


class ParseError(MrouterError):
    """The peer sent rubbish: counted, never fatal."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep a short machine-readable ``reason`` (a metric label) and a human ``detail``."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file that a person wrote."""

    file: str
    line: int | None
    key: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        """Render as ``file:line: key: message (suggestion)``, the form editors can jump to."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" {self.key}:" if self.key else ""
        suggestion = f" ({self.suggestion})" if self.suggestion else ""
        return f"{where}:{key} {self.message}{suggestion}"


class FileError(MrouterError):
    """A file is refused; carries every problem found, in file order."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        """Keep ``problems``, at least one."""
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class ConfigError(FileError):
    """A configuration file is refused."""


class PolicyError(FileError):
    """A policy file is refused."""


class DataplaneError(MrouterError):
    """The kernel refused an operation, or lacks what it needs."""

    def __init__(self, operation: str, detail: str, remedy: str = "") -> None:
        """Keep what was tried, what the kernel said, and what to load or change."""
        super().__init__(f"{operation}: {detail}" + (f" ({remedy})" if remedy else ""))
        self.operation = operation
        self.detail = detail
        self.remedy = remedy
