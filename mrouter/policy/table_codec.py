"""A table of policies as JSON can carry it, so that a running agent can hand out its own."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from mrouter.policy import model
from mrouter.policy.model import Choice, PolicyTable, PrefixSet, pack_prefix, unpack_prefix

_KIND = "kind"
_NETWORK = "network"
#: A set may be large: it travels packed.
_SET = "set"
#: How one of several links is chosen.
_CHOICE = "choice"
_CLASSES = {
    name: value
    for name, value in vars(model).items()
    if isinstance(value, type) and is_dataclass(value)
}


def encode_table(table: PolicyTable) -> Any:
    """Return ``table`` as lists, dictionaries, text and numbers."""
    return _encode(table)


def decode_table(content: Any) -> PolicyTable:
    """Return the table that `encode_table` made ``content`` of, by the same version of mrouter.

    :raises ValueError: if it is of another one.
    """
    try:
        table = _decode(content)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a table of policies: {error}") from error
    if not isinstance(table, PolicyTable):
        raise ValueError("not a table of policies")
    return table


def _encode(value: Any) -> Any:
    if isinstance(value, IPv4Network | IPv6Network):
        return {_NETWORK: pack_prefix(value)}
    if isinstance(value, PrefixSet):
        return {_SET: [value.name, value.digest, *value.packed]}
    if isinstance(value, Choice):
        return {_CHOICE: value.value}
    if isinstance(value, tuple):
        return [_encode(each) for each in value]
    if is_dataclass(value):
        content = {each.name: _encode(getattr(value, each.name)) for each in fields(value)}
        return {_KIND: type(value).__name__, **content}
    return value


def _decode(content: Any) -> Any:
    if isinstance(content, list):
        return tuple(_decode(each) for each in content)
    if not isinstance(content, dict):
        return content
    if _NETWORK in content:
        return unpack_prefix(content[_NETWORK])
    if content.keys() == {_CHOICE}:
        return Choice(content[_CHOICE])
    if _SET in content:
        name, digest, *packed = content[_SET]
        return PrefixSet(name, tuple(packed), digest)
    arguments = {name: _decode(each) for name, each in content.items() if name != _KIND}
    return _CLASSES[content[_KIND]](**arguments)
