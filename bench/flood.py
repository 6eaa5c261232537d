"""Send a fleet's Binding Updates to a home agent and count its answers.

A program that runs in a namespace beside the home agent's. A window of updates is under way at
any time: an answer makes room for the next update.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import nftables

from bench.fleet import WIRE, Fleet
from mrouter.lab.namespaces import LabError
from mrouter.signalling import SignallingSocket
from mrouter.wire.messages import BindingAcknowledgement
from mrouter.wire.packet import parse_packet

WINDOW = 256
_GROUP = 78
_SILENCE = 3.0
"""Seconds without an answer after which the run has failed."""
_STATUS_AT = 70
"""Where the status is: behind the IPv6 header, the type 2 routing header, 6 octets of MH."""
_IPV6_AND_ROUTING_HEADER = 64
_ACKNOWLEDGEMENT = 6
_TICKS = os.sysconf("SC_CLK_TCK")


def flood(interface: str, updates: Sequence[bytes], agent: int) -> dict[str, object]:
    """Send all ``updates`` and give the answers by status, the seconds, and the agent's CPU's.

    ``agent`` is the home agent's process. Raise LabError if it falls silent.
    """
    statuses: Counter[int] = Counter()
    _log_answers()
    signalling = SignallingSocket(_GROUP)
    selector = selectors.DefaultSelector()
    selector.register(signalling.fileno(), selectors.EVENT_READ)
    waiting = iter(updates)
    used_at_start = _read_cpu_seconds(agent)
    started_at = time.monotonic()
    for update in islice(waiting, WINDOW):
        signalling.send(update, interface)
    answered = 0
    last = b""
    while answered < len(updates):
        if not selector.select(_SILENCE):
            raise LabError(f"{answered} of {len(updates)} answered, then silence")
        answers = list(signalling.receive(WINDOW))
        for answer, _mark in answers:
            if answer[_IPV6_AND_ROUTING_HEADER + 2] == _ACKNOWLEDGEMENT:
                statuses[answer[_STATUS_AT]] += 1
                answered += 1
                last = answer
        for update in islice(waiting, len(answers)):
            signalling.send(update, interface)
    seconds = time.monotonic() - started_at
    used = _read_cpu_seconds(agent) - used_at_start
    signalling.close()
    _check_reading(last)
    return {"statuses": statuses, "seconds": seconds, "agent_seconds": used}


def _log_answers() -> None:
    """Have the kernel hand the answers over, whichever care-of address they are for."""
    code, _, error = nftables.Nftables().cmd(
        "table ip6 bench { chain prerouting { type filter hook prerouting priority raw; "
        f"meta l4proto 135 log group {_GROUP} drop; }}; }}"
    )
    if code:
        raise LabError(error)


def _check_reading(answer: bytes) -> None:
    """Check that the status was read where it is."""
    message = parse_packet(answer, WIRE).message
    if not isinstance(message, BindingAcknowledgement) or message.status != answer[_STATUS_AT]:
        raise LabError("the answers are not what they seem")


def _read_cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench.flood", description=__doc__)
    parser.add_argument("--interface", required=True)
    parser.add_argument("--agent", type=int, required=True, help="the home agent's process")
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--size", type=int, required=True, help="mobile routers")
    parser.add_argument("--refreshes", type=int, required=True, help="rounds of refreshes")
    parser.add_argument("--moves", type=int, required=True, help="rounds of new addresses")
    options = parser.parse_args(arguments)
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:  # the home agent has the last one to itself
        os.sched_setaffinity(0, set(cpus[:-1]))
    fleet = Fleet(options.size, bytes.fromhex(options.key_file.read_text(encoding="ascii")))
    started = time.time()
    begin = 1
    results = {}
    for name, rounds, moving in (
        ("registrations", 1, False),
        ("refreshes", options.refreshes, False),
        ("moves", options.moves, True),
    ):
        updates = list(fleet.make_updates(begin, rounds, started, moving=moving))
        begin += rounds
        results[name] = flood(options.interface, updates, options.agent)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
