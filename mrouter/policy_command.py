"""What ``mrouter policy`` and ``mrouter flows`` do."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from mrouter.check import check_policies, read_policies
from mrouter.control import request
from mrouter.errors import FileError, Problem
from mrouter.policy.difference import compare_tables, describe_difference, find_changing_flows
from mrouter.policy.expectations import Expectations, read_packet
from mrouter.policy.explain import describe_explanation, explain_flow
from mrouter.policy.resolve import LinkSituation
from mrouter.policy.schedule import find_week_minute, take_active
from mrouter.policy_view import render_difference, render_explanation, render_flows
from mrouter.running import add_rates, ask_policies, ask_situation, ask_tracked_flows
from mrouter.toml_model import check_known
from mrouter.toml_source import MistakeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from mrouter.policy.model import PolicyTable

#: What a console's height leaves for the rows of a table.
_FRAME = 5


def check(path: Path, as_json: bool) -> int:
    """Print all that is wrong with the policies of the file at ``path``; return the exit code."""
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    try:
        checked = check_policies(path)
        warnings = checked.warnings
    except FileError as error:
        errors = error.problems
    if as_json:
        found = {"errors": errors, "warnings": warnings}
        shown = {kind: [asdict(each) for each in problems] for kind, problems in found.items()}
        print(json.dumps({"ok": not errors, **shown}, indent=2))
    else:
        for problem in errors:
            print(problem, file=sys.stderr)
        for problem in warnings:
            print(replace(problem, message=f"warning: {problem.message}"), file=sys.stderr)
        if not errors:
            print(checked.summary)
    return 1 if errors else 0


def explain(
    packet: Mapping[str, str | int | None],
    path: Path | None,
    up: str | None,
    socket: Path | None,
    as_json: bool,
) -> None:
    """Explain what becomes of ``packet`` by the file at ``path``.

    If ``path`` is None the agent's policies decide. ``up`` lists the links that are up; if it is
    None those of the agent at ``socket`` are, or all.

    :raises FileError: if the file or the packet is wrong.
    :raises ControlError: if the agent can't be asked.
    """
    flow = read_packet(packet)
    links: Sequence[str] | None = None
    situation = LinkSituation() if socket is None else ask_situation(socket)
    if path is not None:
        source = read_policies(path)
        table, links = source.table, source.links
        if socket is None:
            situation = LinkSituation(measures=source.measures)
    elif socket is not None:
        table = ask_policies(socket)
    if up is not None:
        situation = replace(situation, down=_find_down(table, links, up), held={})
    if flow.time is None:
        flow = replace(flow, time=find_week_minute(table, time.time()))
    explanation = describe_explanation(explain_flow(table, flow, situation))
    _print_answer(explanation, render_explanation, as_json)


def diff(old: Path | None, new: Path, socket: Path, as_json: bool) -> None:
    """Print what changes from the policies of ``old`` to those of ``new``.

    If ``old`` is None the agent's at ``socket`` are, with the flows that run there.

    :raises FileError: if a file is wrong.
    :raises ControlError: if the agent can't be asked.
    """
    after = read_policies(new)
    if old is not None:
        difference = describe_difference(compare_tables(read_policies(old).table, after.table))
    else:
        before, situation = ask_policies(socket), ask_situation(socket)
        tables = _take_active(before), _take_active(after.table)
        flows = find_changing_flows(ask_tracked_flows(socket), *tables, situation)
        difference = describe_difference(compare_tables(before, after.table), list(flows))
    _print_answer(difference, render_difference, as_json)


def test(paths: Sequence[Path], as_json: bool) -> int:
    """Try each file of expectations, print what is not as expected, return the exit code.

    :raises FileError: if a file is wrong.
    """
    failures: list[Problem] = []
    tried = 0
    for path in paths:
        expectations = Expectations(path)
        source = read_policies(expectations.policies)
        failures += expectations.judge(source.table, source.links, source.measures)
        tried += len(expectations.items)
    if as_json:
        shown = [asdict(failure) for failure in failures]
        print(json.dumps({"tried": tried, "failures": shown}, indent=2))
    else:
        for failure in failures:
            print(failure)
        print(f"{tried} expectations, {len(failures)} failures")
    return 1 if failures else 0


def show_flows(socket: Path, interval: float | None, as_json: bool) -> None:
    """Print the flows that the agent at ``socket`` tracks; every ``interval`` seconds if given.

    :raises ControlError: if the agent can't be asked.
    """
    flows = request(socket, "flows")
    if interval is None:
        _print_answer(flows, render_flows, as_json)
        return
    console = Console()
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            if as_json:
                print(json.dumps(flows), flush=True)
            else:
                live.update(render_flows(flows, max(1, console.height - _FRAME)), refresh=True)
            asked_at = time.monotonic()
            time.sleep(interval)
            before, flows = flows, request(socket, "flows")
            flows = add_rates(flows, before, time.monotonic() - asked_at)


def _find_down(table: PolicyTable, links: Sequence[str] | None, up: str) -> Mapping[str, str]:
    known = links or table.links
    wanted = [name.strip() for name in up.split(",")] if up else []
    try:
        for name in wanted:
            check_known(name, known, "link")
    except MistakeError as mistake:
        problem = Problem("command line", None, "--up", mistake.message, mistake.suggestion)
        raise FileError([problem]) from None
    return {link: "down" for link in known if link not in wanted}


def _take_active(table: PolicyTable) -> PolicyTable:
    return take_active(table, find_week_minute(table, time.time()))


def _print_answer(answer: Any, render: Callable[[Any], RenderableType], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        Console().print(render(answer))
