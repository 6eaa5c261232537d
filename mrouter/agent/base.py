"""What every role's agent does: receive, time, send, apply, answer."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any

from mrouter import __version__
from mrouter.agent.journal import note, note_exception
from mrouter.agent.memory import MemoryFile
from mrouter.agent.messenger import Messenger
from mrouter.agent.path_mtu import PathMtuWatch, TunnelKnowledge
from mrouter.agent.privileges import require_capabilities
from mrouter.agent.serve_metrics import serve_metrics
from mrouter.control import ControlError, ControlServer
from mrouter.dataplane import marks
from mrouter.dataplane.linux import LinuxDataplane, choose_encapsulation
from mrouter.dataplane.state import Encapsulation
from mrouter.errors import DataplaneError, MrouterError
from mrouter.links.monitor import LinkMonitor
from mrouter.links.snapshot import read_snapshot
from mrouter.netlink import RouteSocket
from mrouter.protocol.events import (
    BindingsChanged,
    Counted,
    Instant,
    Noted,
    SendDiscovery,
    SendPacket,
    TimerFired,
)
from mrouter.protocol.keygen_tokens import AuthorizationSigner
from mrouter.wire.format import WireFormat
from mrouter.wire.tunnelled import TunnelledPacket

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address

    from mrouter.config.model import Config
    from mrouter.dataplane.state import DataplaneState
    from mrouter.links.outer_sender import Tunnel
    from mrouter.protocol.events import Effect, Event
    from mrouter.wire.messages import Packet
    from mrouter.wire.packet import Signer

#: So many packets are handled before their kernel changes are made in one go.
_RECEIVE_BATCH = 256
#: Changes of links come in swarms (an address, then its routes): wait this long, in seconds.
_LINK_SETTLE = 0.003
#: How long after a failed kernel update, or a mistake of ours, to try again, in seconds.
_RETRY = 1.0
#: How long what changes with every refresh may stay unsaved, in seconds.
_SAVE_DELAY = 0.5

#: Packets and bytes by the name of the kernel's counter; and of one that is not there.
Traffic = dict[str, dict[str, int]]
NO_TRAFFIC = {"packets": 0, "bytes": 0}


class Agent(ABC):
    """One role in one network namespace."""

    role_name: str

    def __init__(self, config: Config, owner: str) -> None:
        """Open the sockets and look at the kernel; ``owner`` tells whose bindings are saved.

        :raises DataplaneError: where a privilege or a kernel feature is missing.
        """
        require_capabilities()
        self._config = config
        self._memory = MemoryFile(config.control_socket, f"{self.role_name} {owner}")
        self._started_at = time.time()
        self._events: Counter[tuple[str, str]] = Counter()
        self._messenger = Messenger(WireFormat(config.dialect, config.coainfo_type), self._events)
        self._routes = RouteSocket()
        self._monitor = LinkMonitor(marks.PROTOCOL)
        wanted = Encapsulation.__members__.get(config.encapsulation.name)
        self._encapsulation = choose_encapsulation(wanted)
        self._dataplane = LinuxDataplane()
        tunnels = TunnelKnowledge(self._find_path_mtu, self._find_tunnel, self._on_path_mtu)
        self._path_mtus = PathMtuWatch(self._encapsulation, tunnels, self._events)
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._link_timer: asyncio.TimerHandle | None = None
        self._save_timer: asyncio.TimerHandle | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._updates: Counter[str] = Counter({"ok": 0, "failed": 0})
        self._snapshot = read_snapshot(self._routes)

    # --- what a role adds ---------------------------------------------------------------

    @abstractmethod
    def _handle(self, event: Event, now: Instant) -> list[Effect]:
        """Hand ``event`` to the role."""

    @abstractmethod
    def _next_deadline(self) -> float | None:
        """Return the role's next deadline, monotonic seconds."""

    @abstractmethod
    def _build(self) -> DataplaneState:
        """Build the whole desired kernel state from the role's bindings and the snapshot."""

    @abstractmethod
    def _describe(self, counters: Traffic) -> dict[str, Any]:
        """Return the role's own part of the status; ``counters`` are the kernel's by name."""

    @abstractmethod
    async def _reload(self) -> list[Event]:
        """Read again what may change while running, and return what the role is told of it.

        :raises FileError: if a file is wrong; then nothing has changed.
        """

    @abstractmethod
    def _find_path_mtu(self, packet: TunnelledPacket) -> int | None:
        """Return what the path of ``packet`` is believed to take; None if it was not sent here."""

    @abstractmethod
    def _find_tunnel(self, slot: int, destination: IPv6Address) -> Tunnel | None:
        """Return the tunnel by which a packet for ``destination`` goes that has ``slot``."""

    def _find_signer(self, home_address: IPv6Address, packet: Packet) -> Signer | None:
        """Return the signer for messages about ``home_address``."""
        return None

    def _remember(self) -> Any:
        """Return what is to be saved for the next run, as JSON can carry it; None for nothing."""
        return None

    def _read_rejected(self, packet: TunnelledPacket) -> list[Event]:
        """Return what a tunnelled packet means that our rules have dropped and reported."""
        return []

    def _find_interface(self, link: str | None) -> str | None:
        """Return the interface of egress link ``link``."""
        return link

    def _links_changed(self) -> list[Event]:
        """Tell the role of a new snapshot."""
        return []

    def _forwarding_failed(self, sends: list[SendPacket]) -> list[SendPacket]:
        """Return what to send instead of ``sends`` as the kernel update has failed."""
        return sends

    def _forwarding_succeeded(self) -> None:  # noqa: B027 - not every role takes note
        """Take note that the kernel holds the role's bindings as they are now."""

    def _act(self, effect: Effect) -> None:  # noqa: B027 - most roles ask for nothing else
        """Do what only this role asks for; the kernel holds its bindings by now."""

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:  # noqa: B027
        """Begin to watch what only this role watches."""

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:  # noqa: B027
        """End what ``_open`` began."""

    def _start_events(self) -> list[Event]:
        """Return what the role is told first of all."""
        return []

    def _stop_events(self) -> list[Event]:
        """Return what the role is told before the agent ends."""
        return []

    async def _answer(self, command: str) -> Any:
        """Answer a control command.

        :raises ControlError: if the command is unknown.
        """
        if command == "status":
            return self.describe()
        raise ControlError(f"unknown command {command!r}: status")

    # --- the loop -----------------------------------------------------------------------

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; what stands in the kernel then goes on forwarding."""
        loop = asyncio.get_running_loop()
        control = ControlServer(self._config.control_socket, self._answer)
        await control.start()
        loop.set_exception_handler(self._on_internal_error)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        loop.add_reader(self._messenger.fileno(), self._on_packets)
        loop.add_reader(self._monitor.fileno(), self._on_link_news)
        self._path_mtus.open(loop)
        self._open(loop)
        note("started", role=self.role_name, version=__version__)
        metrics = None
        try:
            self._process([*self._start_events(), *self._links_changed()], apply=True)
            metrics = serve_metrics(self._config.metrics, self.describe, loop)
            await self._stopped.wait()
            self._process(self._stop_events())
            self._save()
        finally:
            loop.remove_reader(self._messenger.fileno())
            loop.remove_reader(self._monitor.fileno())
            self._path_mtus.close(loop)
            self._close(loop)
            if metrics is not None:
                await asyncio.to_thread(metrics.stop)
            await control.stop()
            self._dataplane.close()
            self._messenger.close()
            self._monitor.close()
            self._routes.close()
            note("stopped", role=self.role_name)

    def describe(self) -> dict[str, Any]:
        """Return the status: what ``mrouter status --json`` prints and the metrics show."""
        counters = {
            name: {"packets": packets, "bytes": octets}
            for name, (packets, octets) in self._read_counters().items()
        }
        return {
            "version": __version__,
            "role": self.role_name,
            "started": self._started_at,
            "uptime": time.time() - self._started_at,
            "events": [
                {"event": event, "reason": reason, "count": count}
                for (event, reason), count in sorted(self._events.items())
            ],
            **self._messenger.describe(),
            "dataplane": {
                "encapsulation": self._encapsulation.value,
                "updates": dict(self._updates),
                "counters": counters,
            },
            "bicast": {
                "copies": counters.get("bicast_copies", NO_TRAFFIC)["packets"],
                "duplicates_dropped": counters.get("duplicates_dropped", NO_TRAFFIC)["packets"],
            },
            **self._describe(counters),
        }

    def _read_counters(self) -> dict[str, tuple[int, int]]:
        """Return the kernel's counters, none while nothing of ours stands in the kernel."""
        try:
            return self._dataplane.read_counters()
        except DataplaneError:
            return {}

    def _now(self) -> Instant:
        return Instant(time.monotonic(), time.time())

    def _on_packets(self) -> None:
        events: list[Event] = []
        for incoming in self._messenger.receive(_RECEIVE_BATCH, self._local_addresses):
            if isinstance(incoming, TunnelledPacket):
                events += self._read_rejected(incoming)
            else:
                events.append(incoming)
        self._process(events)

    def _on_internal_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Go on after a mistake of ours: what stands is refreshed, and ends in its time."""
        self._note_mistake(context.get("exception") or RuntimeError(context["message"]))
        if self._timer is None:
            self._timer = loop.call_later(_RETRY, self._on_timer)

    def _note_mistake(self, error: BaseException) -> None:
        note_exception("internal-error", error)
        self._events["internal-error", type(error).__name__] += 1

    def _on_timer(self) -> None:
        self._timer = None
        self._process([TimerFired()])

    def _on_path_mtu(self) -> None:
        self._process([], apply=True)

    def _on_link_news(self) -> None:
        if self._monitor.drain() and self._link_timer is None:
            loop = asyncio.get_running_loop()
            self._link_timer = loop.call_later(_LINK_SETTLE, self._on_links_settled)

    def _on_links_settled(self) -> None:
        self._link_timer = None
        snapshot = read_snapshot(self._routes)
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            # the kernel takes routes away with their interface: compare with what it holds
            self._process(self._links_changed(), apply=True)
            self._apply(verify=True)

    def _on_hangup(self) -> None:
        self._reloading = asyncio.get_running_loop().create_task(self._reload_safely())

    async def _reload_safely(self) -> None:
        try:
            events = await self._reload()
        except MrouterError as error:
            note("reload-refused", logging.ERROR, error=str(error))
            return
        note("reloaded")
        self._process(events, apply=True)

    def _process(self, events: Iterable[Event], *, apply: bool = False) -> None:
        """Handle ``events``, then change the kernel once, then send what is to be sent."""
        sends: list[SendPacket] = []
        acts: list[Effect] = []
        changed = False
        mistaken = False
        for event in events:
            try:
                changed = self._perform(self._handle(event, self._now()), sends, acts) or changed
            except Exception as error:
                self._note_mistake(error)
                mistaken = True
        if (apply or changed) and not self._apply():
            sends = self._forwarding_failed(sends)
        if changed:
            self._save()  # before an acknowledgement promises it
        elif self._save_timer is None:
            loop = asyncio.get_running_loop()
            self._save_timer = loop.call_later(_SAVE_DELAY, self._save)
        for effect in sends:
            self._send(effect)
        for act in acts:
            self._act(act)
        self._set_timer(earliest=_RETRY if mistaken else 0.0)

    def _perform(
        self, effects: Iterable[Effect], sends: list[SendPacket], acts: list[Effect]
    ) -> bool:
        changed = False
        for effect in effects:
            if isinstance(effect, SendPacket):
                sends.append(effect)
            elif isinstance(effect, BindingsChanged):
                changed = True
            elif isinstance(effect, SendDiscovery):
                self._messenger.send_discovery(effect, self._find_interface(effect.link))
            elif isinstance(effect, Counted):
                self._events[effect.what, effect.reason] += 1
            elif isinstance(effect, Noted):
                note(effect.name, **dict(effect.fields))
            else:
                acts.append(effect)
        return changed

    def _apply(self, *, verify: bool = False) -> bool:
        try:
            self._dataplane.apply(self._build(), verify=verify)
        except DataplaneError as error:
            self._updates["failed"] += 1
            note("dataplane-failed", logging.ERROR, error=str(error))
            if self._retry is None:
                loop = asyncio.get_running_loop()
                self._retry = loop.call_later(_RETRY, self._on_retry)
            return False
        self._updates["ok"] += 1
        self._forwarding_succeeded()
        return True

    def _on_retry(self) -> None:
        self._retry = None
        self._process([], apply=True)

    def _save(self) -> None:
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        content = self._remember()
        if content is not None:
            self._memory.save(content)

    def _set_timer(self, *, earliest: float = 0.0) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._next_deadline()
        if deadline is not None:
            delay = max(earliest, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _send(self, effect: SendPacket) -> None:
        signer: Signer | None = None
        if effect.authorization is not None:
            signer = AuthorizationSigner(effect.authorization)
        elif effect.key_for is not None:
            signer = self._find_signer(effect.key_for, effect.packet)
        self._messenger.send(effect, signer, self._find_interface(effect.link))

    @property
    def _local_addresses(self) -> frozenset[IPv6Address]:
        return frozenset(item.address for item in self._snapshot.addresses)
