"""What a running mobile router says of its policies, links and flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrouter.control import ControlError, request
from mrouter.policy.difference import TrackedFlow, read_tracked_flow
from mrouter.policy.model import Choice
from mrouter.policy.resolve import LinkSituation
from mrouter.policy.table_codec import decode_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mrouter.policy.model import PolicyTable

#: What tells one flow from another.
_IDENTITY = (
    "protocol",
    "source",
    "source_port",
    "destination",
    "destination_port",
    "icmpv6_type",
    "icmpv6_id",
)


def ask_policies(socket: Path) -> PolicyTable:
    """Return the policies that the agent at ``socket`` obeys.

    :raises ControlError: if it can't be asked, has none, or is of another version.
    """
    try:
        return decode_table(request(socket, "policies"))
    except ValueError as error:
        raise ControlError(f"the agent at {socket} is of another version: {error}") from error


def ask_tracked_flows(socket: Path) -> list[TrackedFlow]:
    """Return the flows that the agent's kernel tracks.

    :raises ControlError: if the agent can't be asked.
    """
    return [read_tracked_flow(row) for row in request(socket, "flows")]


def ask_situation(socket: Path) -> LinkSituation:
    """Return what keeps policies from links now, and in which order they try them.

    :raises ControlError: if the agent can't be asked.
    """
    status = request(socket, "status")
    return LinkSituation(
        down=find_down(status),
        held={row["name"]: row["held"] for row in status["policies"]},
        measures={Choice(name): levels for name, levels in status["measures"].items()},
    )


def find_down(status: Mapping[str, Any]) -> dict[str, str]:
    """Return the links of a mobile router's ``status`` that can't carry traffic, and why not."""
    bindings: dict[str, list[Mapping[str, Any]]] = {}
    for binding in status["bindings"]:
        bindings.setdefault(binding["link"], []).append(binding)
    down = {}
    for link in status["links"]:
        mine = bindings.get(link["name"], ())
        if not link["up"]:
            down[link["name"]] = f"down: {link['reason']}"
        elif link["quality"] is not None and link["quality"]["state"] == "down":
            down[link["name"]] = "silent: its probes are not answered"
        elif not mine and link["name"] in status["drained"]:
            down[link["name"]] = "up, but drained"
        elif not any(binding["usable"] for binding in mine):
            states = " and ".join(dict.fromkeys(binding["state"] for binding in mine))
            down[link["name"]] = f"up, but {states or 'not bound'}"
    return down


def add_rates(
    flows: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], seconds: float
) -> list[dict[str, Any]]:
    """Return ``flows`` with their "rate", bytes a second since ``before``, ``seconds`` ago.

    None where the kernel does not count, or the flow is new.
    """
    known = {_identify(flow): flow["bytes"] for flow in before}
    return [
        {**flow, "rate": _measure_rate(flow["bytes"], known.get(_identify(flow)), seconds)}
        for flow in flows
    ]


def _measure_rate(octets: int | None, before: int | None, seconds: float) -> float | None:
    if octets is None or before is None or octets < before:
        return None
    return (octets - before) / seconds


def _identify(flow: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(flow[name] for name in _IDENTITY)
