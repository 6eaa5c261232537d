"""What is known of the radios that links go by, and which signals are too weak; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A weak signal is weak no more when it is this many percent above what made it so: signals swing.
_MARGIN = 10
#: What counts as no signal at all, and as a full one, in dBm of a Wi-Fi receiver.
_SILENT_DBM, _FULL_DBM = -100, -50


class RadioKind(Enum):
    """Who knows about a link's radio: ModemManager, or the kernel's nl80211."""

    MODEM = "modem"
    WIFI = "wifi"


@dataclass(frozen=True, slots=True)
class RadioFacts:
    """What is known of a radio; None and "" stand for what is not.

    ``signal_dbm`` is RSRP for LTE and 5G NR, RSCP for UMTS, received power for all else.
    ``operator_code`` is MCC and MNC. ``bit_rate`` is in bits a second, of what is sent.
    """

    signal_percent: int | None = None
    signal_dbm: float | None = None
    technology: str = ""
    operator: str = ""
    operator_code: str = ""
    registration: str = ""
    ssid: str = ""
    bit_rate: int | None = None


def rate_signal(dbm: float) -> int:
    """Return the percentage that a Wi-Fi signal of ``dbm`` passes for."""
    share = (dbm - _SILENT_DBM) / (_FULL_DBM - _SILENT_DBM)
    return round(100 * min(max(share, 0.0), 1.0))


class WeakSignals:
    """Tells weak signals from others; what is weak stays so until it is clearly better."""

    def __init__(self, least: Mapping[str, int]) -> None:
        """Judge the links in ``least``: below so many percent a signal is weak."""
        self._least = least
        self._weak: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """The links whose signals were weak when last looked at."""
        return self._weak

    def update(self, percents: Mapping[str, int]) -> None:
        """Take in the signals of links; one that is not known is not weak."""
        self._weak = frozenset(
            link
            for link, least in self._least.items()
            if link in percents and percents[link] < self._find_edge(link, least)
        )

    def _find_edge(self, link: str, least: int) -> int:
        return min(least + _MARGIN, 100) if link in self._weak else least
