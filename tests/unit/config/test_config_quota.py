from __future__ import annotations

import pickle
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mrouter.config.load import load_config
from mrouter.config.model import LinkConfig
from mrouter.errors import ConfigError
from mrouter.links.quotas import PeriodLength, Quota
from mrouter.policy import week_values

FILE = """\
role = "mobile-router"
%s
[mobile-router]
home-address = "2001:db8:f1::100"
home-agent = "2001:db8:f0::2"
prefixes = ["2001:db8:a1::/64"]
policy = "vehicle.toml"
[security]
unauthenticated-because-ipsec-protects = true
[[link]]
name = "lte"
interface = "wwan0"
ifpri = 0
%s
"""
EVERYTHING = (
    'quota = { limit = "50 GB", period = "monthly", reset-day = 15, warn = 75, stop = 95,'
    ' zone = "Europe/Berlin" }'
)


def load(directory, link="", top=""):
    path = directory / "c.toml"
    path.write_text(FILE % (top, link))
    return load_config(path)


def load_link(directory, link):
    return load(directory, link).links[0]


def refusals(directory, link="", top=""):
    with pytest.raises(ConfigError) as caught:
        load(directory, link, top)
    return str(caught.value).replace(f"{directory}/", "").splitlines()


def test_a_link_costs_nothing_and_has_no_quota_by_default(tmp_path):
    assert load_link(tmp_path, "") == LinkConfig("lte", "wwan0", 0, cost=0, quota=None)


def test_cost_and_quota_are_read(tmp_path):
    assert load_link(tmp_path, f"cost = 10\n{EVERYTHING}") == LinkConfig(
        "lte",
        "wwan0",
        0,
        cost=10,
        quota=Quota(50_000_000_000, PeriodLength.MONTHLY, 15, 75, 95, ZoneInfo("Europe/Berlin")),
    )


def test_a_quota_may_have_a_table_of_its_own_and_gets_the_defaults(tmp_path):
    link = load_link(tmp_path, '[link.quota]\nlimit = 1000\nperiod = "daily"')
    assert link.quota == Quota(1000, PeriodLength.DAILY, 1, 80, 100, UTC)


def test_a_quota_is_the_same_when_it_has_come_from_the_loading_process(tmp_path):
    link = load_link(tmp_path, EVERYTHING)
    assert pickle.loads(pickle.dumps(link)) == link
    utc = load_link(tmp_path, 'quota = { limit = 1, period = "daily", zone = "UTC" }')
    assert pickle.loads(pickle.dumps(utc)) == utc


def test_state_is_kept_where_the_file_says(tmp_path):
    assert load(tmp_path).state_directory == Path("/var/lib/mrouter")
    found = load(tmp_path, top='state-directory = "state"').state_directory
    assert found == tmp_path / "state"


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("cost = -1", "c.toml:14: link[0].cost: must be from 0 to 1000000, it is -1"),
        ("cost = 1.5", "c.toml:14: link[0].cost: must be a whole number"),
        ('quota = "50 GB"', "c.toml:14: link[0].quota: must be a table"
         ' (write quota = { limit = "50 GB", period = "monthly" })'),
        ("quota = {}", 'c.toml:14: link[0].quota.limit: is missing (write limit = "50 GB")'),
        ("quota = {}", "c.toml:14: link[0].quota.period: is missing"
         ' (write period = "monthly")'),
        ('quota = { limit = "50 GiB", period = "daily" }',
         'c.toml:14: link[0].quota.limit: "50 GiB" has a binary unit'
         " (units are decimal: write 53687091200, in bytes)"),
        ('quota = { limit = 1, period = "weekly" }',
         'c.toml:14: link[0].quota.period: "weekly" is not known (known: monthly, daily)'),
        ('quota = { limit = 1, period = "monthly", reset-day = 29 }',
         "c.toml:14: link[0].quota.reset-day: must be from 1 to 28, it is 29"),
        ('quota = { limit = 1, period = "monthly", reset-day = 0 }',
         "c.toml:14: link[0].quota.reset-day: must be from 1 to 28, it is 0"),
        ('quota = { limit = 1, period = "daily", reset-day = 1 }',
         'c.toml:14: link[0].quota.reset-day: stands beside period = "monthly" only'
         " (leave it out)"),
        ('quota = { limit = 1, period = "daily", warn = 0 }',
         "c.toml:14: link[0].quota.warn: must be from 1 to 100 percent, it is 0"),
        ('quota = { limit = 1, period = "daily", stop = 101 }',
         "c.toml:14: link[0].quota.stop: must be from 1 to 100 percent, it is 101"),
        ('quota = { limit = 1, period = "daily", warn = 90, stop = 85 }',
         "c.toml:14: link[0].quota.stop: must be at least warn, 90 percent"
         " (write a lower warn)"),
        ('quota = { limit = 1, period = "daily", stop = 50 }',
         "c.toml:14: link[0].quota.stop: must be at least warn, 80 percent"
         " (write a lower warn)"),
        ('quota = { limit = 1, period = "daily", zone = 1 }',
         "c.toml:14: link[0].quota.zone: must be a time zone in quotes"),
        ('quota = { limit = 1, period = "daily", zone = "europe/berln" }',
         'c.toml:14: link[0].quota.zone: "europe/berln" is no time zone that this machine knows'
         " (did you mean Europe/Berlin?)"),
        ('quota = { limit = 1, period = "daily", zone = "../../etc/passwd" }',
         'c.toml:14: link[0].quota.zone: "../../etc/passwd" is no time zone that this machine'
         ' knows (as in "Europe/Berlin")'),
        ('quota = { limit = 1, period = "daily", zone = "" }',
         'c.toml:14: link[0].quota.zone: "" is no time zone that this machine knows'
         ' (as in "Europe/Berlin")'),
        ('quota = { limit = 1, period = "daily", resetday = 1 }',
         "c.toml:14: link[0].quota.resetday: unknown key (did you mean reset-day?)"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path, link, problem):
    assert problem in refusals(tmp_path, link)


def test_a_directory_of_time_zones_is_none(tmp_path):
    (problem,) = refusals(tmp_path, 'quota = { limit = 1, period = "daily", zone = "Europe" }')
    assert '"Europe" is no time zone that this machine knows' in problem


def test_a_state_directory_is_a_file_name(tmp_path):
    problem = 'c.toml:2: state-directory: "" is not a file name'
    assert problem in refusals(tmp_path, top='state-directory = ""')


def test_a_machine_without_time_zones_is_told_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setattr(week_values, "available_timezones", set)
    problem = (
        'c.toml:14: link[0].quota.zone: "Mars/Crater" is no time zone that this machine knows'
        ' (install the package tzdata, or write "UTC")'
    )
    link = 'quota = { limit = 1, period = "daily", zone = "Mars/Crater" }'
    assert problem in refusals(tmp_path, link)
