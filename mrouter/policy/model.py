"""What a policy file means, as data: the operator's words in, nothing of the kernel's."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Network


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Ports from ``first`` to ``last``, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Match:
    """What a packet from the mobile network must look like; an empty tuple matches anything.

    The packet is always seen as it leaves the vehicle: source is on board, destination is far.
    ``protocols`` are IPv6 next header numbers, ``dscp`` 0 to 63, ``ingress`` interface names.
    """

    protocols: tuple[int, ...] = ()
    source_ports: tuple[PortRange, ...] = ()
    destination_ports: tuple[PortRange, ...] = ()
    source_prefixes: tuple[IPv6Network, ...] = ()
    destination_prefixes: tuple[IPv6Network, ...] = ()
    dscp: tuple[int, ...] = ()
    ingress: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Steer:
    """Use the first of ``links`` that is up; drop while none is."""

    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bicast:
    """Send a copy over each of the first ``copies`` of ``links`` that are up; drop if none is."""

    links: tuple[str, ...]
    copies: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop every packet."""


Action = Steer | Bicast | Drop


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy: its name, unique in the file, what it matches, and what it does."""

    name: str
    match: Match
    action: Action


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """All policies in file order, first match wins; the last one matches everything."""

    policies: tuple[Policy, ...]
