from __future__ import annotations

import struct

import pytest

from mrouter.links.monitor import LinkMonitor

OWN_PROTOCOL, FOREIGN_PROTOCOL = 77, 3
NEW_LINK, DELETE_ROUTE, NEW_ADDRESS, NEW_ROUTE = 16, 25, 20, 24


class Reader(LinkMonitor):
    """A monitor that is handed what the kernel would send."""

    def __init__(self, *datagrams):
        super().__init__(OWN_PROTOCOL)
        self.close()
        self._socket = self
        self._waiting = list(datagrams)

    def recv(self, _size):
        if not self._waiting:
            raise BlockingIOError
        item = self._waiting.pop(0)
        if isinstance(item, OSError):
            raise item
        return item


def message(kind, body=b""):
    return struct.pack("=LHHLL", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


def route(kind, protocol):
    return message(kind, struct.pack("=BBBBBBBBL", 10, 64, 0, 0, 254, protocol, 0, 1, 0))


@pytest.mark.parametrize(
    "datagram",
    [
        message(NEW_LINK, bytes(16)),
        message(NEW_ADDRESS, bytes(8)),
        route(NEW_ROUTE, FOREIGN_PROTOCOL),
        route(DELETE_ROUTE, FOREIGN_PROTOCOL),
        route(NEW_ROUTE, OWN_PROTOCOL) + message(NEW_LINK, bytes(16)),
        OSError(105, "No buffer space available"),
        b"\0" * 16,
    ],
    ids=["link", "address", "route", "route-gone", "own-route-and-link", "overrun", "broken"],
)
def test_what_others_do_is_news(datagram):
    assert Reader(datagram).drain()


@pytest.mark.parametrize("kind", [NEW_ROUTE, DELETE_ROUTE])
def test_our_own_routes_are_no_news(kind):
    assert not Reader(route(kind, OWN_PROTOCOL), route(kind, OWN_PROTOCOL) * 3).drain()


def test_nothing_is_no_news():
    assert not Reader().drain()


def test_everything_that_waits_is_read():
    reader = Reader(message(NEW_LINK, bytes(16)), route(NEW_ROUTE, OWN_PROTOCOL))

    assert reader.drain()
    assert not reader.drain()
