"""What links have carried, kept over restarts of the agent and of the machine."""

from __future__ import annotations

import json
import logging
from datetime import date
from typing import TYPE_CHECKING, Any

from mrouter.agent.journal import note
from mrouter.agent.private_file import read_private, replace_private
from mrouter.links.quotas import Period, PeriodLength, QuotaLedger, Reading

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "quotas.json"
_VERSION = 1


class QuotaFile:
    """The file; one that can't be read or written stops nobody."""

    def __init__(self, directory: Path) -> None:
        """Keep the file in ``directory``, which is made when it is first needed."""
        self._path = directory / _NAME
        self._failing = False

    def load(self) -> QuotaLedger:
        """Return the ledger that was saved, or an empty one; a broken file is set aside."""
        try:
            return decode_ledger(json.loads(read_private(self._path)))
        except (FileNotFoundError, NotADirectoryError):
            return QuotaLedger()
        except (OSError, ValueError, RecursionError) as error:
            aside = self._path.with_name(f"{_NAME}.broken")
            note(
                "quotas-ignored",
                logging.ERROR,
                file=self._path,
                error=repr(error),
                kept_as=aside,
            )
        try:
            self._path.replace(aside)
        except OSError as error:
            note("quotas-not-set-aside", logging.ERROR, error=str(error))
        return QuotaLedger()

    def save(self, content: Any) -> bool:
        """Write what ``encode_ledger`` has made; return whether it is on the disk now."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_private(self._path, json.dumps(content), durable=True)
        except OSError as error:
            if not self._failing:
                note("quotas-not-saved", logging.ERROR, error=str(error))
            self._failing = True
            return False
        self._failing = False
        return True


def encode_ledger(ledger: QuotaLedger) -> dict[str, Any]:
    """Return ``ledger`` as JSON can carry it."""
    return {
        "version": _VERSION,
        "usage": {
            link: [
                [period.length.value, period.start.isoformat(), octets]
                for period, octets in periods
            ]
            for link, periods in ledger.usage.items()
        },
        "seen": {
            link: [reading.boot, reading.interface, reading.index, reading.octets]
            for link, reading in ledger.seen.items()
        },
    }


def decode_ledger(content: Any) -> QuotaLedger:
    """Return what ``encode_ledger`` was given.

    :raises ValueError: if ``content`` did not come from there.
    """
    try:
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']}, not {_VERSION}")
        return QuotaLedger(
            {
                link: [_decode_usage(*row) for row in rows]
                for link, rows in content["usage"].items()
            },
            {link: _decode_reading(*row) for link, row in content["seen"].items()},
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not as it was written: {error!r}") from error


def _decode_usage(length: str, start: str, octets: int) -> tuple[Period, int]:
    return Period(PeriodLength(length), date.fromisoformat(start)), _check_count(octets)


def _decode_reading(boot: str, interface: str, index: int, octets: int) -> Reading:
    return Reading(str(boot), str(interface), _check_count(index), _check_count(octets))


def _check_count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
