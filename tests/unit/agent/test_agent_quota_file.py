from __future__ import annotations

import json
import logging
from datetime import date

import pytest

from mrouter.agent.quota_file import QuotaFile, decode_ledger, encode_ledger
from mrouter.links.quotas import Period, PeriodLength, QuotaLedger, Reading

MONTH = Period(PeriodLength.MONTHLY, date(2026, 2, 15))
DAY = Period(PeriodLength.DAILY, date(1970, 1, 1))
LEDGER = QuotaLedger(
    {"lte": [(MONTH, 7_000_000_000), (DAY, 5)], "sat": []},
    {"lte": Reading("boot", "wwan0", 3, 2**63)},
)
CONTENT = encode_ledger(LEDGER)


def as_data(ledger):
    return ledger.usage, ledger.seen


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "lib" / "mrouter"


@pytest.fixture
def path(directory):
    directory.mkdir(parents=True)
    return directory / "quotas.json"


def events(caplog):
    return [record.getMessage().split()[0] for record in caplog.records]


def test_what_was_saved_is_loaded_in_the_same_order(directory):
    assert QuotaFile(directory).save(CONTENT)
    found = QuotaFile(directory).load()
    assert as_data(found) == as_data(LEDGER)
    assert found.usage["lte"] == LEDGER.usage["lte"]


def test_nothing_saved_is_an_empty_ledger_and_nothing_to_log(directory, caplog):
    assert as_data(QuotaFile(directory).load()) == ({}, {})
    assert not caplog.records


def test_file_and_directory_are_for_their_owner_alone(directory):
    QuotaFile(directory).save(CONTENT)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "quotas.json").stat().st_mode & 0o777 == 0o600
    assert [item.name for item in directory.iterdir()] == ["quotas.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        json.dumps({**CONTENT, "version": 2}),
        json.dumps({**CONTENT, "usage": []}),
        json.dumps({**CONTENT, "usage": {"lte": 5}}),
        json.dumps({**CONTENT, "usage": {"lte": [["monthly", "2026-02-15"]]}}),
        json.dumps({**CONTENT, "usage": {"lte": [["weekly", "2026-02-15", 5]]}}),
        json.dumps({**CONTENT, "usage": {"lte": [["monthly", "2026-02-30", 5]]}}),
        json.dumps({**CONTENT, "usage": {"lte": [["monthly", "2026-02-15", -5]]}}),
        json.dumps({**CONTENT, "usage": {"lte": [["monthly", "2026-02-15", 1.5]]}}),
        json.dumps({**CONTENT, "usage": {"lte": [["monthly", "2026-02-15", True]]}}),
        json.dumps({**CONTENT, "seen": {"lte": ["boot", "wwan0", "3", 5]}}),
        json.dumps({**CONTENT, "seen": {"lte": ["boot", "wwan0", 3]}}),
        json.dumps({"version": 1}),
    ],
)
def test_a_broken_file_is_set_aside_and_does_not_stop_anybody(directory, path, caplog, text):
    path.write_text(text)
    file = QuotaFile(directory)
    assert as_data(file.load()) == ({}, {})
    assert events(caplog) == ["quotas-ignored"]

    assert file.save(CONTENT)
    assert (directory / "quotas.json.broken").read_text() == text
    assert as_data(file.load()) == as_data(LEDGER)


def test_what_is_not_utf8_is_set_aside(directory, path):
    path.write_bytes(b"\xff\xfe")
    assert as_data(QuotaFile(directory).load()) == ({}, {})
    assert (directory / "quotas.json.broken").read_bytes() == b"\xff\xfe"


def test_a_file_that_others_could_have_written_is_set_aside(directory, path):
    path.write_text(json.dumps(CONTENT))
    path.chmod(0o666)
    assert as_data(QuotaFile(directory).load()) == ({}, {})
    assert not path.exists()


def test_what_cannot_be_written_is_logged_once_and_tried_again(tmp_path, caplog):
    (tmp_path / "lib").write_text("a file")
    file = QuotaFile(tmp_path / "lib" / "mrouter")
    assert as_data(file.load()) == ({}, {})
    with caplog.at_level(logging.ERROR, logger="mrouter"):
        assert not file.save(CONTENT)
        assert not file.save(CONTENT)
    assert events(caplog) == ["quotas-not-saved"]

    (tmp_path / "lib").unlink()
    assert file.save(CONTENT)
    assert as_data(file.load()) == as_data(LEDGER)


def test_what_cannot_be_set_aside_does_not_stop_anybody(directory, path, caplog):
    path.write_text("{")
    (directory / "quotas.json.broken").mkdir()
    (directory / "quotas.json.broken" / "something").touch()
    assert as_data(QuotaFile(directory).load()) == ({}, {})
    assert events(caplog) == ["quotas-ignored", "quotas-not-set-aside"]


def test_the_file_is_readable_for_later_versions():
    assert json.loads(json.dumps(CONTENT)) == {
        "version": 1,
        "usage": {
            "lte": [["monthly", "2026-02-15", 7_000_000_000], ["daily", "1970-01-01", 5]],
            "sat": [],
        },
        "seen": {"lte": ["boot", "wwan0", 3, 2**63]},
    }
    assert as_data(decode_ledger(CONTENT)) == as_data(LEDGER)
