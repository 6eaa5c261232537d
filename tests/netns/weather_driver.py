"""Link weather for the lab: what happens to which link when, drawn from a seed, and done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random

from mrouter.lab import plan

LINKS = tuple(link.name for link in plan.EGRESS_LINKS)
TROUBLES = ("cut", "no address", "silent up", "silent down", "silent")
#: Seconds that one link is let alone between two troubles, and that one lasts, on average.
MEAN_PAUSE, MEAN_TROUBLE = 12.0, 5.0
#: The table of the drops, in the Internet's namespace.
TABLE = "weather"


@dataclass(frozen=True, slots=True)
class Change:
    """At ``at`` seconds from the start ``link`` has ``trouble``, or none any more."""

    at: float
    link: str
    trouble: str | None


def forecast(seed: int, seconds: float) -> list[Change]:
    """Return the weather of ``seed``; in the end all is well."""
    random = Random(seed)
    changes = []
    for link in LINKS:
        now = random.expovariate(1 / MEAN_PAUSE)
        while now < seconds:
            until = min(now + 0.1 + random.expovariate(1 / MEAN_TROUBLE), seconds)
            changes += [Change(now, link, random.choice(TROUBLES)), Change(until, link, None)]
            now = until + 0.5 + random.expovariate(1 / MEAN_PAUSE)
    return sorted(changes, key=lambda change: change.at)


class WeatherDriver:
    """Makes the weather in a lab, and keeps when each link was good, by the monotonic clock."""

    def __init__(self, lab) -> None:
        self._lab = lab
        self._troubles: dict[str, str] = {}
        now = time.monotonic()
        #: For each link the spans in which it was good; the last one is open.
        self.good: dict[str, list[tuple[float, float]]] = {
            link: [(now, float("inf"))] for link in LINKS
        }
        self.log: list[str] = []
        self._run_nft(
            f"add table ip6 {TABLE}",
            f"add chain ip6 {TABLE} in {{ type filter hook prerouting priority raw; }}",
            f"add chain ip6 {TABLE} out {{ type filter hook postrouting priority raw; }}",
        )

    def make(self, change: Change) -> None:
        """Let ``change`` happen."""
        if change.trouble is None:
            self._end(change.link, self._troubles.pop(change.link))
            self.good[change.link].append((time.monotonic(), float("inf")))
        else:
            self._troubles[change.link] = change.trouble
            begun, _ = self.good[change.link].pop()
            self.good[change.link].append((begun, time.monotonic()))
            self._begin(change.link, change.trouble)
        self.log.append(f"{time.monotonic():.2f} {change.link} {change.trouble or 'good'}")

    def _begin(self, link: str, trouble: str) -> None:
        if trouble == "cut":
            self._lab.ip("net", f"link set {link} down")
        elif trouble == "no address":
            address = plan.find_link(link).care_of_address
            self._lab.ip("mr", f"addr del {address}/64 dev {link}0")
        else:
            self._drop(link, trouble)

    def _end(self, link: str, trouble: str) -> None:
        if trouble == "cut":
            self._lab.topology.restore(link)
        elif trouble == "no address":
            address = plan.find_link(link).care_of_address
            self._lab.ip("mr", f"addr add {address}/64 dev {link}0 nodad")
        else:
            self._run_nft(f"flush chain ip6 {TABLE} in", f"flush chain ip6 {TABLE} out")
            for other, others in self._troubles.items():
                if others.startswith("silent"):
                    self._drop(other, others)

    def _drop(self, link: str, trouble: str) -> None:
        rules = []
        if trouble != "silent down":
            rules.append(f"add rule ip6 {TABLE} in iifname {link} drop")
        if trouble != "silent up":
            rules.append(f"add rule ip6 {TABLE} out oifname {link} drop")
        self._run_nft(*rules)

    def _run_nft(self, *commands: str) -> None:
        text = "\n".join(commands)
        self._lab.topology.execute("net", ["nft", "-f", "-"], input_text=text)
