"""IPv4 networks in configuration files."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from mrouter.toml_model import as_list, parse_ipv4_prefix, refuse_nested_prefixes
from mrouter.toml_source import MistakeError

#: What no network on board can have: this network, loopback, link-local, multicast and beyond.
_UNUSABLE = tuple(
    map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"))
)


def parse_ipv4_network(value: Any) -> IPv4Network:
    """Read the IPv4 prefix of a network, or an address for the /32, or raise `MistakeError`."""
    network = parse_ipv4_prefix(value)
    for unusable in _UNUSABLE:
        if network.overlaps(unusable):
            message = f"{network} has addresses of {unusable}, which no network can use"
            raise MistakeError(message)
    return network


def point_to_ipv4_prefixes(value: Any) -> Any:
    """Pass ``value`` on, but raise `MistakeError` where it is an IPv4 prefix."""
    try:
        network = parse_ipv4_network(value)
    except MistakeError:
        return value
    raise MistakeError(f"{network} is IPv4", "write it under ipv4-prefixes")


IPv4Networks = Annotated[
    list[Annotated[IPv4Network, PlainValidator(parse_ipv4_network)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_nested_prefixes),
]
