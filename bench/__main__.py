"""``python -m bench``: measure, and write RESULTS.md beside this file. Needs root."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.failover import measure_failover
from bench.forwarding import measure_forwarding
from bench.policies import measure_policies
from bench.report import Section, format_report
from bench.signalling import measure_signalling
from bench.start import measure_start
from mrouter.errors import MrouterError

RESULTS = Path(__file__).with_name("RESULTS.md")
_BENCHMARKS: dict[str, Callable[..., Section]] = {
    "forwarding": measure_forwarding,
    "policies": measure_policies,
    "failover": measure_failover,
    "signalling": measure_signalling,
    "start": measure_start,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about four minutes instead of twelve")
    parser.add_argument(
        "--only", choices=_BENCHMARKS, help="print one benchmark's part, and write no file"
    )
    options = parser.parse_args(arguments)
    names = [options.only] if options.only else list(_BENCHMARKS)
    sections = []
    for name in names:
        started_at = time.monotonic()
        try:
            sections.append(_BENCHMARKS[name](quick=options.quick))
        except MrouterError as error:
            print(f"bench: {name}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("bench: interrupted; everything it made is removed", file=sys.stderr)
            return 130
        print(f"{name}: measured in {time.monotonic() - started_at:.0f} s", flush=True)
    report = format_report(sections, quick=options.quick)
    if options.only:
        print(report)
        return 0
    RESULTS.write_text(report, encoding="utf-8")
    for section in sections:
        for aim, measured, reached in section.verdicts:
            print(f"{'ok  ' if reached else 'MISS'} {section.title}: {aim}: {measured}")
    print(f"written: {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
