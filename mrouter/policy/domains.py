"""Domain names in policies: how they are written, and which names they stand for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mrouter.toml_source import MistakeError, show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.policy.model import Match, PolicyTable

_ANY_BELOW = "*."
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_MOST_CHARACTERS = 253
_EXAMPLE = 'as in "example.com" or "*.example.com"'


def parse_domain(value: Any) -> str:
    """Read a domain name, or a ``*.`` before one, or raise `MistakeError`; returns lower case."""
    if not isinstance(value, str):
        raise MistakeError("must be a domain name in quotes", _EXAMPLE)
    wildcard = _ANY_BELOW if value.startswith(_ANY_BELOW) else ""
    return wildcard + parse_domain_name(value.removeprefix(wildcard))


def parse_domain_name(value: Any) -> str:
    """Read the name of one host, or raise `MistakeError`; returns it in lower case."""
    if not isinstance(value, str):
        raise MistakeError("must be a domain name in quotes", 'as in "www.example.com"')
    name = value.lower().removesuffix(".")
    if not name.isascii():
        raise MistakeError(f"{show(value)} is not ASCII", _write_ascii(name))
    if "://" in name or "/" in name:
        raise MistakeError(f"{show(value)} is an address of a page", "write its domain name alone")
    labels = name.split(".")
    if len(name) > _MOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise MistakeError(f"{show(value)} is not a domain name", _EXAMPLE)
    if all(label.isdigit() for label in labels):
        raise MistakeError(f"{show(value)} is no name", "write destination for an address")
    return name


def _write_ascii(name: str) -> str:
    try:
        return f'write "{name.encode("idna").decode("ascii")}"'
    except UnicodeError:
        return _EXAMPLE


def matches_domain(domain: str, name: str) -> bool:
    """Say whether ``domain`` stands for ``name``, both in lower case.

    ``*.example.com`` stands for all names below example.com, however deep, not for itself.
    """
    if domain.startswith(_ANY_BELOW):
        return name.endswith(domain[1:])
    return name == domain


def list_domains(match: Match) -> tuple[tuple[str, ...], ...]:
    """Return the lists of domains that ``match`` and its negation ask for."""
    asked = (match.destination_domains,) if match.destination_domains else ()
    none_of = match.none_of
    if none_of is not None and none_of.destination_domains:
        return (*asked, none_of.destination_domains)
    return asked


def find_domain_lists(table: PolicyTable) -> tuple[tuple[str, ...], ...]:
    """Return each list of domains that a policy asks for, once."""
    every: Iterable[tuple[str, ...]] = (
        domains for policy in table.policies for domains in list_domains(policy.match)
    )
    return tuple(dict.fromkeys(every))
