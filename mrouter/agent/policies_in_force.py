"""The policies that a mobile router obeys: how flows are treated now, and what each has carried."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mrouter.agent.downlink import DownlinkFlow, compile_downlink, describe_downlink
from mrouter.agent.router_status import describe_traffic
from mrouter.agent.timetable import Timetable
from mrouter.agent.usage import UsageLedger
from mrouter.dataplane.balance import BALANCED_SET
from mrouter.dataplane.classify import number_policies
from mrouter.dataplane.steering import LinkFacts, Steering
from mrouter.errors import DataplaneError
from mrouter.policy.model import Choice
from mrouter.policy.resolve import list_choices

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mrouter.dataplane.linux import LinuxDataplane
    from mrouter.dataplane.mobile_router import TunnelPath
    from mrouter.policy.model import PolicyTable
    from mrouter.protocol.events import Instant
    from mrouter.protocol.flow_bindings import FlowState, WantedFlow


class PoliciesInForce:
    """Keeps the policies, the links that they use, and their traffic.

    ``steering`` says what each flow's number means.
    """

    def __init__(
        self,
        policies: PolicyTable,
        now: Instant,
        *,
        push: bool,
        may_weaken: frozenset[str] = frozenset(),
    ) -> None:
        """Obey ``policies`` from ``now`` on; ``push``: the home agent is asked to do the same.

        ``may_weaken`` are the links that may be told of as weak.
        """
        self._may_weaken = may_weaken
        self.timetable = Timetable(policies, now)
        self._bases = number_policies(policies)
        self._needs_probes = _needs_probes(policies)
        self.steering = Steering(self.timetable.active, None, self._bases, may_weaken)
        self._compiled: tuple[DownlinkFlow, ...] = ()
        self._push = push
        self._ledger = UsageLedger()
        self._facts = LinkFacts(frozenset())
        # what the kernel's counters mean
        self._slot_links: dict[int, str] = {}
        self._policy_names: Mapping[int, str] = {}
        self._policy_links: dict[int, tuple[str, ...]] = {}
        self._compile()

    @property
    def table(self) -> PolicyTable:
        """The policies, those whose time it is not among them."""
        return self.timetable.table

    @property
    def next_deadline(self) -> float | None:
        """When to ``update`` if nothing happens before, monotonic seconds."""
        deadlines = (self.steering.next_deadline, self.timetable.next_look_at)
        return min((at for at in deadlines if at is not None), default=None)

    @property
    def needs_probes(self) -> bool:
        """Whether a policy goes by what is measured of links, also where its time is to come."""
        return self._needs_probes

    @property
    def names(self) -> dict[int, str]:
        """The policies' names by the numbers of flows that the kernel has now."""
        return dict(self._policy_names)

    def replace(self, policies: PolicyTable, *, push: bool, now: Instant) -> Callable[[], None]:
        """Obey other ``policies`` from ``now`` on; return what takes that back."""
        former = self.timetable, self._bases, self.steering, self._push, self._compiled
        needed_probes = self._needs_probes

        def take_back() -> None:
            self.timetable, self._bases, self.steering, self._push, self._compiled = former
            self._needs_probes = needed_probes

        self.timetable = Timetable(policies, now)
        self._bases = number_policies(policies)
        self._needs_probes = _needs_probes(policies)
        self._push = push
        self._steer_anew(now)
        return take_back

    def _steer_anew(self, now: Instant) -> None:
        active, former = self.timetable.active, self.steering
        self.steering = Steering(active, former, self._bases, self._may_weaken)
        self.steering.update(self._facts, now.monotonic)
        self._compile()

    def _compile(self) -> None:
        self._compiled = compile_downlink(self.timetable.active) if self._push else ()

    def update(self, facts: LinkFacts, now: Instant, dataplane: LinuxDataplane) -> bool:
        """Take in what is known of the links; return whether a flow is to be treated otherwise.

        Where other policies are in force by now, what ``dataplane`` has counted is added up before.
        """
        self._facts = facts
        if self.timetable.look(now):
            self.count_usage(dataplane)
            self._steer_anew(now)
            return True
        return self.steering.update(facts, now.monotonic)

    # --- the home agent's part --------------------------------------------------------------

    def list_wanted(self) -> tuple[WantedFlow, ...]:
        """Return what the home agent is asked for, by the links in their order of now."""
        order = self.steering.order_links
        orders = {policy.name: order(policy.name) for policy in self.steering.policies.policies}
        return tuple(replace(flow.wanted, links=orders[flow.policy]) for flow in self._compiled)

    def describe_downlink(self, states: Sequence[FlowState]) -> dict[str, str]:
        """Say of each policy where it stands at the home agent."""
        if not self._push:
            return {policy.name: "off" for policy in self.table.policies}
        active = describe_downlink(self.timetable.active, self._compiled, states)
        return {
            policy.name: active.get(policy.name, "not-active") for policy in self.table.policies
        }

    # --- traffic ----------------------------------------------------------------------------

    def count_usage(self, dataplane: LinuxDataplane) -> None:
        """Add up what the kernel has counted since the last time."""
        if not self._policy_names:
            return  # what stands there is of a former run
        try:
            sent = dataplane.read_map_counters("actions")
            balanced = dataplane.read_set_counters(BALANCED_SET)
            received = dataplane.read_set_counters("received")
        except DataplaneError:
            return  # nothing of ours stands in the kernel yet
        self._ledger.add_sent(sent, self._policy_names, self._policy_links)
        for direction, counted in (("uplink", balanced), ("downlink", received)):
            self._ledger.add_by_slot(direction, counted, self._policy_names, self._slot_links)

    def take_effect(self, paths: Iterable[TunnelPath], up: Collection[str]) -> None:
        """Take note that the kernel does as it is told; its counters mean that from now on."""
        self._slot_links = {path.slot: path.link for path in paths}
        self._policy_names = self.steering.names
        balanced = self.steering.list_balanced()
        self._policy_links = {
            number: links
            for number, links in self.steering.list_links(up).items()
            if number not in balanced
        }

    def describe(
        self, up: Collection[str], states: Sequence[FlowState], now: float
    ) -> dict[str, Any]:
        """Return the status of policies and their traffic, as JSON can carry it."""
        traffic = describe_traffic(self._ledger)
        active, downlink = self.steering.list_links(up), self.describe_downlink(states)
        packets: dict[str, int] = {}
        octets: dict[str, int] = {}
        for row in traffic:
            packets[row["policy"]] = packets.get(row["policy"], 0) + row["packets"]
            octets[row["policy"]] = octets.get(row["policy"], 0) + row["bytes"]
        return {
            "measures": {
                choice.value: dict(levels) for choice, levels in self._facts.measures.items()
            },
            "policies": [
                {
                    "name": policy.name,
                    "links": list(policy.action.links),
                    "active": list(active.get(self.steering.numbers[policy.name], ())),
                    "held": self.steering.list_held(policy, now),
                    "downlink": downlink[policy.name],
                    "packets": packets.get(policy.name, 0),
                    "bytes": octets.get(policy.name, 0),
                }
                for policy in self.table.policies
            ],
            "policy_traffic": traffic,
        }


def _needs_probes(table: PolicyTable) -> bool:
    measured = {Choice.LOWEST_LATENCY, Choice.LOWEST_LOSS}
    return any(measured & list_choices(policy.action) for policy in table.policies)
