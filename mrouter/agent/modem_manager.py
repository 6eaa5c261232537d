"""Follows ModemManager over D-Bus; imports sdbus, which an installation may lack."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from sdbus import (
    DbusFailedError,
    DbusNameHasNoOwnerError,
    SdBus,
    SdBusUnmappedMessageError,
    sd_bus_open_system,
)

from mrouter.agent.journal import note
from mrouter.links.modems import BEARER, SERVICE, SIGNAL, Modem, read_modems

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sdbus.sd_bus_internals import SdBusMessage

    from mrouter.links.radio import RadioFacts

_ROOT = "/org/freedesktop/ModemManager1"
_OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS, _BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"

#: Seconds within which a service must answer.
_PATIENCE = 10.0
#: Properties change in swarms: they are read no more often than this, in seconds.
_PAUSE = 1.0
#: A lost connection says nothing by itself: after so many quiet seconds it is looked at.
_LOOK_INTERVAL = 5.0
#: How often a modem is told to measure its signal's power, in seconds.
_SIGNAL_RATE = 5

#: What a service says no with.
_REFUSALS = (DbusFailedError, SdBusUnmappedMessageError)

#: Takes what is known of modems, by network interface.
Report: TypeAlias = "Callable[[Mapping[str, RadioFacts]], None]"


async def follow_modems(interfaces: Collection[str], report: Report) -> None:
    """Report what is known of the modems of ``interfaces``, now and whenever it changes.

    Goes by the system bus, or the one that DBUS_SYSTEM_BUS_ADDRESS names. It ends by an exception
    alone: of sdbus if the bus is lost, of any kind if the service answers nonsense.
    """
    bus = sd_bus_open_system()
    try:
        await _Follower(bus, interfaces, report).run()
    finally:
        bus.close()


class _Follower:
    """One connection to the bus."""

    def __init__(self, bus: SdBus, interfaces: Collection[str], report: Report) -> None:
        self._bus = bus
        self._interfaces = frozenset(interfaces)
        self._report = report
        self._owner = ""
        self._news = asyncio.Event()
        self._asked: set[str] = set()

    async def run(self) -> None:
        # what happens while things are read for the first time must not be missed
        slots = [
            await self._match(_BUS, _BUS, "NameOwnerChanged", self._on_owner),
            await self._match(SERVICE, _PROPERTIES, "PropertiesChanged", self._on_news),
            await self._match(SERVICE, _OBJECT_MANAGER, None, self._on_news),
        ]
        try:
            await self._find_owner()
            while True:
                await self._read()
                await asyncio.sleep(_PAUSE)
                await self._wait_for_news()
        finally:
            for slot in slots:
                slot.close()

    def _match(
        self,
        sender: str,
        interface: str,
        member: str | None,
        callback: Callable[[SdBusMessage], None],
    ) -> asyncio.Future[Any]:
        return self._bus.match_signal_async(sender, None, interface, member, callback)

    def _on_owner(self, message: SdBusMessage) -> None:
        name, _before, owner = message.get_contents()
        if name == SERVICE:
            self._owner = str(owner)
            self._asked.clear()
            self._news.set()

    def _on_news(self, _message: SdBusMessage) -> None:
        self._news.set()

    async def _wait_for_news(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._news.wait(), _LOOK_INTERVAL)
            except TimeoutError:
                self._bus.get_fd()  # raises if the connection is lost
            else:
                return

    async def _find_owner(self) -> None:
        # asking the service itself would start it, also where somebody has stopped it
        try:
            (self._owner,) = await self._call(_BUS, _BUS_PATH, _BUS, "GetNameOwner", "s", SERVICE)
        except DbusNameHasNoOwnerError:
            self._owner = ""

    async def _read(self) -> None:
        self._news.clear()
        if not self._owner:
            note("modem-manager-absent", logging.WARNING)
            self._report({})
            return
        (objects,) = await self._call(SERVICE, _ROOT, _OBJECT_MANAGER, "GetManagedObjects")
        found: dict[str, RadioFacts] = {}
        for path, modem in read_modems(objects).items():
            mine = self._interfaces & (modem.interfaces | await self._list_bearers(modem))
            found.update(dict.fromkeys(mine, modem.facts))
            if mine and modem.asks_for_signal and path not in self._asked:
                self._asked.add(path)
                await self._ask_for_signal(path)
        self._report(found)

    async def _list_bearers(self, modem: Modem) -> set[str]:
        """Return the interfaces of ``modem``'s connections: they may be made for each."""
        if self._interfaces <= modem.interfaces:
            return set()
        found = set()
        for path in modem.bearers:
            try:
                answer = await self._call(
                    SERVICE, path, _PROPERTIES, "Get", "ss", BEARER, "Interface"
                )
            except _REFUSALS:
                continue  # a connection that has gone by now
            ((_signature, interface),) = answer
            found.add(interface)
        return found

    async def _ask_for_signal(self, path: str) -> None:
        try:
            await self._call(SERVICE, path, SIGNAL, "Setup", "u", _SIGNAL_RATE)
        except _REFUSALS as error:
            # the percentage is there without
            note("modem-signal-not-measured", logging.WARNING, modem=path, error=str(error))

    async def _call(
        self,
        service: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *values: Any,
    ) -> tuple[Any, ...]:
        message = self._bus.new_method_call_message(service, path, interface, member)
        if signature:
            message.append_data(signature, *values)
        answer = await asyncio.wait_for(self._bus.call_async(message), _PATIENCE)
        return answer.parse_to_tuple()
