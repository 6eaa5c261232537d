"""What each role is told once, at start or reload: plain data that the configuration fills in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Address, IPv6Network


#: Seconds that a binding may live which return routability has authorized (RFC 6275 §12).
MAX_RR_BINDING_LIFETIME = 420

#: Seconds before the first repetition of a first registration, by default (RFC 6275 §13).
INITIAL_BINDACK_TIMEOUT_FIRST_REG = 1.5


class Algorithm(Enum):
    """How an authenticator is computed, and to how many octets it is cut.

    RFC 4285 §5.1 fixes SPI 3 as HMAC-SHA-1 cut to 96 bits; HMAC-SHA-256 is cut to 128 bits.
    """

    HMAC_SHA1 = "hmac-sha1"
    HMAC_SHA256 = "hmac-sha256"


@dataclass(frozen=True, slots=True)
class SecurityAssociation:
    """A shared-key mobility security association between a mobile node and its home agent.

    ``key`` never shows in a repr, a log or a metric.
    """

    spi: int
    algorithm: Algorithm
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MobileRouterSettings:
    """What a mobile router registers, and how (RFC 6275 §11, RFC 3963 §5, the draft §7).

    ``prefixes`` are the mobile network prefixes; they travel in Mobile Network Prefix options
    only if ``explicit``. An empty tuple makes a mobile node (no R flag). ``security`` is None
    only where the configuration says that IPsec protects the signalling. ``lifetime`` in seconds.
    ``ifid_renewal`` in seconds: how long an IFID lives before a fresh one takes its place
    (draft §5.2, "MN SHOULD update the value of the IFID periodically"); None means never.
    ``correspondents`` are the nodes to optimize routes with from the start; ``route_lifetime`` in
    seconds is what they are asked for, at most 420 (RFC 6275 §12, MAX_RR_BINDING_LIFETIME).
    ``first_registration_timeout`` in seconds is how long a first registration waits for its answer
    before it is repeated: longer than the home agent's duplicate address detection (RFC 6275 §13,
    InitialBindackTimeoutFirstReg). ``follow_rfc5648``: the option that names a binding holds its
    care-of address, and the first Binding Update overwrites what stands (RFC 5648 §5.2, §5.9);
    the draft has neither. ``ipv4_prefixes`` are the IPv4 networks on board, none within another:
    the home agent is asked for them beside IPv6, which does not depend on its answer (RFC 5555).
    """

    home_address: IPv6Address
    home_agent: IPv6Address
    prefixes: tuple[IPv6Network, ...]
    explicit: bool
    security: SecurityAssociation | None
    lifetime: int = 120
    ifid_renewal: float | None = None
    correspondents: tuple[IPv6Address, ...] = ()
    route_lifetime: int = MAX_RR_BINDING_LIFETIME
    first_registration_timeout: float = INITIAL_BINDACK_TIMEOUT_FIRST_REG
    follow_rfc5648: bool = False
    ipv4_prefixes: tuple[IPv4Network, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedMobileRouter:
    """A mobile router that the home agent serves: one row of RFC 3963 §6.1.2's prefix table.

    ``security`` holds every association that is accepted (two while a key is rotated); it is
    empty only where the configuration says that IPsec protects the signalling. ``ipv4_prefixes``
    are the IPv4 networks that it may register (RFC 5555 §4.5).
    """

    home_address: IPv6Address
    prefixes: tuple[IPv6Network, ...]
    security: tuple[SecurityAssociation, ...]
    name: str = ""
    ipv4_prefixes: tuple[IPv4Network, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerHomeAgent:
    """A home agent of the same home link; ``nemo``: it serves mobile routers.

    The higher ``preference`` is, the earlier mobile nodes shall try it.
    """

    address: IPv6Address
    preference: int = 0
    nemo: bool = True


@dataclass(frozen=True, slots=True)
class HomeAgentSettings:
    """Whom a home agent serves, and within which bounds (RFC 6275 §10, RFC 3963 §6).

    ``home_prefixes`` are the home links. Times in seconds. ``timestamp_window`` is how far a
    replay protection timestamp may be from our clock (RFC 4285 §6). ``home_link`` is the
    interface of the home link, where home addresses are defended; None where it is virtual.
    ``preference`` and ``peers`` are for mobile nodes that look for home agents;
    ``prefix_lifetime`` is what they are told of the home prefixes, unless that is switched off
    (``prefix_advertisements``). ``refuse_mixed``: a binding with an IFID doesn't end a plain one,
    but is refused while that stands (RFC 5648 §6.2). ``require_addresses``: an option that names a
    new binding must hold its care-of address; a known one keeps its own without (RFC 5648 §6.2).
    """

    address: IPv6Address
    home_prefixes: tuple[IPv6Network, ...]
    served: tuple[ServedMobileRouter, ...]
    max_lifetime: int = 600
    min_lifetime: int = 4
    timestamp_window: float = 7.0
    nemo: bool = True
    home_link: str | None = None
    preference: int = 0
    peers: tuple[PeerHomeAgent, ...] = ()
    prefix_lifetime: int = 30 * 86400
    prefix_advertisements: bool = True
    refuse_mixed: bool = False
    require_addresses: bool = False


@dataclass(frozen=True, slots=True)
class CorrespondentNodeSettings:
    """Who a correspondent node is, and within which bounds it caches bindings (RFC 6275 §9).

    ``max_lifetime`` in seconds, at most 420 (RFC 6275 §12, MAX_RR_BINDING_LIFETIME).
    ``max_bindings`` bounds the memory that strangers can take: bindings, and the sequence numbers
    of ended ones. ``require_addresses``: an option that names a new binding must hold its care-of
    address; a known one keeps its own without (RFC 5648 §6.2).
    """

    address: IPv6Address
    max_lifetime: int = MAX_RR_BINDING_LIFETIME
    max_bindings: int = 4096
    require_addresses: bool = False
