"""The home agent's lists of flow bindings, one a home address (RFC 6089 §5.3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mrouter.protocol.flow_bindings import MAX_FLOW_BINDINGS, FlowBinding
from mrouter.protocol.keys import from_ntp_timestamp
from mrouter.wire.constants import FlowStatus
from mrouter.wire.flow_codec import serialize_flow_identification
from mrouter.wire.options import FlowIdentification, FlowSummary
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from ipaddress import IPv6Address

    from mrouter.protocol.home_registration import Request
    from mrouter.protocol.settings import ServedMobileRouter
    from mrouter.wire.options import MobilityOption


#: Octets that answers about flow bindings may take, so that a link of 1280 octets passes them.
_ANSWER_OCTETS = 1040
#: Octets of the answer to a FID that is not known.
_UNKNOWN_OCTETS = 8


class _Rejection(Exception):  # noqa: N818 - not an error
    """A Flow Identification is to be answered with ``status``."""

    def __init__(self, status: FlowStatus) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass(slots=True)
class _FlowList:
    """One home address's flow bindings by FID, and the Unix time of what was last taken in."""

    flows: dict[int, FlowBinding] = field(default_factory=dict)
    taken_at: float | None = None


class FlowTable:
    """All flow bindings, and an immutable snapshot of them."""

    def __init__(self) -> None:
        self._lists: dict[IPv6Address, _FlowList] = {}
        self._snapshot: tuple[FlowBinding, ...] | None = ()

    @property
    def flows(self) -> tuple[FlowBinding, ...]:
        """All flow bindings, by home address and priority; the same object until one changes."""
        if self._snapshot is None:
            self._snapshot = tuple(
                flow
                for home in sorted(self._lists)
                for flow in sorted(self._lists[home].flows.values(), key=lambda flow: flow.priority)
            )
        return self._snapshot

    def count(self, home_address: IPv6Address) -> int:
        """Return how many a home address has."""
        kept = self._lists.get(home_address)
        return 0 if kept is None else len(kept.flows)

    def list_timestamps(self) -> Iterator[tuple[IPv6Address, float]]:
        """Yield (home address, Unix seconds) of each last Binding Update that was taken in."""
        for home_address, kept in self._lists.items():
            if kept.taken_at is not None:
                yield home_address, kept.taken_at

    def restore(
        self, flows: Iterable[FlowBinding], timestamps: Iterable[tuple[IPv6Address, float]]
    ) -> None:
        """Take over what a former run had."""
        for flow in flows:
            self._find(flow.home_address).flows[flow.fid] = flow
        for home_address, moment in timestamps:
            self._find(home_address).taken_at = moment
        self._snapshot = None

    def drop(self, home_address: IPv6Address) -> None:
        """Forget all of a home address: its last binding has ended."""
        kept = self._lists.get(home_address)
        if kept is not None and kept.flows:
            kept.flows = {}
            self._snapshot = None

    def take(
        self,
        request: Request,
        router: ServedMobileRouter,
        ifids: Collection[int | None],
    ) -> tuple[bool, list[MobilityOption]]:
        """Take in what an accepted Binding Update says of flow bindings.

        Those that it names stay, or are put in; all others of the home address go (RFC 6089
        §5.3.4). ``ifids`` are the bindings that stand now. Return whether anything changed, and
        the options for the answer.
        """
        home = request.home_address
        mine = self._find(home)
        if _is_overtaken(request, mine):
            return False, []
        known = mine.flows
        options = request.update.options
        summaries = [option for option in options if isinstance(option, FlowSummary)]
        asked = [option for option in options if isinstance(option, FlowIdentification)]
        if not known and not summaries and not asked:
            return False, []
        kept = {fid for summary in summaries for fid in summary.fids}
        answers: list[MobilityOption] = []
        changes: dict[int, FlowBinding] = {}
        if asked:
            changes, statuses = _decide(home, asked, known, kept, router, ifids)
            # "the home agent SHOULD copy each flow identification mobility option received in the
            # binding update and set its status code" (RFC 6089 §5.3.5)
            answers += [
                replace(option, status=status)
                for option, status in zip(asked, statuses, strict=True)
            ]
        named = {option.fid for option in asked}
        answers += _report_unknown(kept.difference(known, named), answers)
        named |= kept
        fresh = {fid: flow for fid, flow in known.items() if fid in named} | changes
        if fresh != known:
            mine.flows = fresh
            self._snapshot = None
        return fresh != known, answers

    def _find(self, home_address: IPv6Address) -> _FlowList:
        kept = self._lists.get(home_address)
        if kept is None:
            kept = self._lists[home_address] = _FlowList()
        return kept


def _is_overtaken(request: Request, kept: _FlowList) -> bool:
    """Tell whether a later Binding Update, over another link, was taken in before.

    Deviates from RFC 6089 §5.3.4, which takes each in as it comes: it would bring back an older
    list, that no later Binding Update need correct before the next refresh.
    """
    if request.timestamp is None:
        return False
    moment = from_ntp_timestamp(request.timestamp)
    if kept.taken_at is not None and moment < kept.taken_at:
        return True
    kept.taken_at = moment
    return False


