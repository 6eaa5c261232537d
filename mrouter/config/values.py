"""Read the values of configuration files: choices, paths, addresses, networks."""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, PlainValidator, ValidationInfo

from mrouter.config.ipv4 import point_to_ipv4_prefixes
from mrouter.config.model import DEFAULT_CONTROL_SOCKET
from mrouter.toml_model import (
    Prefix,
    as_list,
    expect_text,
    one_of,
    parse_address,
    refuse_nested_prefixes,
    within,
)
from mrouter.toml_source import MistakeError, show
from mrouter.wire.constants import DEFAULT_COAINFO_TYPE, OptionType

E = TypeVar("E", bound=Enum)

#: The lifetime field has 16 bits and counts units of 4 s (RFC 6275 §6.1.7).
LONGEST_LIFETIME = 0xFFFF * 4
#: Instead of a home agent's address: look for one.
DISCOVER = "auto"
#: Every Binding Update names them all.
_MOST_IPV4_NETWORKS = 16
#: What fits into a sockaddr_un with its closing zero.
_LONGEST_SOCKET_PATH = 107
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")


def choice(enumeration: type[E]) -> PlainValidator:
    """Make a reader of one of the values of ``enumeration``, which are words."""
    return PlainValidator(one_of({str(member.value): member for member in enumeration}))


def _check_coainfo_type(number: int) -> int:
    within(0, 255)(number)
    if number in list(OptionType):
        message = f"{number} is the type of the option {OptionType(number).name}"
        raise MistakeError(message, f"write {DEFAULT_COAINFO_TYPE}")
    return number


def _parse_listen(value: Any) -> tuple[str, int] | None:
    text = expect_text(value)
    if text == "off":
        return None
    found = _LISTEN.fullmatch(text)
    wrong = MistakeError(f"{show(text)} is not an address and a port", 'as in "[::1]:9362"')
    if found is None or not 1 <= int(found[3]) <= 65535:
        raise wrong
    try:
        host = IPv6Address(found[1]) if found[1] else IPv4Address(found[2])
    except ValueError:
        raise wrong from None
    return str(host), int(found[3])


def _resolve_path(value: Any, info: ValidationInfo) -> Path:
    name = expect_text(value)
    if not name or "\0" in name:
        raise MistakeError(f"{show(name)} is not a file name")
    directory: Path = info.context["directory"] if info.context else Path()
    return directory / name


def _check_socket_length(path: Path) -> Path:
    if len(str(path).encode()) > _LONGEST_SOCKET_PATH:
        message = f"the path of a socket has at most {_LONGEST_SOCKET_PATH} bytes"
        raise MistakeError(message, f"write {show(str(DEFAULT_CONTROL_SOCKET))}")
    return path


def _parse_home_agent(value: Any) -> IPv6Address | None:
    return None if value == DISCOVER else parse_address(value)


def _refuse_whole_internet(prefix: IPv6Network) -> IPv6Network:
    if prefix.prefixlen == 0:
        raise MistakeError(f"{prefix} is the whole Internet, not a network")
    return prefix


def refuse_many(networks: list[IPv4Network]) -> list[IPv4Network]:
    """Raise `MistakeError` if ``networks`` are more than a Binding Update should name."""
    if len(networks) > _MOST_IPV4_NETWORKS:
        message = f"{len(networks)} networks are more than {_MOST_IPV4_NETWORKS}"
        raise MistakeError(message, "write the prefix that several of them lie in")
    return networks


_Network = Annotated[Prefix, AfterValidator(_refuse_whole_internet)]
Networks = Annotated[
    list[_Network], BeforeValidator(as_list), AfterValidator(refuse_nested_prefixes)
]
NetworksOnBoard = Annotated[
    list[Annotated[_Network, BeforeValidator(point_to_ipv4_prefixes)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_nested_prefixes),
]
#: Relative to the directory of the file that names it.
FilePath = Annotated[Path, PlainValidator(_resolve_path)]
SocketPath = Annotated[FilePath, AfterValidator(_check_socket_length)]
CoainfoType = Annotated[int, AfterValidator(_check_coainfo_type)]
#: The numeric host and the port, None for "off".
ListenAddress = Annotated[tuple[str, int] | None, PlainValidator(_parse_listen)]
#: None where one is to be found.
HomeAgentAddress = Annotated[IPv6Address | None, PlainValidator(_parse_home_agent)]
#: Home Agent Preference (RFC 6275 §7.4) has 16 bits and a sign.
Preference = Annotated[int, AfterValidator(within(-0x8000, 0x7FFF))]
Lifetime = Annotated[int, AfterValidator(within(8, LONGEST_LIFETIME, "seconds"))]
