"""The mobile router's flow bindings at its home agent (RFC 6089 §5.2).

Every Binding Update names all flow bindings that shall stay: those that the home agent has, by
FID alone in Flow Summary options, and those that are new to it in full. What none of them names
the home agent forgets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import Counted, Noted
from mrouter.protocol.flow_bindings import FlowState
from mrouter.protocol.update_list import INITIAL_BINDACK_TIMEOUT
from mrouter.wire.constants import FlowStatus
from mrouter.wire.options import FlowIdentification, FlowSummary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mrouter.protocol.events import Effect
    from mrouter.protocol.flow_bindings import WantedFlow
    from mrouter.protocol.update_list import Binding
    from mrouter.wire.messages import BindingAcknowledgement
    from mrouter.wire.options import MobilityOption
    from mrouter.wire.traffic_selectors import TrafficSelector

#: Seconds between two Binding Updates about flows for one binding (RFC 6275 §12,
#: MAX_UPDATE_RATE: three a second).
_UPDATE_INTERVAL = 1 / 3
#: Octets of new flow bindings in one Binding Update, so that with 250 others' FIDs, four prefixes
#: of IPv6 and of IPv4 and a Home Address option it passes a link of 1280 octets whole.
_BUDGET = 480
#: FIDs in one Flow Summary option, whose length is one octet.
_SUMMARY_SIZE = 127
#: Octets of a Flow Identification with both its sub-options and all padding, and of each range in
#: its selector.
_FIXED_OCTETS, _ADDRESS_OCTETS, _NUMBER_OCTETS = 26, 32, 8


class _Content(NamedTuple):
    """What one flow binding says; the same content twice is nothing new."""

    ifids: tuple[int, ...]
    selector: TrafficSelector


@dataclass(frozen=True, slots=True)
class FlowRequest:
    """What one Binding Update says of flow bindings: FIDs that stay, and what is new by FID."""

    number: int
    kept: frozenset[int]
    fresh: Mapping[int, _Content] = field(repr=False)


class FlowPusher:
    """What is wanted of the home agent, what it has been told, and what it has accepted."""

    def __init__(self) -> None:
        self._wanted: tuple[WantedFlow, ...] = ()
        self._desired: dict[int, _Content] = {}
        self._accepted: dict[int, _Content] = {}
        self._refused: dict[int, tuple[_Content, int]] = {}
        self._supported = True
        self._number = 0
        self._answered = 0
        self._under_way: frozenset[int] = frozenset()
        self.next_deadline: float | None = None

    @property
    def states(self) -> tuple[FlowState, ...]:
        """Where each of the wanted flows stands, in their order."""
        return tuple(self._describe(fid) for fid in range(1, len(self._wanted) + 1))

    def begin_anew(self) -> None:
        """Tell all once more: the home agent has forgotten what it was told."""
        self._accepted, self._supported = {}, True
        self.retry_refused()

    def retry_refused(self) -> None:
        """Ask once more for what was refused: a binding is new at the home agent."""
        self._refused = {}

    def want(self, flows: tuple[WantedFlow, ...]) -> None:
        """Take over what is wanted from now on, at most ``MAX_FLOW_BINDINGS``."""
        self._wanted = flows

    def choose_carrier(self, bindings: Iterable[Binding], now: float) -> Binding | None:
        """Return the binding to refresh at once, so that the home agent is told what is new.

        ``bindings`` in order of preference. None while there is nothing to tell, or a Binding
        Update that says it is under way. ``next_deadline`` says when to ask again.
        """
        self.next_deadline = None
        bindings = [binding for binding in bindings if not binding.plain]
        ifids: dict[str, int] = {}
        for binding in bindings:
            if binding.usable:
                ifids.setdefault(binding.egress.link, binding.ifid)
        self._resolve(ifids)
        if not self._is_pending() or any(self._is_told_by(binding, now) for binding in bindings):
            return None
        carrier = next((each for each in bindings if each.state is BindingState.REGISTERED), None)
        if carrier is None or carrier.sent_at is None:
            return carrier
        rested_at = carrier.sent_at + _UPDATE_INTERVAL
        if rested_at > now:
            self.next_deadline = rested_at
            return None
        return carrier

    def _is_told_by(self, binding: Binding, now: float) -> bool:
        """Say whether an answer may still come to a Binding Update that says it all."""
        sent_at, request = binding.sent_at, binding.flow_request
        if not binding.awaiting or sent_at is None or request is None:
            return False
        fresh = now < sent_at + INITIAL_BINDACK_TIMEOUT
        return fresh and self._build(request.number)[1] == request

    def _resolve(self, ifids: Mapping[str, int]) -> None:
        """Find what each flow's bindings are while the links ``ifids`` have these usable ones.

        Without any, everything begins anew: the home agent forgets with the last binding.
        """
        if not ifids:
            self.begin_anew()
        self._desired = {}
        for fid, flow in enumerate(self._wanted, start=1):
            chosen = tuple(ifids[link] for link in flow.links if link in ifids)[: flow.copies]
            if chosen:
                self._desired[fid] = _Content(chosen, flow.selector)

    def _is_pending(self) -> bool:
        """Whether the home agent has still to be told something."""
        stale = any(fid not in self._desired for fid in self._accepted)
        return self._supported and (stale or any(True for _ in self._list_fresh()))

    def build(self) -> tuple[list[MobilityOption], FlowRequest | None]:
        """Return the options for the next Binding Update, and what they say; None for nothing."""
        if not self._supported or not (self._desired or self._accepted):
            return [], None
        self._number += 1
        options, request = self._build(self._number)
        self._under_way = frozenset(request.fresh)
        return options, request

    def list_kept(self) -> list[MobilityOption]:
        """Return the options for a de-registration that others outlive (RFC 6089 §5.3.3).

        What is asked for in full by a Binding Update that is under way has to be named as well.
        That one may be overtaken, and is then answered by silence.
        """
        self._number += 1
        known = self._under_way.union(self._accepted) if self._supported else ()
        return _summarize([fid for fid in sorted(known) if fid in self._desired])

    def take_answer(
        self, request: FlowRequest | None, acknowledgement: BindingAcknowledgement
    ) -> list[Effect]:
        """Take in what an acceptance of the Binding Update with ``request`` says of flows."""
        if request is None or request.number < self._answered:
            return []
        statuses = {
            option.fid: option.status
            for option in acknowledgement.options
            if isinstance(option, FlowIdentification)
        }
        if request.fresh and not statuses:
            return self._take_silence(request)
        self._answered = request.number
        if request.number == self._number:
            self._under_way = frozenset()
        if not request.fresh:
            # What it has refused for want of a binding it may take by now: one that has lost its
            # memory learns of each with the next refresh.
            self._refused = {
                fid: refusal
                for fid, refusal in self._refused.items()
                if refusal[1] != FlowStatus.BID_NOT_FOUND
            }
        self._accepted = {
            fid: content
            for fid, content in self._accepted.items()
            if fid in request.kept and statuses.get(fid, 0) < FlowStatus.ADMINISTRATIVELY_PROHIBITED
        }
        effects: list[Effect] = []
        for fid, content in request.fresh.items():
            status = statuses.get(fid, FlowStatus.REASON_UNSPECIFIED)
            if status < FlowStatus.ADMINISTRATIVELY_PROHIBITED:
                self._accepted[fid] = content
            else:
                self._refused[fid] = content, status
                effects.append(Counted("flow-binding-refused", _name(status)))
        return effects

    def _take_silence(self, request: FlowRequest) -> list[Effect]:
        """Stop asking a home agent that knows nothing of flow bindings: it skips the options.

        One that knows them answers each that is new (RFC 6089 §5.2.6), and need not answer a
        summary (§5.3.5); it is silent about what a later Binding Update has overtaken.
        """
        if request.number != self._number:
            return []
        self._supported, self._accepted = False, {}
        return [Noted("flow-bindings-not-supported")]

    def _build(self, number: int) -> tuple[list[MobilityOption], FlowRequest]:
        fresh: dict[int, _Content] = {}
        octets = 0
        for fid, content in self._list_fresh():
            octets += _measure(content)
            if fresh and octets > _BUDGET:
                break
            fresh[fid] = content
        kept = [fid for fid in sorted(self._accepted) if fid in self._desired and fid not in fresh]
        options = _summarize(kept)
        options += [
            FlowIdentification(fid, priority=fid, ifids=content.ifids, selector=content.selector)
            for fid, content in fresh.items()
        ]
        return options, FlowRequest(number, frozenset(kept), fresh)

    def _list_fresh(self) -> Iterable[tuple[int, _Content]]:
        for fid, content in self._desired.items():
            refused = self._refused.get(fid)
            if content != self._accepted.get(fid) and (refused is None or refused[0] != content):
                yield fid, content

    def _describe(self, fid: int) -> FlowState:
        desired, accepted = self._desired.get(fid), self._accepted.get(fid)
        if not self._supported:
            return FlowState("not-supported")
        if desired is None:
            return FlowState("no-link")
        if desired == accepted:
            return FlowState("accepted", desired.ifids)
        refused = self._refused.get(fid)
        if refused is not None and refused[0] == desired:
            return FlowState(_name(refused[1]))
        return FlowState("pending")


def _summarize(fids: list[int]) -> list[MobilityOption]:
    return [
        FlowSummary(tuple(fids[start : start + _SUMMARY_SIZE]))
        for start in range(0, len(fids), _SUMMARY_SIZE)
    ]


def _measure(content: _Content) -> int:
    """Return at most how many octets a flow binding takes in a Binding Update."""
    selector = content.selector
    addresses = sum(each is not None for each in (selector.source, selector.destination))
    numbers = sum(
        each is not None
        for each in (
            selector.spi,
            selector.flow_label,
            selector.source_ports,
            selector.destination_ports,
            selector.traffic_class,
            selector.next_header,
        )
    )
    return (
        _FIXED_OCTETS
        + 2 * len(content.ifids)
        + _ADDRESS_OCTETS * addresses
        + _NUMBER_OCTETS * numbers
    )


def _name(status: int) -> str:
    try:
        return FlowStatus(status).name.lower().replace("_", "-")
    except ValueError:
        return "other"
