"""Subclasses that repair scapy's own layers, and the draft's two messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from scapy.fields import ByteEnumField, FlagsField, LongField, StrLenField, XBitField
from scapy.layers import inet6
from scapy.layers.inet6 import LifetimeField

from mrouter.scapy_layers.parts import BA_STATUS, BA_STATUS_DRAFT_01, replace_fields

#: Seconds from NTP's epoch (1900) to the Unix epoch (1970).
_NTP_TO_UNIX = 2_208_988_800


class MIP6OptNonceIndices(inet6.MIP6OptNonceIndices):
    """Nonce Indices with the length 4 (RFC 6275 §6.2.6)."""

    olen = 4


class MIP6OptBindingAuthData(inet6.MIP6OptBindingAuthData):
    """Binding Authorization Data with the length 12 (RFC 6275 §6.2.7)."""

    olen = 12


class _NtpTimestampField(LongField):
    def i2repr(self, pkt: Any, x: int) -> str:
        # A timestamp whose first bit is 0 is of the era that begins in 2036 (RFC 4330 §3).
        seconds = (x if x >> 63 else x + 2**64) / 2**32 - _NTP_TO_UNIX
        return f"{datetime.fromtimestamp(seconds, UTC).isoformat()} ({x})"


class MIP6OptReplayProtection(inet6.MIP6OptReplayProtection):
    """Replay Protection that shows its timestamp right (RFC 4285 §6)."""

    fields_desc = replace_fields(
        inet6.MIP6OptReplayProtection.fields_desc, _NtpTimestampField("timestamp", 0)
    )


class MIP6MH_Generic(inet6.MIP6MH_Generic):  # noqa: N801 - scapy's name
    """A message of an unknown type, whole."""

    fields_desc = replace_fields(
        inet6.MIP6MH_Generic.fields_desc,
        StrLenField("msg", b"\0\0", length_from=lambda pkt: 8 * pkt.len + 2),
    )


class MIP6MH_BU(inet6.MIP6MH_BU):  # noqa: N801
    """Binding Update with every flag that RFC 5648 §4.2 draws."""

    fields_desc = replace_fields(
        inet6.MIP6MH_BU.fields_desc,
        FlagsField("flags", "HA", 10, "OTFPRMKLHA"),
        XBitField("reserved", 0, 6),
    )


class MIP6MH_BU_Draft01(inet6.MIP6MH_BU):  # noqa: N801
    """Binding Update with the flags A H L K R M (draft §5.3.2)."""

    fields_desc = replace_fields(
        inet6.MIP6MH_BU.fields_desc,
        FlagsField("flags", "HA", 6, "MRKLHA"),
        XBitField("reserved", 0, 10),
    )


class MIP6MH_BA(inet6.MIP6MH_BA):  # noqa: N801
    """Binding Acknowledgement with RFC 5648's statuses; ``answers`` a Binding Update with A."""

    fields_desc = replace_fields(
        inet6.MIP6MH_BA.fields_desc,
        ByteEnumField("status", 0, BA_STATUS),
        FlagsField("flags", 0, 3, "PRK"),
        XBitField("res2", 0, 5),
        LifetimeField("mhtime", 0),
    )

    def answers(self, other: Any) -> bool:
        """Say whether this answers ``other``, as ``sr1`` asks."""
        return bool(isinstance(other, inet6.MIP6MH_BU) and other.flags.A and self.seq == other.seq)


class MIP6MH_BA_Draft01(MIP6MH_BA):  # noqa: N801
    """Binding Acknowledgement whose status 1 is the draft's (§5.3.3)."""

    fields_desc = replace_fields(
        MIP6MH_BA.fields_desc, ByteEnumField("status", 0, BA_STATUS_DRAFT_01)
    )
