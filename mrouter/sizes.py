"""Sizes in bytes as people write them: "50 GB", "1.5MB", or a whole number."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from mrouter.toml_source import MistakeError, show

_DECIMAL = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
#: A million TB: no link carries it, and every counter holds it.
_LARGEST = 10**18
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]+)")


def parse_size(value: Any) -> int:
    """Read a size in bytes, at least 1, or raise `MistakeError`.

    Text has a unit, and units are decimal, as in an operator's tariff: 1 GB is 1,000,000,000 bytes.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise MistakeError("must be a size", 'as in "50 GB", or a whole number of bytes')
    octets = value if isinstance(value, int) else _parse_text(value)
    if not 1 <= octets <= _LARGEST:
        raise MistakeError(f"must be from 1 byte to 1000000 TB, it is {show(value)}")
    return octets


def _parse_text(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise MistakeError(f"{show(text)} is not a size", 'as in "50 GB" or "1.5 MB"')
    number, unit = Decimal(found[1]), found[2]
    if unit in _BINARY:
        suggestion = f"units are decimal: write {int(number * _BINARY[unit])}, in bytes"
        raise MistakeError(f"{show(text)} has a binary unit", suggestion)
    if unit not in _DECIMAL:
        raise MistakeError(f"{show(text)} has no known unit", "known: B, kB, MB, GB, TB")
    octets = number * _DECIMAL[unit]
    if octets != int(octets):
        raise MistakeError(f"{show(text)} is no whole number of bytes")
    return int(octets)


Size = Annotated[
    int,
    PlainValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": _LARGEST},
                {"type": "string", "pattern": "^[0-9]{1,18}(\\.[0-9]{1,9})? ?(B|[kKMGT]B)$"},
            ]
        }
    ),
]
