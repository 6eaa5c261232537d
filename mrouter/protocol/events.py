"""What may happen to a role, and what a role asks for: the whole surface of the protocol core."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.wire.messages import Packet


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment, read once by the caller: the core never reads a clock.

    Deadlines use ``monotonic`` (seconds, never jumps); ``unix`` (seconds since 1970) is only for
    timestamps on the wire.
    """

    monotonic: float
    unix: float


@dataclass(frozen=True, slots=True)
class EgressAddress:
    """A care-of address that may be used now: global, neither tentative nor deprecated."""

    link: str
    interface: str
    address: IPv6Address
    ifpri: int


# --- events -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PacketReceived:
    """A well-formed Mobility Header packet arrived."""

    packet: Packet


@dataclass(frozen=True, slots=True)
class EgressChanged:
    """All care-of addresses that are usable now, in order of preference; replaces the last."""

    addresses: tuple[EgressAddress, ...]


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The deadline that the role asked for has come."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The agent is stopping; ``deregister`` says whether its bindings should go too."""

    deregister: bool


@dataclass(frozen=True, slots=True)
class ForwardingFailed:
    """The data plane could not be set up for a binding of the home agent (RFC 3963 §6.6)."""

    home_address: IPv6Address
    ifid: int | None


Event = PacketReceived | EgressChanged | TimerFired | StopRequested | ForwardingFailed


# --- effects ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendPacket:
    """Send ``packet`` by egress link ``link`` (None: by the ordinary routes).

    If the last option is an ``MnHaAuthentication`` with an empty authenticator the agent's
    signer fills it in: ``key_for`` names the home address whose key it is.
    """

    packet: Packet
    link: str | None = None
    key_for: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class BindingsChanged:
    """The role's bindings are no longer what they were: rebuild the data plane's state."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Something worth a metric happened; ``reason`` comes from a fixed, small set."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line in the log happened; never holds key material."""

    name: str
    fields: tuple[tuple[str, str], ...] = field(default=())


Effect = SendPacket | BindingsChanged | Counted | Noted
