"""Messages and options in words, and as values for JSON."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from mrouter.protocol.keys import from_ntp_timestamp
from mrouter.wire.constants import (
    BindingErrorStatus,
    BindingStatus,
    Dialect,
    FlowStatus,
    IPv4Status,
)
from mrouter.wire.home_discovery import (
    DiscoveryMessage,
    DiscoveryType,
    HomeAgentReply,
    HomeAgentRequest,
    HomePrefix,
)
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Message,
    find_option,
)
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    CareOfAddressInformation,
    FlowIdentification,
    FlowSummary,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    MnHaAuthentication,
    MobileNetworkPrefix,
    NonceIndices,
    ReplayProtection,
    UnknownOption,
)
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

if TYPE_CHECKING:
    from collections.abc import Callable

#: By number, so that a message that the daemons refuse has a name as well.
MESSAGE_NAMES = {
    0: "Binding Refresh Request",
    1: "Home Test Init",
    2: "Care-of Test Init",
    3: "Home Test",
    4: "Care-of Test",
    5: "Binding Update",
    6: "Binding Acknowledgement",
    7: "Binding Error",
}

DISCOVERY_NAMES: dict[int, str] = {
    DiscoveryType.HOME_AGENT_REQUEST: "Home Agent Address Discovery Request",
    DiscoveryType.HOME_AGENT_REPLY: "Home Agent Address Discovery Reply",
    DiscoveryType.PREFIX_SOLICITATION: "Mobile Prefix Solicitation",
    DiscoveryType.PREFIX_ADVERTISEMENT: "Mobile Prefix Advertisement",
}

_FLAGS = (
    "acknowledge",
    "home_registration",
    "link_local_compatible",
    "key_management",
    "mobile_router",
    "multiple",
    "overwrite",
)

#: What RFC 6275 says beside ``BindingStatus``.
_OTHER_STATUSES = {174: "invalid-care-of-address"}
_FOREVER = 0xFFFFFFFF


class Description(NamedTuple):
    """What a message or an option says: in words, and as values that JSON can hold."""

    text: str
    values: dict[str, Any]


# --- messages -------------------------------------------------------------------------------


def describe_message(message: Message, dialect: Dialect) -> Description:
    """Return what ``message`` says, without its options.

    Keygen tokens are left out: the two of a return routability procedure are the key Kbm.
    """
    if isinstance(message, BindingUpdate):
        return _describe_update(message)
    if isinstance(message, BindingAcknowledgement):
        return _describe_acknowledgement(message, dialect)
    if isinstance(message, BindingError):
        status = name_error_status(message.status)
        return Description(
            f"{status}, home address {message.home_address}",
            {"status": message.status, "status_name": status}
            | {"home_address": str(message.home_address)},
        )
    if isinstance(message, HomeTestInit | CareOfTestInit):
        cookie = message.cookie.hex()
        return Description(f"cookie {cookie}", {"cookie": cookie})
    if isinstance(message, HomeTest | CareOfTest):
        cookie = message.cookie.hex()
        return Description(
            f"nonce index {message.nonce_index}, cookie {cookie}",
            {"nonce_index": message.nonce_index, "cookie": cookie},
        )
    return Description("", {})


def _describe_update(message: BindingUpdate) -> Description:
    flags = _name_flags(message)
    values = {"sequence": message.sequence, "lifetime": message.lifetime, "flags": flags}
    text = f"seq {message.sequence}, {_word_lifetime(message.lifetime)}{_word_flags(flags)}"
    return Description(text, values)


def _describe_acknowledgement(message: BindingAcknowledgement, dialect: Dialect) -> Description:
    status = name_status(message.status, dialect)
    named = find_option(message, CareOfAddressInformation) is not None
    if message.status == BindingStatus.ACCEPTED_NP_COA and named:
        status = _word_enum(BindingStatus.ACCEPTED_NP_COA)  # in dialect rfc5648 as well
    flags = _name_flags(message)
    values = {"status": message.status, "status_name": status, "sequence": message.sequence}
    text = f"{status}, seq {message.sequence}, lifetime {message.lifetime} s{_word_flags(flags)}"
    return Description(text, values | {"lifetime": message.lifetime, "flags": flags})


def _name_flags(message: Message | DiscoveryMessage) -> list[str]:
    return [name.replace("_", "-") for name in _FLAGS if getattr(message, name, False)]


def _word_flags(flags: list[str]) -> str:
    return f", flags {' '.join(flags)}" if flags else ""


def _word_lifetime(seconds: int) -> str:
    return f"lifetime {seconds} s" if seconds else "lifetime 0 s (de-registration)"


def name_status(status: int, dialect: Dialect) -> str:
    """Return the name of a Binding Acknowledgement's status."""
    if status == BindingStatus.ACCEPTED_NP_COA and dialect is Dialect.RFC5648:
        return "accepted-but-prefix-discovery-necessary"
    if status in frozenset(BindingStatus):
        return _word_enum(BindingStatus(status))
    return _OTHER_STATUSES.get(status, f"status {status}")


def name_error_status(status: int) -> str:
    """Return the name of a Binding Error's status."""
    if status in frozenset(BindingErrorStatus):
        return _word_enum(BindingErrorStatus(status))
    return f"status {status}"


def _word_enum(member: Enum) -> str:
    return member.name.lower().replace("_", "-")


# --- home agent and prefix discovery ----------------------------------------------------------


