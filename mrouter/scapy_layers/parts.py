"""What several of the layers are made of."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet6 import _MIP6OptAlign, bastatus

from mrouter.wire.constants import DEFAULT_COAINFO_TYPE

OPTION_TYPES = {
    29: "IPv4 Home Address (RFC5555)",
    30: "IPv4 Address Acknowledgement (RFC5555)",
    35: "Binding Identifier (RFC5648)",
    44: "Flow Summary (RFC6089)",
    45: "Flow Identification (RFC6089)",
    DEFAULT_COAINFO_TYPE: "CoAINFO",
}
BA_STATUS = bastatus | {
    4: "MCOA NOTCOMPLETE",
    5: "MCOA RETURNHOME WO/NDP",
    164: "MCOA MALFORMED",
    165: "MCOA NON-MCOA BINDING EXISTS",
    166: "MCOA PROHIBITED",
    167: "MCOA UNKNOWN COA",
    168: "MCOA BULK REGISTRATION PROHIBITED",
    169: "MCOA SIMULTANEOUS HOME AND FOREIGN PROHIBITED",
    174: "Invalid Care-of Address",
}
BA_STATUS_DRAFT_01 = bastatus | {1: "Successful registration of NP-CoA"}


def replace_fields(fields: list[Any], *replacements: Any) -> list[Any]:
    """Return ``fields`` of a layer with those of the same name replaced."""
    by_name = {field.name: field for field in replacements}
    return [by_name.get(field.name, field) for field in fields]


class Measured(_MIP6OptAlign):
    """An option, or a sub-option, whose length is computed where it is not given."""

    x = y = 0

    def post_build(self, p: bytes, pay: bytes) -> bytes:
        """Fill in the length."""
        if self.olen is None:
            p = p[:1] + bytes((len(p) - 2,)) + p[2:]
        return p + pay
