"""What may happen to a role, and what a role asks for: the whole surface of the protocol core."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.protocol.flow_bindings import WantedFlow
    from mrouter.protocol.keygen_tokens import BindingAuthorization
    from mrouter.wire.home_discovery import DiscoveryPacket
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
    """A well-formed Mobility Header packet arrived.

    ``via_home_agent`` says that it came out of the home agent's tunnel: a Home Test that did not
    is ignored while the mobile node is away from home (RFC 6275 §11.6.2).
    """

    packet: Packet
    via_home_agent: bool = False


@dataclass(frozen=True, slots=True)
class DiscoveryReceived:
    """A well-formed message of home agent discovery or prefix discovery arrived."""

    packet: DiscoveryPacket


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
    """The data plane could not be set up for a binding of the home agent (RFC 3963 §6.2)."""

    home_address: IPv6Address
    ifid: int | None


@dataclass(frozen=True, slots=True)
class DuplicateChecked:
    """The end of what ``CheckDuplicate`` asked for; ``duplicate``: a node has such an address."""

    home_address: IPv6Address
    duplicate: bool


@dataclass(frozen=True, slots=True)
class CorrespondentsChanged:
    """All nodes that the mobile node should optimize routes with; replaces the last."""

    addresses: tuple[IPv6Address, ...]


@dataclass(frozen=True, slots=True)
class FlowsWanted:
    """All that the mobile router wants of its home agent for the downlink; replaces the last.

    The first flow that a packet matches decides.
    """

    flows: tuple[WantedFlow, ...]


@dataclass(frozen=True, slots=True)
class CareOfAddressFailed:
    """What a correspondent node sends to this care-of address does not arrive.

    Packets are lost, or an ICMPv6 Destination Unreachable came back (the draft §4).
    """

    care_of_address: IPv6Address


@dataclass(frozen=True, slots=True)
class HomeAgentReached:
    """The home agent answers by these care-of addresses, after a silence.

    What was sent from them before is lost, and need not wait for its repetition.
    """

    care_of_addresses: frozenset[IPv6Address]


@dataclass(frozen=True, slots=True)
class PeerWithoutMobility:
    """``address`` says that it does not know the Mobility Header of our packet to it.

    It is an ICMPv6 Parameter Problem, Code 1, and nobody vouches for it (RFC 6275 §11.3.5).
    """

    address: IPv6Address


@dataclass(frozen=True, slots=True)
class BindingsUsed:
    """All bindings, as (home address, IFID), that packets have gone by since the last such event.

    ``received`` are those that packets have come by.
    """

    keys: frozenset[tuple[IPv6Address, int | None]]
    received: frozenset[tuple[IPv6Address, int | None]] = frozenset()


@dataclass(frozen=True, slots=True)
class HomeAddressOptionSeen:
    """A data packet with a Home Address option came to a correspondent node.

    ``source`` is the care-of address on the wire.
    """

    source: IPv6Address
    home_address: IPv6Address


@dataclass(frozen=True, slots=True)
class UnboundPacketSeen:
    """A tunnelled packet came to a home agent from no care-of address that it has a binding for."""

    source: IPv6Address
    inner_source: IPv6Address


Event = (
    PacketReceived
    | DiscoveryReceived
    | EgressChanged
    | TimerFired
    | StopRequested
    | ForwardingFailed
    | DuplicateChecked
    | CorrespondentsChanged
    | FlowsWanted
    | CareOfAddressFailed
    | HomeAgentReached
    | PeerWithoutMobility
    | BindingsUsed
    | HomeAddressOptionSeen
    | UnboundPacketSeen
)


# --- effects ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendPacket:
    """Send ``packet`` by egress link ``link`` (None: by the ordinary routes).

    A home agent's only ``link`` is the interface of its home link.

    If the last option is an ``MnHaAuthentication`` with an empty authenticator the agent's
    signer fills it in: ``key_for`` names the home address whose key it is. If the last option is
    ``BindingAuthorizationData`` without an authenticator, ``AuthorizationSigner(authorization)``
    does. ``via_home_agent`` asks for the tunnel to the home agent, whatever it goes by
    (RFC 6275 §11.6.3).
    """

    packet: Packet
    link: str | None = None
    key_for: IPv6Address | None = None
    authorization: BindingAuthorization | None = None
    via_home_agent: bool = False


@dataclass(frozen=True, slots=True)
class SendDiscovery:
    """Send ``packet`` by egress link ``link`` (None: by the ordinary routes)."""

    packet: DiscoveryPacket
    link: str | None = None


@dataclass(frozen=True, slots=True)
class BindingsChanged:
    """The role's bindings are no longer what they were: rebuild the data plane's state."""


@dataclass(frozen=True, slots=True)
class CheckDuplicate:
    """Perform duplicate address detection for ``addresses`` on the home link (RFC 4862 §5.4).

    ``DuplicateChecked`` for ``home_address`` tells how it ended; the answer to the Binding Update
    waits for it (RFC 6275 §10.3.1).
    """

    home_address: IPv6Address
    addresses: tuple[IPv6Address, ...]


@dataclass(frozen=True, slots=True)
class AdvertiseNeighbour:
    """Say to all nodes on the home link that ``addresses`` are reached here now.

    At the home agent, once the data plane stands (RFC 6275 §10.4.1); at a mobile node that has
    returned, once its bindings have ended (§11.5.5). ``router``: they are a mobile router's, whose
    advertisements "MUST" say so (RFC 3963 §6.2).
    """

    addresses: tuple[IPv6Address, ...]
    router: bool = False


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


Effect = (
    SendPacket
    | SendDiscovery
    | BindingsChanged
    | CheckDuplicate
    | AdvertiseNeighbour
    | Counted
    | Noted
)