def describe_discovery(message: DiscoveryMessage) -> Description:
    """Return what ``message`` says, without the prefixes of an advertisement."""
    text = f"id {message.identifier}"
    values: dict[str, Any] = {"identifier": message.identifier}
    if isinstance(message, HomeAgentRequest | HomeAgentReply):
        flags = _name_flags(message)
        text += _word_flags(flags)
        values["flags"] = flags
    if isinstance(message, HomeAgentReply):
        addresses = [str(address) for address in message.addresses]
        text += f", home agents {' '.join(addresses) or 'none'}"
        values["home_agents"] = addresses
    return Description(text, values)


# --- options --------------------------------------------------------------------------------


def describe_option(option: Any, dialect: Dialect) -> Description:
    """Return what ``option`` says; one that has no words of its own is told field by field."""
    kind = _word_type(type(option))
    values = {"option": kind} | {
        field.name: _simplify(getattr(option, field.name)) for field in fields(option)
    }
    if isinstance(option, CareOfAddressInformation):
        return Description(_word_binding(option, dialect), values)
    if isinstance(option, UnknownOption):
        name = _name_unknown(option)
        return Description(name, values | {"name": name})
    if isinstance(option, ReplayProtection):
        values["time"] = _word_timestamp(option.timestamp)
    words = _WORDS.get(type(option))
    if words is None:
        rest = " ".join(f"{key} {value}" for key, value in list(values.items())[1:])
        return Description(f"{kind} {rest}".rstrip(), values)
    return Description(words(option), values)


def _word_binding(option: CareOfAddressInformation, dialect: Dialect) -> str:
    text = f"IFID {option.ifid}, IFPRI {option.ifpri}"
    if option.status:
        text += f" ({name_status(option.status, dialect)})"
    if option.care_of_address is not None:
        text += f" at {option.care_of_address}"
    if option.home_and_foreign:
        text += " home-and-foreign"
    return text


def _name_unknown(option: UnknownOption) -> str:
    # Late, for scapy is loaded only where there is something that the daemons do not know.
    from mrouter.capture.unknown import name_option

    name = name_option(option.type, option.data)
    return name or f"option {option.type} ({len(option.data)} octets)"


def _word_flow(option: FlowIdentification) -> str:
    text = f"flow {option.fid} priority {option.priority}"
    if option.status:
        text += f" ({_name_flow_status(option.status)})"
    if option.malformed:
        text += " malformed"
    if option.ifids:
        text += f" by IFID {_word_numbers(option.ifids)}"
    if option.selector is not None:
        text += f": {_word_selector(option.selector)}"
    return text


def _name_flow_status(status: int) -> str:
    known = status in frozenset(FlowStatus)
    return _word_enum(FlowStatus(status)) if known else f"status {status}"


def _word_ipv4(option: IPv4HomeAddress) -> str:
    kind = "prefix" if option.request_prefix else "address"
    return f"IPv4 {kind} {option.address}/{option.prefix_length}"


def _word_ipv4_acknowledgement(option: IPv4AddressAcknowledgement) -> str:
    known = option.status in frozenset(IPv4Status)
    status = _word_enum(IPv4Status(option.status)) if known else f"status {option.status}"
    length = f"/{option.prefix_length}" if option.prefix_length else ""
    return f"IPv4 {option.address}{length} ({status})"


def _word_selector(selector: TrafficSelector | UnknownSelector) -> str:
    if isinstance(selector, UnknownSelector):
        return f"selector of format {selector.format} ({len(selector.data)} octets)"
    words = []
    for field in fields(selector):
        bounds = getattr(selector, field.name)
        if bounds is not None:
            first, last = bounds
            values = f"{first}" if first == last else f"{first}-{last}"
            words.append(f"{field.name.replace('_', '-')} {values}")
    return " ".join(words) or "everything"


def _word_numbers(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


def _word_home_prefix(option: HomePrefix) -> str:
    valid, preferred = map(_word_seconds, (option.valid_lifetime, option.preferred_lifetime))
    return f"prefix {option.prefix} valid {valid} preferred {preferred}"


def _word_seconds(seconds: int) -> str:
    return "forever" if seconds == _FOREVER else f"{seconds} s"


def _word_timestamp(timestamp: int) -> str:
    return datetime.fromtimestamp(from_ntp_timestamp(timestamp), UTC).strftime(
        "%Y-%m-%dT%H:%M:%S.%fZ"
    )


_WORDS: dict[type, Callable[[Any], str]] = {
    BindingRefreshAdvice: lambda option: f"refresh advice {option.interval} s",
    AlternateCareOfAddress: lambda option: f"alternate CoA {option.address}",
    NonceIndices: lambda option: f"nonce indices home {option.home} care-of {option.care_of}",
    BindingAuthorizationData: lambda _: "Binding Authorization Data",
    MobileNetworkPrefix: lambda option: f"MNP {option.prefix}",
    MnHaAuthentication: lambda option: f"SPI {option.spi}",
    FlowIdentification: _word_flow,
    FlowSummary: lambda option: f"flow summary {_word_numbers(option.fids)}",
    HomePrefix: _word_home_prefix,
    IPv4HomeAddress: _word_ipv4,
    IPv4AddressAcknowledgement: _word_ipv4_acknowledgement,
    ReplayProtection: lambda option: f"timestamp {_word_timestamp(option.timestamp)}",
}


def _word_type(kind: type) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


def _simplify(value: Any) -> Any:
    """Return ``value`` as JSON can hold it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return _word_enum(value)
    if isinstance(value, tuple):
        return [_simplify(part) for part in value]
    if is_dataclass(value):
        return {field.name: _simplify(getattr(value, field.name)) for field in fields(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
