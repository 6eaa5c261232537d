"""A simulation's plan as options of its program: how a failure is played again."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import ArgumentParser


def add_options(parser: ArgumentParser, plan: type[Any]) -> None:
    """Add an option for each number of ``plan`` that has a default."""
    for each in fields(plan):
        if each.default is not MISSING:
            option = f"--{each.name.replace('_', '-')}"
            parser.add_argument(option, type=type(each.default), default=each.default)


def write_command(program: str, plan: Any) -> str:
    """Return the command by which ``program`` plays ``plan`` again."""
    told = [
        f"--{each.name.replace('_', '-')} {getattr(value, 'value', value)}"
        for each in fields(plan)
        if (value := getattr(plan, each.name)) != each.default
    ]
    return " ".join([f".venv/bin/python tests/simulation/{program}", *told])
