"""IPv4 networks on board: what a mobile router asks for, and what its home agent grants.

No document has an option of its own for an IPv4 mobile network prefix, but RFC 7148, which is about
Proxy Mobile IPv6. RFC 5555 §3.1.1 registers prefixes with the IPv4 Home Address option, whose P
flag says that a mobile network's prefix is meant: here one option holds one network's address and
prefix length. An address of the mobile router's own may have one more, as it says. IPv4 is bound to
the care-of addresses that IPv6 is bound to: each Binding Update says what holds for its bindings.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, NamedTuple

from mrouter.protocol.events import Counted, Noted
from mrouter.wire.constants import FIRST_IPV4_REFUSAL, IPv4Status
from mrouter.wire.options import IPv4AddressAcknowledgement, IPv4HomeAddress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address

    from mrouter.protocol.events import Effect
    from mrouter.protocol.settings import ServedMobileRouter
    from mrouter.wire.options import MobilityOption

#: "This network" (RFC 1122 §3.2.1.3): no node's address.
_THIS_NETWORK = IPv4Network("0.0.0.0/8")


def keep_permitted(
    networks: Iterable[IPv4Network], permitted: Sequence[IPv4Network]
) -> tuple[IPv4Network, ...]:
    """Return those of ``networks`` that are one of ``permitted``, or a part of one."""
    return tuple(each for each in networks if any(each.subnet_of(own) for own in permitted))


# --- the home agent -------------------------------------------------------------------------


class IPv4Grant(NamedTuple):
    """What a home agent grants of IPv4, none within another, and its answer to each option."""

    networks: tuple[IPv4Network, ...] = ()
    answers: tuple[IPv4AddressAcknowledgement, ...] = ()


def grant_ipv4(options: Iterable[MobilityOption], router: ServedMobileRouter) -> IPv4Grant:
    """Decide on each IPv4 Home Address option of a Binding Update from ``router``.

    An address or a prefix has to be allocated to the mobile node with that IPv6 home address
    (RFC 5555 §4.5). A refusal leaves the IPv6 binding as it is.
    """
    asked = [option for option in options if isinstance(option, IPv4HomeAddress)]
    statuses = [_judge(option, router) for option in asked]
    granted = [
        option.network
        for option, status in zip(asked, statuses, strict=True)
        if status is IPv4Status.SUCCESS
    ]
    answers = [
        IPv4AddressAcknowledgement(
            status, option.address, 0 if status >= FIRST_IPV4_REFUSAL else option.prefix_length
        )
        for option, status in zip(asked, statuses, strict=True)
    ]
    return IPv4Grant(_drop_nested(granted), tuple(answers))


def _judge(option: IPv4HomeAddress, router: ServedMobileRouter) -> IPv4Status:
    # RFC 5555 §3.1.1: P "must be ignored for binding refreshes"; here it never grants anything.
    if not int(option.address):
        # Deviates from RFC 5555 §4.5, where the home agent would allocate an address or a prefix:
        # those of a mobile network are in both ends' configuration, as its IPv6 prefixes are.
        if option.request_prefix:
            return IPv4Status.PREFIX_ALLOCATION_UNAUTHORIZED
        return IPv4Status.DYNAMIC_ASSIGNMENT_NOT_AVAILABLE
    if not _is_unicast(option.address):
        return IPv4Status.INVALID_ADDRESS
    if keep_permitted((option.network,), router.ipv4_prefixes):
        return IPv4Status.SUCCESS
    if not router.ipv4_prefixes:
        return IPv4Status.ADMINISTRATIVELY_PROHIBITED
    if option.prefix_length == option.network.max_prefixlen:
        return IPv4Status.INCORRECT_HOME_ADDRESS
    return IPv4Status.PREFIX_ALLOCATION_UNAUTHORIZED


def _is_unicast(address: IPv4Address) -> bool:
    return not (
        address.is_multicast
        or address.is_loopback
        or address.is_link_local
        or address.is_reserved
        or address in _THIS_NETWORK
    )


def _drop_nested(networks: Iterable[IPv4Network]) -> tuple[IPv4Network, ...]:
    kept: list[IPv4Network] = []
    for network in sorted(networks):  # by address, the wider one first
        if not kept or not network.subnet_of(kept[-1]):
            kept.append(network)
    return tuple(kept)


# --- the mobile router ----------------------------------------------------------------------


def request_ipv4(networks: Iterable[IPv4Network]) -> list[MobilityOption]:
    """Return the options that ask for ``networks``."""
    return [
        IPv4HomeAddress(network.network_address, network.prefixlen, request_prefix=True)
        for network in networks
    ]


class IPv4State(NamedTuple):
    """Where one of the wanted networks stands at the home agent.

    ``name`` is "pending", "accepted", "not-supported", "unanswered" where others were answered, or
    what the status of a refusal says.
    """

    network: IPv4Network
    name: str


class IPv4Answers:
    """What the home agent says of the ``wanted`` networks, and what is new of it."""

    def __init__(self, wanted: tuple[IPv4Network, ...]) -> None:
        self._wanted = wanted
        self._names = dict.fromkeys(wanted, "pending")

    @property
    def states(self) -> tuple[IPv4State, ...]:
        """Where each wanted network stands, after the last answer about any binding."""
        return tuple(IPv4State(*item) for item in self._names.items())

    def take(
        self, options: Iterable[MobilityOption]
    ) -> tuple[tuple[IPv4Network, ...], list[Effect]]:
        """Take in the options of an acceptance; return what is granted and what to tell.

        A prefix length in the answer "overrides what the mobile node requested" (RFC 5555 §3.2.1),
        but nothing is taken that was not wanted. A home agent that answers none of the options
        does not know them: it has skipped them, and IPv6 goes on alone.
        """
        answers = {o.address: o for o in options if isinstance(o, IPv4AddressAcknowledgement)}
        before, granted = self._names, []
        self._names = dict.fromkeys(self._wanted, "unanswered" if answers else "not-supported")
        for network in self._wanted:
            answer = answers.get(network.network_address)
            if answer is None:
                continue
            if answer.status >= FIRST_IPV4_REFUSAL:
                self._names[network] = _name_status(answer.status)
                continue
            self._names[network] = "accepted"
            given = IPv4Network((answer.address, answer.prefix_length), strict=False)
            granted.append(max(network, given, key=lambda each: each.prefixlen))
        return tuple(granted), self._tell(before)

    def _tell(self, before: dict[IPv4Network, str]) -> list[Effect]:
        effects: list[Effect] = []
        if "not-supported" in self._names.values():
            return [] if self._names == before else [Noted("ipv4-not-supported")]
        for network, name in self._names.items():
            if name != "accepted":
                effects.append(Counted("ipv4-prefix-refused", name))
                if name != before[network]:
                    fields = (("prefix", str(network)), ("status", name))
                    effects.append(Noted("ipv4-prefix-refused", fields))
        return effects


def _name_status(status: int) -> str:
    try:
        return IPv4Status(status).name.lower().replace("_", "-")
    except ValueError:
        return "other"
