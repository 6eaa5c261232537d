"""Find the policy that a flow falls under, by plain reading of the file from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv6Address, IPv6Network

    from mrouter.policy.model import Match, Policy, PolicyTable, PortRange


@dataclass(frozen=True, slots=True)
class Flow:
    """A packet as it leaves the vehicle: source is on board, destination is far.

    ``protocol`` is an IPv6 next header number, ``dscp`` 0 to 63, ``ingress`` the interface it came
    in by. Ports are None where the protocol has none, or where a fragment does not show them.
    """

    protocol: int
    source: IPv6Address
    destination: IPv6Address
    source_port: int | None = None
    destination_port: int | None = None
    dscp: int = 0
    ingress: str = ""


def find_policy(table: PolicyTable, flow: Flow) -> Policy:
    """Return the first policy that ``flow`` matches; the table's last one matches everything."""
    return next(policy for policy in table.policies if matches(policy.match, flow))


def matches(match: Match, flow: Flow) -> bool:
    """Say whether ``flow`` meets every condition of ``match``."""
    return (
        (not match.protocols or flow.protocol in match.protocols)
        and _port_matches(match.source_ports, flow.source_port)
        and _port_matches(match.destination_ports, flow.destination_port)
        and _address_matches(match.source_prefixes, flow.source)
        and _address_matches(match.destination_prefixes, flow.destination)
        and (not match.dscp or flow.dscp in match.dscp)
        and (not match.ingress or flow.ingress in match.ingress)
    )


def _port_matches(ranges: tuple[PortRange, ...], port: int | None) -> bool:
    if not ranges:
        return True
    return port is not None and any(ports.first <= port <= ports.last for ports in ranges)


def _address_matches(prefixes: tuple[IPv6Network, ...], address: IPv6Address) -> bool:
    return not prefixes or any(address in prefix for prefix in prefixes)
