"""What the agent knows of radios, with a ModemManager on a bus of the test's own."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import threading
import time
from collections import Counter

import pytest
from modem_bus import ADDRESS, ModemBus

from mrouter.agent import modem_watch, radio_watch
from mrouter.agent.radio_watch import RadioWatch
from mrouter.config.model import LinkConfig
from mrouter.links.radio import RadioFacts, RadioKind

#: A busy machine may take its time.
TIMEOUT = 30.0
needs_bus = pytest.mark.skipif(
    shutil.which("dbus-daemon") is None, reason="install Debian's dbus-daemon"
)


def make_link(name="lte", radio=RadioKind.MODEM, least=20):
    return LinkConfig(name, f"{name}0", 0, radio=radio, least_signal=least)


class Watched:
    """A watch that runs in an event loop, and what it has said."""

    def __init__(self, *links):
        self.events = Counter()
        self.weak = []
        self.watch = RadioWatch(links, self.events, self._on_change)

    def _on_change(self):
        self.weak.append(self.watch.weak)

    def get(self, link, what):
        return self.watch.describe(link)[what]

    def count_failures(self):
        return sum(n for (event, _), n in self.events.items() if event == "radio-not-read")

    async def until(self, ask):
        deadline = time.monotonic() + TIMEOUT
        while not ask():
            assert time.monotonic() < deadline, "what was waited for did not come"
            await asyncio.sleep(0.02)


def play(scene, *links):
    """Run ``scene`` with a watch of ``links``."""

    async def run():
        watched = Watched(*links)
        watched.watch.start(asyncio.get_running_loop())
        try:
            await scene(watched)
        finally:
            watched.watch.stop()
        assert not [each for each in threading.enumerate() if each.name == "modems"]

    asyncio.run(run())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(modem_watch, "_RETRY", 0.1)
    monkeypatch.setattr(radio_watch, "_INTERVAL", 0.02)


@pytest.fixture
def bus(monkeypatch):
    with ModemBus() as bus:
        monkeypatch.setenv(ADDRESS, bus.address)
        bus.start_service()
        yield bus


@needs_bus
def test_a_modem_is_known_by_its_interface_and_followed(bus):
    bus.tell("add", modem=3, interface="lte0")

    async def scene(watched):
        await watched.until(lambda: watched.get("lte", "signal_percent") == 80)
        assert watched.watch.describe("lte") == {
            "kind": "modem",
            "signal_percent": 80,
            "signal_dbm": -95.0,
            "technology": "lte",
            "operator": "Example Mobile",
            "operator_code": "00101",
            "registration": "home",
            "ssid": "",
            "bit_rate": None,
            "least_signal": 20,
            "weak": False,
        }
        assert bus.tell("rates", modem=3) == [5]
        bus.tell("set", modem=3, name="access_technologies", value=1 << 5)
        bus.tell("set", modem=3, name="operator_name", value="Other Mobile")
        await watched.until(lambda: watched.get("lte", "operator") == "Other Mobile")
        assert watched.get("lte", "technology") == "umts"
        for percent, weak in ((19, True), (25, True), (30, False)):
            bus.set_signal(3, percent)
            await watched.until(
                lambda percent=percent: watched.get("lte", "signal_percent") == percent
            )
            assert watched.get("lte", "weak") is weak
        assert watched.weak == [{"lte"}, frozenset()]
        assert watched.count_failures() == 0
        assert bus.tell("rates", modem=3) == [5]  # asked once

    play(scene, make_link())


@needs_bus
def test_a_modem_is_known_by_its_connections_interface(bus):
    bus.tell("add", modem=0, interface="mux0", multiplexed=True, refuses=True)

    async def scene(watched):
        await watched.until(lambda: watched.get("mux", "signal_percent") == 80)
        assert watched.get("sat", "signal_percent") is None
        assert watched.count_failures() == 0  # that it may not be told to measure is no failure

    play(scene, make_link("mux"), make_link("sat"))


@needs_bus
def test_modems_and_their_manager_come_and_go(bus, caplog):
    caplog.set_level(logging.INFO, "mrouter")

    async def scene(watched):
        def is_known():
            return watched.get("lte", "signal_percent") is not None

        bus.tell("add", modem=0, interface="lte0")
        await watched.until(is_known)
        bus.set_signal(0, 3)
        await watched.until(lambda: watched.get("lte", "weak"))
        bus.tell("remove", modem=0)
        await watched.until(lambda: not is_known())
        assert not watched.get("lte", "weak")
        bus.tell("add", modem=1, interface="lte0")
        await watched.until(is_known)
        bus.stop_service()
        await watched.until(lambda: not is_known())
        bus.start_service()
        bus.tell("add", modem=0, interface="lte0")
        await watched.until(is_known)

    play(scene, make_link())
    assert "signal-weak link=lte percent=3 least=20" in caplog.text
    assert "signal-recovered link=lte percent=unknown" in caplog.text
    assert "modem-manager-absent" in caplog.text


@needs_bus
def test_a_bus_that_is_lost_is_counted_told_and_taken_again(bus, caplog):
    bus.tell("add", modem=0, interface="lte0")

    async def scene(watched):
        await watched.until(lambda: watched.get("lte", "signal_percent") == 80)
        bus.stop_service()
        bus.stop_bus()
        await watched.until(lambda: watched.count_failures() > 2)
        assert watched.get("lte", "signal_percent") is None
        assert caplog.text.count("radio-not-read") == 1
        bus.start_bus()
        bus.start_service()
        bus.tell("add", modem=0, interface="lte0")
        await watched.until(lambda: watched.get("lte", "signal_percent") == 80)

    play(scene, make_link())


@needs_bus
def test_a_manager_that_does_not_answer_is_counted_and_asked_again(bus, monkeypatch):
    monkeypatch.setattr("mrouter.agent.modem_manager._PATIENCE", 0.3)
    bus.tell("add", modem=0, interface="lte0")
    bus.freeze_service()

    async def scene(watched):
        await watched.until(lambda: watched.count_failures() > 1)
        assert watched.get("lte", "signal_percent") is None
        bus.thaw_service()
        await watched.until(lambda: watched.get("lte", "signal_percent") == 80)

    play(scene, make_link())


def test_without_a_bus_it_is_told_once_and_counted(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv(ADDRESS, f"unix:path={tmp_path / 'none'}")

    async def scene(watched):
        await watched.until(lambda: watched.count_failures() > 2)
        assert caplog.text.count("radio-not-read") == 1

    play(scene, make_link())


def test_without_sdbus_it_is_told_what_to_install(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "sdbus", None)
    monkeypatch.delitem(sys.modules, "mrouter.agent.modem_manager", raising=False)

    async def scene(watched):
        await watched.until(lambda: watched.count_failures() == 1)
        await asyncio.sleep(0.3)
        assert watched.count_failures() == 1
        assert watched.get("lte", "signal_percent") is None

    play(scene, make_link())
    assert caplog.text.count("pip install 'mrouter[modem]'") == 1


def test_nothing_is_imported_or_started_that_no_link_asks_for(monkeypatch):
    monkeypatch.delitem(sys.modules, "mrouter.agent.modem_manager", raising=False)

    async def scene(watched):
        await asyncio.sleep(0.1)
        assert "mrouter.agent.modem_manager" not in sys.modules
        assert watched.watch.describe("wired") is None
        assert watched.watch.weak == frozenset()

    play(scene, make_link("wired", radio=None, least=None))


def answer(monkeypatch, answers):
    """Have the kernel give these answers about Wi-Fi, the last one for ever."""

    def read_stations(interfaces):
        assert interfaces == ("wifi0",)
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(radio_watch, "read_stations", read_stations)


def test_wifi_is_looked_at_again_and_again(monkeypatch, caplog):
    facts = [RadioFacts(signal_percent=each, ssid="depot") for each in (50, 5, 25, 90)]
    answers = [*({"wifi0": each} for each in facts), {}, OSError(95, "no nl80211")]

    async def scene(watched):
        await watched.until(lambda: watched.count_failures() > 2)
        assert watched.weak == [{"wifi"}, frozenset()]
        assert watched.get("wifi", "ssid") == ""
        assert caplog.text.count("radio-not-read") == 1

    answer(monkeypatch, answers)
    play(scene, make_link("wifi", RadioKind.WIFI))


def test_a_driver_that_takes_its_time_keeps_nobody_waiting(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(radio_watch, "read_stations", lambda _: release.wait(TIMEOUT) and {})

    async def scene(watched):
        started = time.monotonic()
        watched.watch.stop()
        assert time.monotonic() - started < TIMEOUT / 2
        release.set()

    play(scene, make_link("wifi", RadioKind.WIFI))
