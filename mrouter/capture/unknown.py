"""Names for mobility options that the daemons skip: what scapy and our layers know of them."""

from __future__ import annotations

from typing import Any

from scapy.config import conf
from scapy.layers.inet6 import MIP6OptUnknown

from mrouter import scapy_layers  # noqa: F401 - registers the layers

_NAME_PREFIXES = ("MIPv6 Option - ", "MIPv6 option - ", "Mobile IPv6 Option - ", "NEMO Option - ")
_LENGTH_FIELDS = ("otype", "olen", "reserved", "pad")


def name_option(kind: int, data: bytes) -> str | None:
    """Return the option's name and fields, or None if there is no layer for it."""
    try:
        layer: Any = MIP6OptUnknown(bytes((kind, len(data))) + data)
    except Exception:
        return None  # scapy's fields raise whatever comes of octets that are not there
    if isinstance(layer, MIP6OptUnknown | conf.raw_layer):
        return None
    name = str(layer.name)
    for prefix in _NAME_PREFIXES:
        name = name.removeprefix(prefix)
    return f"{name} {_word_fields(layer)}".rstrip()


def _word_fields(layer: Any) -> str:
    words = []
    for field in layer.fields_desc:
        value = getattr(layer, field.name)  # None for a condition that does not hold
        if field.name in _LENGTH_FIELDS or value in (None, b""):
            continue
        words.append(f"{field.name} {field.i2repr(layer, value)}")
    return " ".join(words)
