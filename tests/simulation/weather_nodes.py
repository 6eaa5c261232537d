"""The vehicle, its links, and the home agent: what the network between them makes of packets."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from weather_agents import Node
from weather_plan import HOME_AGENT, make_home_config, make_policies, make_router_config

from mrouter.agent.home_agent import HomeAgentAgent
from mrouter.agent.mobile_router import MobileRouterAgent
from mrouter.dataplane import marks
from mrouter.dataplane.mobile_router import choose_paths
from mrouter.links.snapshot import Address, AddressState, Interface, MainRoute, Snapshot

if TYPE_CHECKING:
    from random import Random

    from weather import Weather
    from weather_plan import Kind

    from mrouter.dataplane.mobile_router import TunnelPath
    from mrouter.dataplane.state import DataplaneState
    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.flow_bindings import FlowBinding
    from mrouter.wire.echo import Echo

_ANYWHERE = IPv6Network("::/0")
_ACCESS_NET = int(IPv6Address("2001:db8:1000::"))


@dataclass(eq=False)
class Link:
    """One access link as it really is; troubles may overlap, so they are counted."""

    kind: Kind
    number: int
    random: Random
    cuts: int = 0
    without_address: int = 0
    silent_up: int = 0
    silent_down: int = 0
    losses: list[float] = field(default_factory=list)
    delay: float = 0.0
    hosts: int = 1
    good_since: float | None = 0.0

    def __post_init__(self) -> None:
        self.delay = self.kind.delay

    @property
    def address(self) -> IPv6Address:
        """The care-of address, where there is one."""
        return IPv6Address(_ACCESS_NET + (self.number << 64) + self.hosts)

    @property
    def addresses(self) -> tuple[IPv6Address, ...]:
        return () if self.without_address else (self.address,)

    @property
    def is_good(self) -> bool:
        """Whether nothing at all is wrong with it."""
        return not (
            self.cuts or self.without_address or self.silent_up or self.silent_down or self.losses
        )

    def has(self, address: IPv6Address) -> bool:
        return not self.cuts and address in self.addresses

    def carries_up(self, address: IPv6Address) -> bool:
        """Whether what is sent from ``address`` gets anywhere, but for random loss."""
        return self.has(address) and not self.silent_up

    def carries_down(self, address: IPv6Address) -> bool:
        return self.has(address) and not self.silent_down

    def is_lucky(self) -> bool:
        return not any(self.random.random() < loss for loss in self.losses)


class HomeNode(Node):
    """The home agent's machine, of which the kernel may be out of reach."""

    def __init__(self, weather: Weather) -> None:
        super().__init__(weather)
        self.away = 0
        self.bindings: dict[IPv6Address, CacheEntry] = {}
        self.slots: dict[int, CacheEntry] = {}
        self.flows: tuple[FlowBinding, ...] = ()

    def make_agent(self) -> HomeAgentAgent:
        return HomeAgentAgent(make_home_config())

    def look(self) -> Snapshot:
        interface = Interface(1, "wan0", up=True, carrier=True, mtu=1500)
        return Snapshot({"wan0": interface}, (Address(1, HOME_AGENT, AddressState.PREFERRED),), ())

    def reboot(self) -> None:
        """Lose everything."""
        self.crash()
        self.saved = None
        self.bindings, self.slots, self.flows = {}, {}, ()

    def take_state(self, state: DataplaneState) -> None:
        if self.agent is None:
            return
        entries = self.agent._role.entries
        self.bindings = {entry.care_of_address: entry for entry in entries}
        self.slots = {entry.slot: entry for entry in entries}
        self.flows = self.agent._role.flows
        self.weather.checks.look()

    def send_signalling(self, packet: bytes, interface: str | None) -> None:
        destination = IPv6Address(packet[24:40])
        self.weather.send_down(destination, self.weather.router.receive_signalling, packet)


class RouterNode(Node):
    """The mobile router's machine.

    ``active`` are the links of each number's flows, and ``paths`` the tunnels, as its kernel has
    them; ``names`` the policies' names by number, ``current`` the numbers of new flows.
    """

    def __init__(self, weather: Weather) -> None:
        super().__init__(weather)
        self.policies = make_policies()
        self.paths: dict[str, TunnelPath] = {}
        self.tunnels: dict[int, TunnelPath] = {}
        self.active: dict[int, tuple[str, ...]] = {}
        self.names: dict[int, str] = {}

    def make_agent(self) -> MobileRouterAgent:
        config = make_router_config(self.weather.plan)
        return MobileRouterAgent(config, self.policies, config.policy)

    def look(self) -> Snapshot:
        links = self.weather.links.values()
        interfaces = {
            link.kind.interface: Interface(
                link.number, link.kind.interface, up=True, carrier=not link.cuts, mtu=1500
            )
            for link in links
        }
        interfaces["lan0"] = Interface(99, "lan0", up=True, carrier=True, mtu=1500)
        addresses = tuple(
            Address(link.number, address, AddressState.PREFERRED)
            for link in links
            for address in link.addresses
        )
        gateway = IPv6Address("fe80::1")
        routes = tuple(MainRoute(link.number, _ANYWHERE, gateway, link.number) for link in links)
        return Snapshot(interfaces, addresses, routes)

    def take_state(self, state: DataplaneState) -> None:
        if self.agent is None:
            return
        paths, steering = self.agent._find_paths(), self.agent._policies.steering
        self.paths = choose_paths(paths)
        self.tunnels = {path.slot: path for path in paths}
        self.active = steering.list_links(self.paths)
        self.names = dict(steering.names)
        self.weather.checks.look()

    def send_signalling(self, packet: bytes, interface: str | None) -> None:
        link = self.weather.find_interface(interface)
        if link.cuts:
            raise OSError(101, "Network is unreachable")
        source = IPv6Address(packet[8:24])
        home = self.weather.home
        self.weather.send_up(link, source, home.receive_signalling, packet)

    # --- probes ---------------------------------------------------------------------------

    def send_probe(self, echo: Echo, mark: int) -> None:
        path = self.tunnels.get(marks.slot_of_mark(mark))
        if path is None:
            raise OSError(101, "Network is unreachable")
        link = self.weather.links[path.link]
        address = path.care_of_address
        self.weather.send_up(link, address, self._answer_tunnelled, address, echo)

    def _answer_tunnelled(self, address: IPv6Address, echo: Echo) -> None:
        if address in self.weather.home.bindings:
            self.weather.send_down(address, self._hear, echo)

    def send_probe_outside(self, source: IPv6Address, echo: Echo, interface: str) -> None:
        link = self.weather.find_interface(interface)
        self.weather.send_up(link, source, self.weather.send_down, source, self._hear, echo)

    def _hear(self, echo: Echo) -> None:
        if self.agent is not None:
            self.agent._prober._socket.put((HOME_AGENT, echo))
