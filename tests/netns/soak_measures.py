"""What a soak test measures: gaps in streams that nothing excuses, and what has grown."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Span = tuple[float, float]


def list_gaps(events: Iterable[Mapping[str, Any]]) -> list[Span]:
    """Return the spans in which the end of a stream that told ``events`` received nothing."""
    gaps: list[Span] = []
    begun: tuple[float, int] | None = None
    for event in events:
        if event["event"] == "progress":
            if begun is None or event["received"] != begun[1]:
                begun = event["at"], event["received"]
            else:
                gaps = [gap for gap in gaps if gap[0] != begun[0]]
                gaps.append((begun[0], event["at"]))
    return gaps


def find_unexcused(
    gaps: Iterable[Span], good: Mapping[str, Sequence[Span]], patience: float
) -> list[tuple[Span, str]]:
    """Return the ``gaps`` of which ``patience`` seconds fall into one span of a good link.

    All are (begin, end), in the same clock.
    """
    return [
        (gap, link)
        for gap in gaps
        for link, spans in good.items()
        for begin, end in spans
        if min(gap[1], end) - max(gap[0], begin) > patience
    ]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What an agent's process and its kernel hold."""

    resident_kib: int
    descriptors: int
    kernel: Mapping[str, int]


def measure(lab, role: str, node: str) -> Holdings:
    """Look at the agent of ``role`` in ``node``, and at all that stands there in its kernel."""
    pid = lab.process(role).pid
    with open(f"/proc/{pid}/status") as status:
        resident = int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])
    commands = {
        "rules": ["ip", "-6", "rule"],
        "routes": ["ip", "-6", "route", "show", "table", "all", "proto", "77"],
    }
    kernel = {
        name: len(lab.topology.execute(node, command).stdout.splitlines())
        for name, command in commands.items()
    }
    listed = lab.topology.execute(node, ["nft", "-j", "list", "table", "ip6", "mrouter"]).stdout
    kernel |= _count_objects(json.loads(listed)["nftables"])
    return Holdings(resident, len(os.listdir(f"/proc/{pid}/fd")), kernel)


def _count_objects(listed: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count by kind; of the elements those that the agent put in, not the packets."""
    counted: Counter[str] = Counter()
    for item in listed:
        for kind, content in item.items():
            counted[kind] += 1
            if kind in ("set", "map"):
                elements = content.get("elem", ())
                own = [each for each in elements if not _is_put_in_by_packets(each)]
                counted[f"elements of {content['name']}"] = len(own)
    return dict(counted)


def _is_put_in_by_packets(element: Any) -> bool:
    """Say whether an element has a timeout or a counter, which none of the agent's sets has.

    A map's element is a pair. Counted elements are as many as there are policies and slots.
    """
    return isinstance(element, dict) and "elem" in element
