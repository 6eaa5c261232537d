"""What nl80211 says, with pyroute2's messages as the oracle."""

from __future__ import annotations

import pytest
from pyroute2.netlink import genlmsg
from pyroute2.netlink.nl80211 import NL80211_NAMES, nl80211cmd

from mrouter.links import wifi
from mrouter.links.radio import RadioFacts
from mrouter.links.wifi import parse_interface, parse_station, read_stations

FAMILY = 28
STATION, ACCESS_POINT = 2, 3


def encode(command, *attributes):
    message = nl80211cmd()
    message["cmd"] = NL80211_NAMES[command]
    message["attrs"] = list(attributes)
    message.encode()
    return bytes(message.data)


def make_interface(name="wlan0", index=7, mode=STATION, ssid="depot"):
    attributes = [
        ("NL80211_ATTR_IFINDEX", index),
        ("NL80211_ATTR_IFNAME", name),
        ("NL80211_ATTR_IFTYPE", mode),
    ]
    if ssid is not None:
        attributes.append(("NL80211_ATTR_SSID", ssid))
    return encode("NL80211_CMD_GET_INTERFACE", *attributes)


def make_station(*info):
    attributes = [("NL80211_ATTR_IFINDEX", 7), ("NL80211_ATTR_STA_INFO", {"attrs": list(info)})]
    return encode("NL80211_CMD_GET_STATION", *attributes)


def make_rate(*rate):
    return ("NL80211_STA_INFO_TX_BITRATE", {"attrs": list(rate)})


def test_an_interface_that_uses_access_points_has_a_name_and_theirs():
    found = parse_interface(make_interface())
    assert (found.name, found.index, found.ssid) == ("wlan0", 7, "depot")
    assert parse_interface(make_interface(ssid=None)).ssid == ""


def test_an_interface_that_is_an_access_point_is_no_radio_of_a_link():
    assert parse_interface(make_interface(mode=ACCESS_POINT)) is None


def test_a_station_has_signal_standard_and_rate():
    rate = make_rate(("NL80211_RATE_INFO_BITRATE32", 8667), ("NL80211_RATE_INFO_VHT_MCS", 9))
    message = make_station(
        ("NL80211_STA_INFO_SIGNAL", -40), ("NL80211_STA_INFO_SIGNAL_AVG", -63), rate
    )
    assert parse_station(message, "depot") == RadioFacts(
        signal_percent=74,
        signal_dbm=-63,
        technology="802.11ac",
        ssid="depot",
        bit_rate=866_700_000,
    )


@pytest.mark.parametrize(
    ("attribute", "standard"),
    [
        ("NL80211_RATE_INFO_MCS", "802.11n"),
        ("NL80211_RATE_INFO_HE_MCS", "802.11ax"),
        ("NL80211_RATE_INFO_EHT_MCS", "802.11be"),
        ("NL80211_RATE_INFO_10_MHZ_WIDTH", "802.11"),
    ],
)
def test_the_standard_is_that_of_the_rate(attribute, standard):
    value = True if attribute.endswith("WIDTH") else 3
    rate = make_rate(("NL80211_RATE_INFO_BITRATE", 540), (attribute, value))
    facts = parse_station(make_station(rate), "depot")
    assert (facts.technology, facts.bit_rate) == (standard, 54_000_000)


def test_a_station_without_a_signal_has_none():
    facts = parse_station(make_station(), "depot")
    assert (facts.signal_percent, facts.signal_dbm, facts.bit_rate) == (None, None, None)


class FakeSocket:
    """Answers as the kernel does: with ``messages`` by family and command."""

    def __init__(self, messages):
        self.messages = messages

    def dump_raw(self, message, kind):
        message.encode()
        return self.messages.get((kind, message.data[16]), [])

    def close(self):
        pass


def make_family(name, number):
    class Family(genlmsg):
        nla_map = (("UNSPEC", "none"), ("ID", "uint16"), ("NAME", "asciiz"))

    message = Family()
    message["attrs"] = [("ID", number), ("NAME", name)]
    message.encode()
    return bytes(message.data)


@pytest.fixture
def kernel(monkeypatch):
    families = [make_family("nlctrl", 16), make_family("nl80211", FAMILY)]
    messages = {(16, 3): families, (FAMILY, 5): [make_interface(), make_interface("wlan1", 8)]}
    monkeypatch.setattr(wifi, "RouteSocket", lambda _protocol: FakeSocket(messages))
    return messages


def test_only_the_interfaces_of_links_are_asked_for(kernel):
    kernel[FAMILY, 17] = [make_station(("NL80211_STA_INFO_SIGNAL", -50))]
    found = read_stations(["wlan0", "wlan7"])
    assert list(found) == ["wlan0"]
    assert found["wlan0"].signal_percent == 100


def test_without_an_access_point_nothing_is_known(kernel):
    assert read_stations(["wlan0"]) == {}


def test_a_kernel_without_wifi_is_an_error(kernel):
    kernel[16, 3].pop()
    with pytest.raises(OSError, match="the kernel has no nl80211"):
        read_stations(["wlan0"])
