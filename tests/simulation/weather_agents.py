"""The real agents in simulated time: their sockets, kernel and state files are stand-ins."""

from __future__ import annotations

import asyncio.events
import json
import random
import time
from collections import deque
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING
from unittest.mock import patch

from weather_plan import EPOCH

from mrouter.agent import base, home_agent, messenger, mobile_router, prober
from mrouter.dataplane.state import Encapsulation
from mrouter.links.path_mtus import PathMtus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from weather import Weather

    from mrouter.dataplane.state import DataplaneState
    from mrouter.links.snapshot import Snapshot


class Handle:
    """What ``call_later`` returns."""

    def __init__(self, callback: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.callback: Callable[..., None] | None = callback
        self.arguments = arguments

    def cancel(self) -> None:
        self.callback = None


class NodeLoop:
    """The event loop of one node's agent, in simulated time; silent once it is closed."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._readers: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}
        self.closed = False

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: Any) -> Handle:
        handle = Handle(callback, arguments)
        self._weather.call_later(max(0.0, delay), self._run, handle)
        return handle

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> Handle:
        return self.call_later(0.0, callback, *arguments)

    def add_reader(self, descriptor: int, callback: Callable[..., None], *arguments: Any) -> None:
        self._readers[descriptor] = callback, arguments

    def remove_reader(self, descriptor: int) -> None:
        self._readers.pop(descriptor, None)

    def _run(self, handle: Handle) -> None:
        if handle.callback is not None:
            self.run(handle.callback, *handle.arguments)

    def run(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Call, with this loop as the running one."""
        if self.closed:
            return
        asyncio.events._set_running_loop(self)
        try:
            callback(*arguments)
        finally:
            asyncio.events._set_running_loop(None)

    def wake(self, socket: StandIn) -> None:
        """Tell whoever reads ``socket`` that there is something."""
        if socket.fileno() in self._readers:
            callback, arguments = self._readers[socket.fileno()]
            self.run(callback, *arguments)


class StandIn:
    """A socket of a node: what has come to it waits in ``inbox``."""

    _numbers = 1 << 20

    def __init__(self, node: Node) -> None:
        StandIn._numbers += 1
        self._number = StandIn._numbers
        self.node = node
        self.inbox: deque[Any] = deque()

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        self.inbox.clear()

    def put(self, item: Any) -> None:
        self.inbox.append(item)
        self.node.loop.wake(self)


class Signalling(StandIn):
    """For ``SignallingSocket``."""

    def receive(self, limit: int) -> Iterator[tuple[bytes, int]]:
        while self.inbox and limit:
            limit -= 1
            yield self.inbox.popleft(), 0

    def send(self, packet: bytes, interface: str | None) -> None:
        self.node.send_signalling(packet, interface)


class Probing(StandIn):
    """For ``ProbeSocket``."""

    def send(self, _source, _destination, echo, mark) -> None:
        self.node.send_probe(echo, mark)

    def send_outside(self, source, _destination, echo, interface) -> None:
        self.node.send_probe_outside(source, echo, interface)

    def receive(self) -> Iterator[Any]:
        while self.inbox:
            yield self.inbox.popleft()


class Monitor(StandIn):
    """For ``LinkMonitor``."""

    def drain(self) -> bool:
        news = bool(self.inbox)
        self.inbox.clear()
        return news


class Kernel:
    """For ``LinuxDataplane``: takes every state."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def apply(self, state: DataplaneState, *, verify: bool = False) -> None:
        self._node.take_state(state)

    def read_counters(self) -> dict[str, tuple[int, int]]:
        """Every link carries something, so that none is left unprobed."""
        packets = int(50 * self._node.weather.now)
        return {f"uplink-{name}": (packets, 100 * packets) for name in self._node.weather.links}

    def read_map_counters(self, name: str) -> dict[int, tuple[int, int]]:
        return {}

    def read_set_counters(self, name: str) -> dict[tuple[int, ...], tuple[int, int]]:
        return {}


class StateFile:
    """For ``MemoryFile``: the text outlives the agent."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def load(self, decode: Callable[[Any], Any]) -> Any:
        saved = self._node.saved
        return None if saved is None else decode(json.loads(saved))

    def save(self, content: Any) -> None:
        self._node.saved = json.dumps(content)


class NoPathMtus:
    """For ``PathMtuWatch``: every path takes what its interface does."""

    def __init__(self) -> None:
        self.learnt = PathMtus()


class NoMembership:
    """For ``AnycastMembership``."""

    def join(self, interface: str, addresses: Any) -> None:
        pass


class Node:
    """A machine with an agent of ours, or without one for a while; its kernel goes on."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.loop = NodeLoop(weather)
        self.agent: Any = None
        self.saved: str | None = None
        self.started_at = 0.0
        self.kernel_states = 0

    def start(self) -> None:
        """Begin an agent with what the last one has saved."""
        if self.agent is not None:
            return
        self.loop = NodeLoop(self.weather)
        self.started_at = self.weather.now
        with self.weather.building(self):
            self.agent = self.make_agent()
        self.loop.run(self._run)

    def crash(self) -> None:
        """End the agent as SIGKILL does."""
        self.loop.closed = True
        self.agent = None

    def _run(self) -> None:
        """Do what ``Agent.run`` does before it waits for its end."""
        agent = self.agent
        self.loop.add_reader(agent._messenger.fileno(), agent._on_packets)
        self.loop.add_reader(agent._monitor.fileno(), agent._on_link_news)
        agent._open(self.loop)
        agent._process([*agent._start_events(), *agent._links_changed()], apply=True)

    def receive_signalling(self, packet: bytes) -> None:
        if self.agent is not None:
            self.agent._messenger._socket.put(packet)

    def tell_links(self) -> None:
        """Let the agent look at its interfaces."""
        if self.agent is not None:
            self.agent._monitor.put("news")

    def make_agent(self) -> Any:
        raise NotImplementedError

    def look(self) -> Snapshot:
        """Return what the kernel says of interfaces, addresses and routes."""
        raise NotImplementedError

    def take_state(self, state: DataplaneState) -> None:
        raise NotImplementedError

    def send_signalling(self, packet: bytes, interface: str | None) -> None:
        raise NotImplementedError


class Machinery:
    """Puts stand-ins in the places of what needs a kernel, and simulated time in the clock's."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._node: Node | None = None
        self._random = Random(weather.plan.seed)

    @contextmanager
    def building(self, node: Node) -> Iterator[None]:
        """Make stand-ins of ``node``'s."""
        self._node = node
        yield
        self._node = None

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Replace what the agents would ask of the machine."""

        def make(kind: Callable[[Node], Any]) -> Callable[..., Any]:
            return lambda *_arguments: kind(self._node)

        def find_node() -> Node:
            running = asyncio.events._get_running_loop()
            return self._node or next(n for n in self._weather.nodes if n.loop is running)

        replaced = [
            (base, "require_capabilities", lambda: None),
            (base, "MemoryFile", make(StateFile)),
            (base, "RouteSocket", make(StandIn)),
            (base, "LinkMonitor", make(Monitor)),
            (base, "LinuxDataplane", make(Kernel)),
            (base, "PathMtuWatch", lambda *_: NoPathMtus()),
            (base, "choose_encapsulation", lambda _: Encapsulation.SEG6),
            (base, "read_snapshot", lambda _: find_node().look()),
            (messenger, "SignallingSocket", make(Signalling)),
            (mobile_router, "PacketErrorSocket", make(StandIn)),
            (prober, "ProbeSocket", make(Probing)),
            (home_agent, "AnycastMembership", NoMembership),
            (random, "SystemRandom", lambda: Random(self._random.getrandbits(64))),
            (time, "monotonic", lambda: self._weather.now),
            (time, "time", lambda: EPOCH + self._weather.now),
        ]
        patches = [patch.object(place, name, value) for place, name, value in replaced]
        for each in patches:
            each.start()
        try:
            yield
        finally:
            for each in reversed(patches):
                each.stop()