def _report_unknown(
    fids: Collection[int], answers: Iterable[MobilityOption]
) -> Iterator[FlowIdentification]:
    """Yield the answers to FIDs of a summary that are not known, beside ``answers``.

    Deviates from RFC 6089 §5.3.3, which has one for each, where they are too many for the answer:
    the next refresh tells of more.
    """
    if not fids:
        return
    options = [each for each in answers if isinstance(each, FlowIdentification)]
    room = _ANSWER_OCTETS - sum(len(serialize_flow_identification(each)) for each in options)
    for fid in sorted(fids)[: max(0, room // _UNKNOWN_OCTETS)]:
        yield FlowIdentification(fid, 0, status=FlowStatus.FID_NOT_FOUND)


def may_steer(selector: TrafficSelector, router: ServedMobileRouter) -> bool:
    """Tell whether ``selector`` is about packets to nobody but ``router`` and its network."""
    if selector.destination is None:
        return True
    first, last = selector.destination
    if first == last == router.home_address:
        return True
    return any(first in prefix and last in prefix for prefix in router.prefixes)


def _decide(
    home: IPv6Address,
    asked: Sequence[FlowIdentification],
    known: Mapping[int, FlowBinding],
    kept: Collection[int],
    router: ServedMobileRouter,
    ifids: Collection[int | None],
) -> tuple[dict[int, FlowBinding], list[FlowStatus]]:
    """Return the flow bindings to put in, by FID, and the status of each of ``asked``."""
    changes: dict[int, FlowBinding] = {}
    statuses: list[FlowStatus] = []
    place: dict[int, int] = {}
    occurrences = Counter(option.fid for option in asked)
    if len(occurrences) < len(asked):
        # "If more than one flow identification mobility option in the same BU has the same value
        # in the FID field, all the flow identification mobility options MUST be rejected" (RFC
        # 6089 §5.3.2).
        return {}, [
            FlowStatus.MALFORMED if occurrences[option.fid] > 1 else FlowStatus.REASON_UNSPECIFIED
            for option in asked
        ]
    named = {option.fid for option in asked} | set(kept)
    room = MAX_FLOW_BINDINGS - sum(fid in known for fid in named)
    for number, option in enumerate(asked):
        fid = option.fid
        try:
            flow = _read(home, option, known.get(fid), router, ifids)
            if fid not in known:
                if room == 0:
                    raise _Rejection(FlowStatus.ADMINISTRATIVELY_PROHIBITED)
                room -= 1
            changes[fid], place[fid] = flow, number
            statuses.append(FlowStatus.ACCEPTED)
        except _Rejection as rejection:
            statuses.append(rejection.status)
    staying = {fid: known[fid] for fid in named if fid in known}
    while (fid_of_clash := _find_clash(staying, changes)) is not None:
        # What is refused leaves the flow binding as it was, which may clash with another.
        del changes[fid_of_clash]
        statuses[place[fid_of_clash]] = FlowStatus.REASON_UNSPECIFIED
    return changes, statuses


def _find_clash(
    staying: Mapping[int, FlowBinding], changes: Mapping[int, FlowBinding]
) -> int | None:
    """Return the first FID of ``changes`` whose priority another flow binding has.

    Each FID-PRI MUST be one flow binding's alone (RFC 6089 §4.2).
    """
    owners = {flow.priority for fid, flow in staying.items() if fid not in changes}
    for fid, flow in changes.items():
        if flow.priority in owners:
            return fid
        owners.add(flow.priority)
    return None


def _read(
    home: IPv6Address,
    option: FlowIdentification,
    known: FlowBinding | None,
    router: ServedMobileRouter,
    ifids: Collection[int | None],
) -> FlowBinding:
    # FID and FID-PRI 0 are reserved and MUST NOT be used (RFC 6089 §4.2).
    if option.malformed or option.fid == 0 or option.priority == 0:
        raise _Rejection(FlowStatus.MALFORMED)
    selector = option.selector
    if isinstance(selector, UnknownSelector):
        raise _Rejection(FlowStatus.SELECTOR_NOT_SUPPORTED)
    chosen = option.ifids
    if known is None:
        # A new one without either sub-option, or with a BID that there is not: 130 and 131 (RFC
        # 6089 §5.3.2.1).
        if selector is None or not chosen:
            raise _Rejection(FlowStatus.MALFORMED)
        if any(ifid not in ifids for ifid in chosen):
            raise _Rejection(FlowStatus.BID_NOT_FOUND)
    else:
        # What a known one does not say stays; its BIDs "MUST be replaced by the BIDs in the
        # sub-option", whatever they are (RFC 6089 §5.3.2.2).
        selector = selector or known.selector
        chosen = chosen or known.ifids
    if not may_steer(selector, router):
        raise _Rejection(FlowStatus.ADMINISTRATIVELY_PROHIBITED)
    return FlowBinding(home, option.fid, option.priority, chosen, selector)
