"""Flow bindings (RFC 6089) and the traffic selectors in them (RFC 6088)."""

from __future__ import annotations

from typing import Any

from scapy.config import conf
from scapy.fields import (
    ByteEnumField,
    ByteField,
    ConditionalField,
    FieldListField,
    FlagsField,
    IP6Field,
    IPField,
    PacketLenField,
    PacketListField,
    ShortField,
    StrLenField,
    XBitField,
    XIntField,
    XShortField,
)
from scapy.layers.inet6 import Pad1, PadN
from scapy.packet import Packet

from mrouter.scapy_layers.parts import OPTION_TYPES, Measured

_FLOW_STATUS = {
    0: "Flow binding successful",
    128: "Administratively prohibited",
    129: "Flow binding rejected, reason unspecified",
    130: "Flow identification mobility option malformed",
    131: "BID not found",
    132: "FID not found",
    133: "Traffic selector format not supported",
}


def _bound(letter: str, field: Any) -> Any:
    """Return ``field``, which stands in a selector where the flag ``letter`` is set."""
    return ConditionalField(field, lambda pkt: getattr(pkt.flags, letter))


class _Selector(Packet):
    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        return b"", s


class IPv4TrafficSelector(_Selector):
    """Binary traffic selector, format 1 (RFC 6088 §3.1): give ``flags`` for what is there."""

    name = "IPv4 Binary Traffic Selector"
    fields_desc = [  # noqa: RUF012
        FlagsField("flags", 0, 14, "NMLKJIHGFEDCBA"),
        XBitField("reserved", 0, 18),
        _bound("A", IPField("start_source", "0.0.0.0")),  # noqa: S104 - a value, not a socket
        _bound("B", IPField("end_source", "0.0.0.0")),  # noqa: S104
        _bound("C", IPField("start_destination", "0.0.0.0")),  # noqa: S104
        _bound("D", IPField("end_destination", "0.0.0.0")),  # noqa: S104
        _bound("E", XIntField("start_spi", 0)),
        _bound("F", XIntField("end_spi", 0)),
        _bound("G", ShortField("start_source_port", 0)),
        _bound("H", ShortField("end_source_port", 0)),
        _bound("I", ShortField("start_destination_port", 0)),
        _bound("J", ShortField("end_destination_port", 0)),
        _bound("K", ByteField("start_ds", 0)),
        _bound("L", ByteField("end_ds", 0)),
        _bound("M", ByteField("start_protocol", 0)),
        _bound("N", ByteField("end_protocol", 0)),
    ]


class IPv6TrafficSelector(_Selector):
    """Binary traffic selector, format 2 (RFC 6088 §3.2): give ``flags`` for what is there."""

    name = "IPv6 Binary Traffic Selector"
    fields_desc = [  # noqa: RUF012
        FlagsField("flags", 0, 16, "PONMLKJIHGFEDCBA"),
        XShortField("reserved", 0),
        _bound("A", IP6Field("start_source", "::")),
        _bound("B", IP6Field("end_source", "::")),
        _bound("C", IP6Field("start_destination", "::")),
        _bound("D", IP6Field("end_destination", "::")),
        _bound("E", XIntField("start_spi", 0)),
        _bound("F", XIntField("end_spi", 0)),
        _bound("G", XIntField("start_flow_label", 0)),
        _bound("H", XIntField("end_flow_label", 0)),
        _bound("I", ShortField("start_source_port", 0)),
        _bound("J", ShortField("end_source_port", 0)),
        _bound("K", ShortField("start_destination_port", 0)),
        _bound("L", ShortField("end_destination_port", 0)),
        _bound("M", ByteField("start_traffic_class", 0)),
        _bound("N", ByteField("end_traffic_class", 0)),
        _bound("O", ByteField("start_next_header", 0)),
        _bound("P", ByteField("end_next_header", 0)),
    ]


_SELECTORS = {1: IPv4TrafficSelector, 2: IPv6TrafficSelector}


class _SelectorField(PacketLenField):
    """A selector in the format that its sub-option names; other formats stay as octets."""

    def m2i(self, pkt: Any, m: bytes) -> Any:
        return _SELECTORS.get(pkt.tsformat, conf.raw_layer)(m)


class MIP6FlowBindingReference(Measured):
    """Binding Reference sub-option (RFC 6089 §4.2.1.3): over which bindings the flow goes."""

    name = "Flow Identification Sub-option - Binding Reference"
    fields_desc = [  # noqa: RUF012
        ByteField("otype", 2),
        ByteField("olen", None),
        FieldListField("bids", [], ShortField("bid", 0), length_from=lambda pkt: pkt.olen),
    ]


class MIP6FlowTrafficSelector(Measured):
    """Traffic Selector sub-option (RFC 6089 §4.2.1.4): which packets the flow consists of."""

    name = "Flow Identification Sub-option - Traffic Selector"
    fields_desc = [  # noqa: RUF012
        ByteField("otype", 3),
        ByteField("olen", None),
        ByteEnumField("tsformat", 2, {1: "IPv4 binary", 2: "IPv6 binary"}),
        ByteField("reserved", 0),
        _SelectorField("selector", None, None, length_from=lambda pkt: pkt.olen - 2),
    ]


class MIP6FlowSubOptUnknown(Measured):
    """A sub-option of Flow Identification without a layer of its own."""

    name = "Flow Identification Sub-option - unknown"
    fields_desc = [  # noqa: RUF012
        ByteField("otype", 255),
        ByteField("olen", None),
        StrLenField("odata", b"", length_from=lambda pkt: pkt.olen),
    ]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *_: Any, **__: Any) -> Any:
        """Choose the layer by the sub-option's type."""
        return _SUB_OPTIONS.get(_pkt[0], cls) if _pkt else cls


_SUB_OPTIONS = {0: Pad1, 1: PadN, 2: MIP6FlowBindingReference, 3: MIP6FlowTrafficSelector}


class MIP6OptFlowIdentification(Measured):
    """Flow Identification (RFC 6089 §4.2); a lower ``fidpri`` goes first.

    A Traffic Selector that is the first of ``suboptions`` stands at 8n, as RFC 6088 §3.2 has it;
    others need padding of their own among the sub-options.
    """

    name = "MIPv6 Option - Flow Identification"
    fields_desc = [  # noqa: RUF012
        ByteEnumField("otype", 45, OPTION_TYPES),
        ByteField("olen", None),
        ShortField("fid", 0),
        ShortField("fidpri", 0),
        ByteField("reserved", 0),
        ByteEnumField("status", 0, _FLOW_STATUS),
        PacketListField(
            "suboptions", [], MIP6FlowSubOptUnknown, length_from=lambda pkt: pkt.olen - 6
        ),
    ]

    def alignment_delta(self, curpos: int) -> int:
        """Return how much padding goes before it: to 8n with a Traffic Selector, else to 2n."""
        wide = any(isinstance(each, MIP6FlowTrafficSelector) for each in self.suboptions)
        return -curpos % (8 if wide else 2)


class MIP6OptFlowSummary(Measured):
    """Flow Summary (RFC 6089 §4.2.2): the flow bindings that are kept as they are."""

    name = "MIPv6 Option - Flow Summary"
    fields_desc = [  # noqa: RUF012
        ByteEnumField("otype", 44, OPTION_TYPES),
        ByteField("olen", None),
        FieldListField("fids", [], ShortField("fid", 0), length_from=lambda pkt: pkt.olen),
    ]
    x, y = 2, 0
