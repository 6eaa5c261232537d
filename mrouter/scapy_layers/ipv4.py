"""IPv4 addresses and networks of a mobile node or router (RFC 5555)."""

from __future__ import annotations

from scapy.fields import BitField, ByteEnumField, ByteField, IPField
from scapy.layers.inet6 import _MIP6OptAlign

from mrouter.scapy_layers.parts import OPTION_TYPES

_IPV4_STATUS = {
    0: "Success",
    128: "Failure, reason unspecified",
    129: "Administratively prohibited",
    130: "Incorrect IPv4 home address",
    131: "Invalid IPv4 address",
    132: "Dynamic IPv4 home address assignment not available",
    133: "Prefix allocation unauthorized",
}


class MIP6OptIPv4HomeAddress(_MIP6OptAlign):
    """IPv4 Home Address (RFC 5555 §3.1.1); ``P`` asks for a mobile network's prefix."""

    name = "MIPv6 Option - IPv4 Home Address"
    fields_desc = [  # noqa: RUF012 - scapy's way
        ByteEnumField("otype", 29, OPTION_TYPES),
        ByteField("olen", 6),
        BitField("plen", 32, 6),
        BitField("P", 0, 1),
        BitField("reserved", 0, 9),
        IPField("address", "0.0.0.0"),  # noqa: S104 - a value, not a socket
    ]
    x, y = 4, 0


class MIP6OptIPv4AddressAck(_MIP6OptAlign):
    """IPv4 Address Acknowledgement (RFC 5555 §3.2.1)."""

    name = "MIPv6 Option - IPv4 Address Acknowledgement"
    fields_desc = [  # noqa: RUF012
        ByteEnumField("otype", 30, OPTION_TYPES),
        ByteField("olen", 6),
        ByteEnumField("status", 0, _IPV4_STATUS),
        BitField("plen", 0, 6),
        BitField("reserved", 0, 2),
        IPField("address", "0.0.0.0"),  # noqa: S104
    ]
    x, y = 4, 0
