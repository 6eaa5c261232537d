"""Headers that the kernel's ``mip6`` writes and takes, by XFRM, as data.

A packet's home address goes in a Home Address option (RFC 6275 §6.3) or a type 2 routing header
(§6.4), and its care-of address in the IPv6 header.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address

ANY = IPv6Address("::")


class Header(IntEnum):
    """The two headers, by their protocol number."""

    ROUTING = 43
    HOME_ADDRESS_OPTION = 60


class Direction(IntEnum):
    """Which way packets go, as XFRM numbers it."""

    IN = 0
    OUT = 1


@dataclass(frozen=True, slots=True)
class Transformation:
    """An XFRM state: ``source`` and ``destination`` as the packet has them without the header.

    ``care_of_address`` is what the IPv6 header has instead of one of them. It is for packets whose
    mark under ``mask`` is ``mark``; the ``output_mark`` replaces our bits in what it has
    transformed, if not 0.
    """

    header: Header
    source: IPv6Address
    destination: IPv6Address
    care_of_address: IPv6Address
    mark: int = 0
    mask: int = 0
    output_mark: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """Return what only one state can have."""
        return self.header, self.source, self.destination, self.mark, self.mask


@dataclass(frozen=True, slots=True)
class TransformationPolicy:
    """An XFRM policy: packets out of ``source`` to ``destination`` are transformed, or may be in.

    ``care_of_address`` is the state's: a policy is known by it to need renewal, so that routes
    that the kernel has found for the former address are given up. `ANY` for packets that come in.
    """

    direction: Direction
    header: Header
    source: IPv6Address
    destination: IPv6Address
    care_of_address: IPv6Address = ANY
    mark: int = 0
    mask: int = 0

    @property
    def key(self) -> tuple[object, ...]:
        """Return what only one policy can have."""
        return self.direction, self.source, self.destination, self.mark, self.mask


@dataclass(frozen=True, slots=True)
class Transformations:
    """All states and policies that are wanted.

    ``home_address`` is this node's own, if any: the kernel takes a type 2 routing header for an
    address that is marked as a home address alone.
    """

    states: frozenset[Transformation] = frozenset()
    policies: frozenset[TransformationPolicy] = frozenset()
    home_address: IPv6Address | None = None
