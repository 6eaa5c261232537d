"""What the kernel tells of Wi-Fi by nl80211: signal and name of the access point in use."""

from __future__ import annotations

import struct
from contextlib import closing
from dataclasses import dataclass
from enum import IntEnum
from errno import EOPNOTSUPP
from typing import TYPE_CHECKING

from mrouter.links.radio import RadioFacts, rate_signal
from mrouter.netlink import HEADER, RawMessage, RouteSocket, make_attribute, read_attributes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_NETLINK_GENERIC = 16
#: struct genlmsghdr: command, version, reserved.
_GENERIC = struct.Struct("=BBH")
_OFFSET = HEADER.size + _GENERIC.size
_U32, _U16 = struct.Struct("=I"), struct.Struct("=H")
_S8 = struct.Struct("=b")
_FAMILY = "nl80211"


class Controller(IntEnum):
    """The controller of generic netlink families (linux/genetlink.h)."""

    FAMILY = 0x10
    GET_FAMILY = 3
    FAMILY_ID = 1
    FAMILY_NAME = 2


class Command(IntEnum):
    """Commands (linux/nl80211.h)."""

    GET_INTERFACE = 5
    GET_STATION = 17


class Attribute(IntEnum):
    """Attributes of answers (linux/nl80211.h)."""

    IFINDEX = 3
    IFNAME = 4
    IFTYPE = 5
    STA_INFO = 21
    SSID = 52


class StationInfo(IntEnum):
    """Attributes in STA_INFO."""

    SIGNAL = 7
    TX_BITRATE = 8
    SIGNAL_AVG = 13


class RateInfo(IntEnum):
    """Attributes in TX_BITRATE; rates are in 100 kbit/s."""

    BITRATE = 1
    MCS = 2
    BITRATE32 = 5
    VHT_MCS = 6
    HE_MCS = 13
    EHT_MCS = 19


#: The mode of an interface that uses an access point, NL80211_IFTYPE_STATION.
_STATION_MODE = 2
#: The standard by which a rate is coded, the newest first.
_STANDARDS = (
    (RateInfo.EHT_MCS, "802.11be"),
    (RateInfo.HE_MCS, "802.11ax"),
    (RateInfo.VHT_MCS, "802.11ac"),
    (RateInfo.MCS, "802.11n"),
)
_OLD_STANDARD = "802.11"
_RATE_UNIT = 100_000
#: The type of an attribute is in these bits; the others say how its value is coded.
_TYPE_MASK = 0x3FFF


@dataclass(frozen=True, slots=True)
class WifiInterface:
    """An interface that uses access points; ``ssid`` is that of the one in use."""

    index: int
    name: str
    ssid: str


def read_stations(interfaces: Collection[str]) -> dict[str, RadioFacts]:
    """Return what is known of each of ``interfaces`` that has an access point now.

    Takes as long as the drivers do. Raises ``OSError`` where the kernel has no nl80211.
    """
    found = {}
    with closing(RouteSocket(_NETLINK_GENERIC)) as generic:
        family = _find_family(generic)
        for interface in _list_interfaces(generic, family):
            if interface.name in interfaces:
                asked = make_attribute(Attribute.IFINDEX, _U32.pack(interface.index))
                messages = _dump(generic, family, Command.GET_STATION, asked)
                facts = next((parse_station(each, interface.ssid) for each in messages), None)
                if facts is not None:
                    found[interface.name] = facts
    return found


def _find_family(generic: RouteSocket) -> int:
    for message in _dump(generic, Controller.FAMILY, Controller.GET_FAMILY):
        attributes = _read(message[_OFFSET:])
        if attributes[Controller.FAMILY_NAME].rstrip(b"\0") == _FAMILY.encode():
            return int(_U16.unpack(attributes[Controller.FAMILY_ID])[0])
    raise OSError(EOPNOTSUPP, "the kernel has no nl80211")


def _list_interfaces(generic: RouteSocket, family: int) -> Iterator[WifiInterface]:
    for message in _dump(generic, family, Command.GET_INTERFACE):
        interface = parse_interface(message)
        if interface is not None:
            yield interface


def _dump(generic: RouteSocket, family: int, command: int, attributes: bytes = b"") -> list[bytes]:
    return generic.dump_raw(
        RawMessage(family, 0, _GENERIC.pack(command, 0, 0) + attributes), family
    )


def parse_interface(message: bytes) -> WifiInterface | None:
    """Return the interface of a whole ``message``; None if it uses no access points."""
    attributes = _read(message[_OFFSET:])
    mode = attributes.get(Attribute.IFTYPE)
    if mode is None or Attribute.IFNAME not in attributes or _U32.unpack(mode)[0] != _STATION_MODE:
        return None
    return WifiInterface(
        index=_U32.unpack(attributes[Attribute.IFINDEX])[0],
        name=attributes[Attribute.IFNAME].rstrip(b"\0").decode(errors="surrogateescape"),
        ssid=attributes.get(Attribute.SSID, b"").decode(errors="replace"),
    )


def parse_station(message: bytes, ssid: str) -> RadioFacts:
    """Return what a whole ``message`` tells of the access point in use, whose name is ``ssid``."""
    info = _read(_read(message[_OFFSET:]).get(Attribute.STA_INFO, b""))
    rate = _read(info.get(StationInfo.TX_BITRATE, b""))
    signal = info.get(StationInfo.SIGNAL_AVG, info.get(StationInfo.SIGNAL))
    dbm = None if signal is None else _S8.unpack(signal)[0]
    return RadioFacts(
        signal_percent=None if dbm is None else rate_signal(dbm),
        signal_dbm=dbm,
        technology=next((name for kind, name in _STANDARDS if kind in rate), _OLD_STANDARD),
        ssid=ssid,
        bit_rate=_read_rate(rate),
    )


def _read_rate(rate: dict[int, bytes]) -> int | None:
    if RateInfo.BITRATE32 in rate:
        return int(_U32.unpack(rate[RateInfo.BITRATE32])[0]) * _RATE_UNIT
    if RateInfo.BITRATE in rate:
        return int(_U16.unpack(rate[RateInfo.BITRATE])[0]) * _RATE_UNIT
    return None


def _read(data: bytes) -> dict[int, bytes]:
    return {kind & _TYPE_MASK: value for kind, value in read_attributes(data).items()}
