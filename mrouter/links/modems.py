"""What ModemManager tells of its modems by D-Bus, read; pure.

Names and numbers are those of its API (org.freedesktop.ModemManager1, ModemManager-enums.h).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, TypeAlias

from mrouter.links.radio import RadioFacts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVICE = "org.freedesktop.ModemManager1"
MODEM = f"{SERVICE}.Modem"
MODEM_3GPP = f"{MODEM}.Modem3gpp"
SIGNAL = f"{MODEM}.Signal"
BEARER = f"{SERVICE}.Bearer"

#: A D-Bus variant: its signature and its value.
Variant: TypeAlias = tuple[str, Any]
Properties: TypeAlias = "Mapping[str, Variant]"
#: What GetManagedObjects returns: properties by interface by path.
ManagedObjects: TypeAlias = "Mapping[str, Mapping[str, Properties]]"


class PortType(IntEnum):
    """MMModemPortType, as far as it matters here."""

    NET = 2


class ModemState(IntEnum):
    """MMModemState, as far as it matters here: below ENABLED the radio is off."""

    ENABLED = 6


class RegistrationState(IntEnum):
    """MMModem3gppRegistrationState."""

    IDLE = 0
    HOME = 1
    SEARCHING = 2
    DENIED = 3
    UNKNOWN = 4
    ROAMING = 5


class AccessTechnology(IntFlag):
    """MMModemAccessTechnology."""

    GSM = 1 << 1
    GSM_COMPACT = 1 << 2
    GPRS = 1 << 3
    EDGE = 1 << 4
    UMTS = 1 << 5
    HSDPA = 1 << 6
    HSUPA = 1 << 7
    HSPA = 1 << 8
    HSPA_PLUS = 1 << 9
    CDMA_1XRTT = 1 << 10
    EVDO_0 = 1 << 11
    EVDO_A = 1 << 12
    EVDO_B = 1 << 13
    LTE = 1 << 14
    NR_5G = 1 << 15
    LTE_CAT_M = 1 << 16
    LTE_NB_IOT = 1 << 17


#: Where a signal's power is told, the newest technology first: property of Signal, and its key.
_POWERS = (
    ("Nr5g", "rsrp"),
    ("Lte", "rsrp"),
    ("Umts", "rscp"),
    ("Umts", "rssi"),
    ("Gsm", "rssi"),
    ("Evdo", "rssi"),
    ("Cdma", "rssi"),
)
#: Powers in dBm that can be: what is not known is told as the lowest of all numbers.
_LOWEST_DBM, _HIGHEST_DBM = -200.0, 0.0


@dataclass(frozen=True, slots=True)
class Modem:
    """A modem: its network interfaces, those of its ``bearers`` (paths) aside, and its radio.

    ``asks_for_signal``: it would measure its signal's power if it were told how often.
    """

    interfaces: frozenset[str]
    bearers: tuple[str, ...]
    facts: RadioFacts
    asks_for_signal: bool


def read_modems(objects: ManagedObjects) -> dict[str, Modem]:
    """Return the modems of ``objects`` by path.

    Raises ``LookupError``, ``TypeError`` or ``ValueError`` if they are not as the API has them.
    """
    return {path: _read_modem(each) for path, each in objects.items() if MODEM in each}


def _read_modem(interfaces: Mapping[str, Properties]) -> Modem:
    modem, signal = interfaces[MODEM], interfaces.get(SIGNAL)
    ports = _get(modem, "Ports", [])
    return Modem(
        interfaces=frozenset(name for name, kind in ports if kind == PortType.NET),
        bearers=tuple(_get(modem, "Bearers", [])),
        facts=_read_facts(modem, interfaces.get(MODEM_3GPP, {}), signal or {}),
        asks_for_signal=signal is not None and _get(signal, "Rate", 0) == 0,
    )


def _read_facts(modem: Properties, network: Properties, signal: Properties) -> RadioFacts:
    if int(_get(modem, "State", 0)) < ModemState.ENABLED:
        return RadioFacts()
    percent, _recent = _get(modem, "SignalQuality", (0, False))
    return RadioFacts(
        signal_percent=int(percent),
        signal_dbm=next(_list_powers(signal), None),
        technology=_name_technology(int(_get(modem, "AccessTechnologies", 0))),
        operator=str(_get(network, "OperatorName", "")),
        operator_code=str(_get(network, "OperatorCode", "")),
        registration=_name_registration(_get(network, "RegistrationState", 4)),
    )


def _list_powers(signal: Properties) -> Iterator[float]:
    for technology, key in _POWERS:
        power = _get(_get(signal, technology, {}), key, None)
        if power is not None and _LOWEST_DBM <= power <= _HIGHEST_DBM:
            yield float(power)


def _name_technology(bits: int) -> str:
    """Return the names of the technologies in use, the newest first."""
    used = [each for each in reversed(AccessTechnology) if bits & each]
    return " ".join((each.name or "").lower().replace("_", "-") for each in used)


def _name_registration(state: int) -> str:
    known = RegistrationState.UNKNOWN if state not in set(RegistrationState) else state
    return RegistrationState(known).name.lower()


def _get(properties: Properties, name: str, default: Any) -> Any:
    _signature, value = properties.get(name, ("", default))
    return value
