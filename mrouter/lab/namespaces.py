"""Network namespaces by name: make them, run in them, end what runs in them, delete them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mrouter.errors import MrouterError

NETNS_DIRECTORY = Path("/run/netns")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
_POLL_INTERVAL = 0.02
_KILL_TIMEOUT = 2.0


class LabError(MrouterError):
    """The lab could not do what it was asked to."""


def check_name(name: str) -> str:
    """Give back ``name`` if it may name a lab; raise LabError if not."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{name!r} cannot name a lab: use up to 31 lower-case letters, digits, '-' and '_'"
        )
    return name


def run_tool(argv: Sequence[str], lines: Iterable[str] = ()) -> str:
    """Run ``argv`` with ``lines`` as its input; give its output, raise LabError if it fails.

    The tool gets a session of its own: a Ctrl-C in the terminal is the lab's alone to handle.
    """
    try:
        done = subprocess.run(
            argv,
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is missing: install it (Debian: iproute2)") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def create_namespaces(names: Sequence[str]) -> None:
    """Make namespaces ``names``; raise LabError if one exists or the kernel refuses."""
    taken = [name for name in names if (NETNS_DIRECTORY / name).exists()]
    if taken:
        raise LabError(f"namespace {taken[0]} exists already: take that lab down first")
    run_tool(["ip", "-batch", "-"], [f"netns add {name}" for name in names])


def run_in_each(tool: Sequence[str], lines_by_namespace: Mapping[str, Sequence[str]]) -> None:
    """Feed each namespace's lines to ``tool`` running in it, all namespaces at the same time."""
    with ThreadPoolExecutor(max_workers=max(1, len(lines_by_namespace))) as pool:
        jobs = [
            pool.submit(run_tool, enter(name, tool), lines)
            for name, lines in lines_by_namespace.items()
        ]
    for job in jobs:
        job.result()


def enter(name: str, argv: Sequence[str]) -> list[str]:
    """Give the command line that runs ``argv`` in namespace ``name``."""
    return ["ip", "netns", "exec", name, *argv]


def list_pids(names: Sequence[str]) -> list[int]:
    """List the processes whose network namespace is one of ``names``, never our own."""
    inodes = _find_inodes(names)
    if not inodes:
        return []
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return sorted(pid for pid in pids if pid != os.getpid() and _is_within(pid, inodes))


def end_processes(names: Sequence[str], grace: float) -> None:
    """End every process in namespaces ``names``: SIGTERM, after ``grace`` seconds SIGKILL.

    A process is signalled through a pidfd opened before its namespace was looked at, so a pid
    that was taken by somebody else meanwhile is never hit. Raise LabError if one survives.
    """
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_TIMEOUT)):
        deadline = time.monotonic() + patience
        signalled: set[int] = set()
        while pids := list_pids(names):
            if time.monotonic() > deadline:
                break
            inodes = _find_inodes(names)
            for pid in set(pids) - signalled:
                _signal_within(pid, number, inodes)
            signalled.update(pids)
            time.sleep(_POLL_INTERVAL)
        else:
            return
    raise LabError(f"processes {list_pids(names)} do not end")


def delete_namespaces(names: Sequence[str]) -> None:
    """Delete those of ``names`` that exist, with every interface in them."""
    existing = [name for name in names if (NETNS_DIRECTORY / name).exists()]
    if existing:
        run_tool(["ip", "-force", "-batch", "-"], [f"netns del {name}" for name in existing])


def _find_inodes(names: Sequence[str]) -> set[tuple[int, int]]:
    """Find the namespaces' device and inode numbers.

    A name whose mount is gone is a plain file on another device: it matches no process.
    """
    found = set()
    for name in names:
        try:
            status = os.stat(NETNS_DIRECTORY / name)
        except FileNotFoundError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found


def _is_within(pid: int, inodes: set[tuple[int, int]]) -> bool:
    try:
        status = os.stat(f"/proc/{pid}/ns/net")
    except OSError:  # gone, a zombie, or not ours to see
        return False
    return (status.st_dev, status.st_ino) in inodes


def _signal_within(pid: int, number: signal.Signals, inodes: set[tuple[int, int]]) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _is_within(pid, inodes):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
