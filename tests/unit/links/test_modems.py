"""What ModemManager's objects say."""

from __future__ import annotations

import sys

import pytest

from mrouter.links.modems import read_modems
from mrouter.links.radio import RadioFacts

PATH = "/org/freedesktop/ModemManager1/Modem/0"
MODEM = "org.freedesktop.ModemManager1.Modem"
UNKNOWN = ("d", -sys.float_info.max)


def make_objects(modem=None, network=None, signal=None):
    general = {
        "State": ("i", 11),
        "SignalQuality": ("(ub)", (63, True)),
        "AccessTechnologies": ("u", 1 << 14),
        "Ports": ("a(su)", [("cdc-wdm0", 6), ("wwan0", 2), ("ttyUSB0", 3)]),
        "Bearers": ("ao", ["/org/freedesktop/ModemManager1/Bearer/7"]),
    }
    registered = {
        "OperatorName": ("s", "Example Mobile"),
        "OperatorCode": ("s", "00101"),
        "RegistrationState": ("u", 5),
    }
    interfaces = {MODEM: {**general, **(modem or {})}}
    interfaces[f"{MODEM}.Modem3gpp"] = {**registered, **(network or {})}
    if signal is not None:
        interfaces[f"{MODEM}.Signal"] = signal
    return {PATH: interfaces}


def read(**changes):
    return read_modems(make_objects(**changes))[PATH]


def test_a_modem_has_its_network_interfaces_its_bearers_and_its_facts():
    modem = read(signal={"Rate": ("u", 0), "Lte": ("a{sv}", {"rsrp": ("d", -95.0)})})
    assert modem.interfaces == {"wwan0"}
    assert modem.bearers == ("/org/freedesktop/ModemManager1/Bearer/7",)
    assert modem.asks_for_signal
    assert modem.facts == RadioFacts(
        signal_percent=63,
        signal_dbm=-95.0,
        technology="lte",
        operator="Example Mobile",
        operator_code="00101",
        registration="roaming",
    )


@pytest.mark.parametrize(
    ("signal", "dbm"),
    [
        (None, None),
        ({}, None),
        ({"Lte": ("a{sv}", {})}, None),
        ({"Lte": ("a{sv}", {"rsrp": UNKNOWN}), "Gsm": ("a{sv}", {"rssi": ("d", -71.5)})}, -71.5),
        ({"Nr5g": ("a{sv}", {"rsrp": ("d", -88.0)}), "Lte": ("a{sv}", {})}, -88.0),
        ({"Umts": ("a{sv}", {"rscp": UNKNOWN, "rssi": ("d", -80.0)})}, -80.0),
        ({"Lte": ("a{sv}", {"rsrp": ("d", float("nan"))})}, None),
    ],
)
def test_power_is_that_of_the_newest_technology_that_knows_it(signal, dbm):
    assert read(signal=signal).facts.signal_dbm == dbm


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0, ""),
        (1 << 14 | 1 << 15, "nr-5g lte"),
        (1 << 5, "umts"),
        (1 << 9, "hspa-plus"),
        (1 << 30, ""),
    ],
)
def test_technologies_have_names(bits, names):
    assert read(modem={"AccessTechnologies": ("u", bits)}).facts.technology == names


@pytest.mark.parametrize("state", [-1, 0, 3, 5])
def test_of_a_radio_that_is_off_nothing_is_known(state):
    assert read(modem={"State": ("i", state)}).facts == RadioFacts()


def test_a_state_that_is_new_to_us_is_unknown():
    assert read(network={"RegistrationState": ("u", 99)}).facts.registration == "unknown"


def test_a_modem_that_measures_already_asks_for_nothing():
    assert not read(signal={"Rate": ("u", 30)}).asks_for_signal
    assert not read().asks_for_signal


def test_objects_that_are_no_modems_are_passed_over():
    assert read_modems({"/org/freedesktop/ModemManager1/SIM/0": {"a.b": {}}}) == {}
    assert read_modems({PATH: {MODEM: {}}})[PATH].facts == RadioFacts()


def test_nonsense_is_an_error():
    with pytest.raises((LookupError, TypeError, ValueError)):
        read(modem={"SignalQuality": ("u", 7)})
