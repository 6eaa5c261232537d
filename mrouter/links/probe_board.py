"""All ways to the home agent side by side: which of them is dead, and which only seems to be.

A way that has fallen silent is dead only if the home agent is alive, which another way has to
vouch for: it has had an answer since. Where none can, the home agent is away, and every way stays
as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.links.link_health import LinkHealth, LinkState
from mrouter.links.probes import TIMINGS, Probe, ProbeProfile, ProbeTrain, Quality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Set
    from random import Random

#: A link's name and one of its care-of addresses.
Way = tuple[str, IPv6Address]

_IDENTIFIERS = 1 << 16


@dataclass(slots=True)
class _Line:
    """One way's entry.

    ``present``: the link is up and has the address. ``usable``: the home agent has a binding for
    it, which flows may take.
    """

    profile: ProbeProfile
    health: LinkHealth
    present: bool = False
    usable: bool = False
    train: ProbeTrain | None = None

    @property
    def is_probed(self) -> bool:
        """Whether there is something to be found out: if it still carries, or does again."""
        return self.present and self.profile is not ProbeProfile.OFF


class ProbeBoard:
    """Every way's probes and health; obey ``next_deadline``. Times are monotonic seconds."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._lines: dict[Way, _Line] = {}
        self._reached: list[Way] = []

    # --- what is known ------------------------------------------------------------------

    def is_down(self, way: Way) -> bool:
        """Say whether ``way`` was found dead, and has not come back."""
        line = self._lines.get(way)
        return line is not None and line.health.state is LinkState.DOWN

    def find_train(self, way: Way) -> ProbeTrain | None:
        """Return the probes of ``way``, None if it never had any."""
        line = self._lines.get(way)
        return None if line is None else line.train

    def find_quality(self, way: Way) -> Quality | None:
        """Return how ``way`` is, None if it never was probed."""
        line = self._lines.get(way)
        if line is None or line.train is None:
            return None
        train = line.train
        return Quality(
            rtt_ms=None if train.rtt is None else 1000 * train.rtt,
            jitter_ms=None if train.jitter is None else 1000 * train.jitter,
            loss=train.loss,
            state=line.health.state,
        )

    # --- what happens -------------------------------------------------------------------

    def follow(
        self, profiles: Mapping[Way, ProbeProfile], usable: Set[Way], now: float
    ) -> list[Way]:
        """Take over which ways there are now, and which of them are ``usable``.

        Return those that are no longer taken for dead, as their profile is another one. A way
        whose link is away is forgotten but for its penalty, and wholly once the link comes back
        with other addresses.
        """
        forgiven = []
        links = {link for link, _address in profiles}
        self._lines = {
            way: line for way, line in self._lines.items() if way in profiles or way[0] not in links
        }
        for way, profile in profiles.items():
            line = self._lines.setdefault(way, _Line(profile, LinkHealth()))
            if line.profile is not profile:
                if line.health.state is LinkState.DOWN:
                    forgiven.append(way)
                line.profile, line.train = profile, None
                line.health.forget()
        for way, line in self._lines.items():
            was_usable, line.usable = line.usable, way in usable
            line.present = way in profiles
            if not line.present:
                line.train = None
                line.health.forget()
            elif line.is_probed and line.train is None:
                self._start(line, now)
            elif line.train is not None and was_usable is not line.usable:
                # into the tunnel, or out of it: another way
                line.train.pause()
                line.train.forget_losses()
        return forgiven

    def take_due(self, now: float, is_idle: Callable[[Way], bool]) -> Iterator[tuple[Way, Probe]]:
        """Yield the probes that are to be sent at ``now``.

        ``is_idle`` is asked about ways that are probed sparingly: does nothing else go by them?
        """
        for way, train in self._list_trains():
            if train.next_at > now:
                continue
            known = train.sent > 0 and train.waiting_since is None and not self.is_down(way)
            if train.timing.sparing and known and not train.is_urgent and is_idle(way):
                train.skip(now)
            else:
                yield way, train.send(now)

    def take_answer(self, probe: Probe, at: float) -> tuple[Way, float | None] | None:
        """Take in the answer to ``probe`` that came at ``at``.

        Return its way and the round-trip time in seconds, which is None if it came too late. None
        if the probe was none of ours.
        """
        for way, train in self._list_trains():
            if train.is_expected(probe):
                if train.is_silent(at) and not self.is_down(way):
                    self._reached.append(way)
                return way, train.take_answer(probe, at)
        return None

    def take_reached(self) -> list[Way]:
        """Return the ways that have answered after a silence since this was asked last.

        What was sent by them meanwhile, to register or to refresh, is lost, and would be repeated
        ever later. Those that were found dead are none of them.
        """
        reached, self._reached = self._reached, []
        return reached

    def knows(self, identifier: int) -> bool:
        """Say whether answers with ``identifier`` are, or pretend to be, to probes of ours."""
        return any(train.identifier == identifier for _way, train in self._list_trains())

    def judge(self, now: float) -> list[Way]:
        """Decide which ways are dead and which are alive again; return whose state has changed.

        Read all answers first.
        """
        probed = [(way, line, line.train) for way, line in self._lines.items() if line.is_probed]
        changed = []
        for way, line, train in probed:
            assert train is not None, "follow() has started it"  # noqa: S101
            train.expire(now)
            if line.health.state is not LinkState.DOWN:
                if line.usable and line.health.weigh(train.loss, train.samples):
                    changed.append(way)
            elif not train.is_doubtful(now) and line.health.rise(
                train.answers_in_row, now, needed_at_once=not self._has_other_way(now)
            ):
                train.forget_losses()
                changed.append(way)
        for way, line, train in probed:
            assert train is not None, "follow() has started it"  # noqa: S101
            if line.health.state is LinkState.DOWN or not line.usable:
                continue
            if train.is_silent(now) and self._is_vouched_for(train, now):
                line.health.fall(now)
                self._start(line, now)
                changed.append(way)
            elif train.is_doubtful(now):
                train.press(now)
                self._ask_others(train, now)
        return list(dict.fromkeys(changed))

    def next_deadline(self, now: float) -> float | None:
        """Return when to send and to ``judge`` again, None for never."""
        moments = []
        for way, train in self._list_trains():
            moments.append(train.next_at)
            later = [self._lines[way].health.held_until]
            if train.waiting_since is not None:
                later += [train.base + train.limit / 2, train.base + train.limit]
            moments += [moment for moment in later if moment > now]
        return min(moments, default=None)

    # --- how it is decided --------------------------------------------------------------

    def _list_trains(self) -> Iterator[tuple[Way, ProbeTrain]]:
        for way, line in self._lines.items():
            if line.train is not None and line.is_probed:
                yield way, line.train

    def _start(self, line: _Line, now: float) -> None:
        taken = {other.train.identifier for other in self._lines.values() if other.train}
        while (identifier := self._random.randrange(_IDENTIFIERS)) in taken:
            pass
        line.train = ProbeTrain(TIMINGS[line.profile], identifier, self._random, now)

    def _list_carrying(self) -> Iterator[_Line]:
        return (
            line
            for line in self._lines.values()
            if line.usable and line.health.state is not LinkState.DOWN
        )

    def _has_other_way(self, now: float) -> bool:
        """Say whether some way carries traffic, for all that is known."""
        return any(
            line.train is None or not line.is_probed or not line.train.is_silent(now)
            for line in self._list_carrying()
        )

    def _is_vouched_for(self, silent: ProbeTrain, now: float) -> bool:
        """Say whether ``silent`` is to be taken for dead: flows have somewhere else to go.

        Another way has had answers without a break for as long as ``silent`` had none, the last
        to a probe that was sent when ``silent`` had missed its first: so the home agent was there.
        Or another way is not probed, so that nobody can say that the home agent is away.
        """
        since = silent.overdue_at
        for line in self._list_carrying():
            if line.profile is ProbeProfile.OFF:
                return True
            train = line.train
            if train is None or since is None or train.answered_until < since:
                continue
            if now - max(silent.base, train.unbroken_since) >= silent.limit:
                return True
        return False

    def _ask_others(self, doubtful: ProbeTrain, now: float) -> None:
        since = doubtful.overdue_at
        if since is None or since > now:
            return
        for line in self._list_carrying():
            if line.train is not None and line.train is not doubtful:
                line.train.hurry(since, now)
