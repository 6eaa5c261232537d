"""A ModemManager of its D-Bus interfaces alone, on the bus of DBUS_SYSTEM_BUS_ADDRESS.

Obeys commands from standard input, a JSON object a line, and answers each with one.
"""

from __future__ import annotations

import asyncio
import json
import sys

from sdbus import (
    DbusAccessDeniedError,
    DbusInterfaceCommonAsync,
    DbusObjectManagerInterfaceAsync,
    dbus_method_async,
    dbus_property_async,
    sd_bus_open_system,
    set_default_bus,
)

SERVICE = "org.freedesktop.ModemManager1"
ROOT = "/org/freedesktop/ModemManager1"
NET, AT = 2, 3
CONNECTED, HOME, LTE = 11, 1, 1 << 14
UNKNOWN = -sys.float_info.max


class Manager(DbusObjectManagerInterfaceAsync):
    pass


class Modem(DbusInterfaceCommonAsync, interface_name=f"{SERVICE}.Modem"):
    @dbus_property_async("(ub)")
    def signal_quality(self):
        return self.state_of["SignalQuality"]

    @signal_quality.setter
    def set_signal_quality(self, value):
        self.state_of["SignalQuality"] = value

    @dbus_property_async("u")
    def access_technologies(self):
        return self.state_of["AccessTechnologies"]

    @access_technologies.setter
    def set_access_technologies(self, value):
        self.state_of["AccessTechnologies"] = value

    @dbus_property_async("i")
    def state(self):
        return self.state_of["State"]

    @state.setter
    def set_state(self, value):
        self.state_of["State"] = value

    @dbus_property_async("a(su)")
    def ports(self):
        return self.state_of["Ports"]

    @dbus_property_async("ao")
    def bearers(self):
        return self.state_of["Bearers"]


class Modem3gpp(DbusInterfaceCommonAsync, interface_name=f"{SERVICE}.Modem.Modem3gpp"):
    @dbus_property_async("s")
    def operator_name(self):
        return self.state_of["OperatorName"]

    @operator_name.setter
    def set_operator_name(self, value):
        self.state_of["OperatorName"] = value

    @dbus_property_async("s")
    def operator_code(self):
        return "00101"

    @dbus_property_async("u")
    def registration_state(self):
        return HOME


class Signal(DbusInterfaceCommonAsync, interface_name=f"{SERVICE}.Modem.Signal"):
    @dbus_method_async("u")
    async def setup(self, rate):
        if self.state_of["refuses"]:
            raise DbusAccessDeniedError("only root may")
        self.state_of["rates"].append(rate)

    @dbus_property_async("u")
    def rate(self):
        return 0

    @dbus_property_async("a{sv}")
    def lte(self):
        return {
            name: ("d", value)
            for name, value in {
                "rsrp": self.state_of["rsrp"],
                "rsrq": -11.0,
                "snr": 9.5,
                "rssi": -68.0,
            }.items()
        }

    @dbus_property_async("a{sv}")
    def gsm(self):
        return {"rssi": ("d", UNKNOWN)}


class Bearer(DbusInterfaceCommonAsync, interface_name=f"{SERVICE}.Bearer"):
    def __init__(self, interface):
        super().__init__()
        self._interface = interface

    @dbus_property_async("s")
    def interface(self):
        return self._interface


class FakeModem(Modem, Modem3gpp, Signal):
    """One modem of LTE; ``multiplexed``: only its connection's interface is the link's."""

    def __init__(self, interface, bearer, *, multiplexed, refuses):
        super().__init__()
        self.state_of = {
            "SignalQuality": (80, True),
            "AccessTechnologies": LTE,
            "State": CONNECTED,
            "Ports": [("ttyUSB2", AT), ("wwan9" if multiplexed else interface, NET)],
            "Bearers": [bearer],
            "OperatorName": "Example Mobile",
            "rsrp": -95.0,
            "refuses": refuses,
            "rates": [],
        }


class Service:
    def __init__(self):
        self._manager = Manager()
        self._modems = {}

    async def start(self):
        bus = sd_bus_open_system()
        set_default_bus(bus)
        self._manager.export_to_dbus(ROOT)
        await bus.request_name_async(SERVICE, 0)

    async def add(self, modem, interface, *, multiplexed=False, refuses=False):
        bearer_path = f"{ROOT}/Bearer/{modem}"
        bearer = Bearer(interface)
        bearer.export_to_dbus(bearer_path)
        made = FakeModem(interface, bearer_path, multiplexed=multiplexed, refuses=refuses)
        self._manager.export_with_manager(f"{ROOT}/Modem/{modem}", made)
        self._modems[modem] = made, bearer

    async def remove(self, modem):
        made, _bearer = self._modems.pop(modem)
        self._manager.remove_managed_object(made)

    async def set(self, modem, name, value):
        made, _bearer = self._modems[modem]
        value = tuple(value) if isinstance(value, list) else value
        await getattr(made, name).set_async(value)

    async def rates(self, modem):
        return self._modems[modem][0].state_of["rates"]


async def main():
    service = Service()
    await service.start()
    print(json.dumps("ready"), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        answer = await getattr(service, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
