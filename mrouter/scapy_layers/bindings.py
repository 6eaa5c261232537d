"""Options that name a binding."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from scapy.fields import BitField, ByteEnumField, ByteField, ShortField, StrLenField, XShortField
from scapy.layers.inet6 import _MIP6OptAlign

from mrouter.scapy_layers.parts import BA_STATUS, OPTION_TYPES, Measured
from mrouter.wire.constants import DEFAULT_COAINFO_TYPE


class MIP6OptCoAInfo(_MIP6OptAlign):
    """CoAINFO (draft §5.3.1): Length 2, yet four octets stand behind it.

    The 16 reserved bits lie past the option's end; whoever skips by Length reads two Pad1.
    """

    name = "MIPv6 Option - CoAINFO (draft-wakikawa-mobileip-multiplecoa-01)"
    fields_desc = [  # noqa: RUF012 - scapy's way
        ByteEnumField("otype", DEFAULT_COAINFO_TYPE, OPTION_TYPES),
        ByteField("olen", 2),
        ByteField("ifid", 0),
        ByteField("ifpri", 0),
        XShortField("reserved", 0),
    ]
    x = y = 0


class _CareOfAddressField(StrLenField):
    """No address, an IPv4 address or an IPv6 address, by how many octets there are."""

    def any2i(self, pkt: Any, x: Any) -> Any:
        return x

    def i2m(self, pkt: Any, x: Any) -> bytes:
        if isinstance(x, bytes):
            return x
        return ip_address(x).packed if x else b""

    def m2i(self, pkt: Any, x: bytes) -> str | bytes:
        if len(x) in (4, 16):
            return str(ip_address(x))
        return x

    def i2len(self, pkt: Any, x: Any) -> int:
        return len(self.i2m(pkt, x))

    def i2repr(self, pkt: Any, x: Any) -> str:
        return repr(x)


class MIP6OptBindingIdentifier(Measured):
    """Binding Identifier (RFC 5648 §4.3); ``coa`` is empty or the text of an address.

    ``home_and_foreign`` is the H flag and ``bidpri`` is RFC 6089's priority, 1 the best.
    """

    name = "MIPv6 Option - Binding Identifier"
    fields_desc = [  # noqa: RUF012
        ByteEnumField("otype", 35, OPTION_TYPES),
        ByteField("olen", None),
        ShortField("bid", 0),
        ByteEnumField("status", 0, BA_STATUS),
        BitField("home_and_foreign", 0, 1),
        BitField("bidpri", 1, 7),
        _CareOfAddressField("coa", b"", length_from=lambda pkt: pkt.olen - 4),
    ]

    def alignment_delta(self, curpos: int) -> int:
        """Return how much padding goes before it: to 8n+2 with a care-of address, else to 2n."""
        return (2 - curpos) % 8 if self.coa else -curpos % 2
