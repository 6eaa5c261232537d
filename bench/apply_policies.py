"""Apply a policy file's ruleset, then change a policy: a program that runs in the lab's MR."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mrouter.dataplane.linux import LinuxDataplane
from mrouter.dataplane.mobile_router import MobileRouterView, TunnelPath, build_mobile_router
from mrouter.dataplane.state import DataplaneState, Encapsulation
from mrouter.dataplane.steering import Steering
from mrouter.lab import plan
from mrouter.policy.load import load_policies
from mrouter.policy.model import Drop, PolicyTable


def build(policies: PolicyTable) -> DataplaneState:
    """Build what a mobile router with all of the lab's links wants for ``policies``."""
    steering = Steering(policies)
    links = plan.EGRESS_LINKS
    return build_mobile_router(
        MobileRouterView(
            encapsulation=Encapsulation.SEG6,
            home_agent=plan.HA_ADDRESS,
            home_address=plan.HOME_ADDRESS,
            prefixes=(plan.MOBILE_NETWORK_PREFIX,),
            ingress=("lan0",),
            egress=tuple(link.interface for link in links),
            links=tuple(link.name for link in links),
            paths=tuple(
                TunnelPath(
                    slot, link.name, link.interface, link.care_of_address, link.gateway, 1500, True
                )
                for slot, link in enumerate(links, start=1)
            ),
            local_addresses=(plan.HOME_ADDRESS,),
            device="lan0",
            policies=policies,
            numbers=steering.numbers,
            treatments=steering.treatments,
        )
    )


def change(policies: PolicyTable, position: int) -> PolicyTable:
    """Let the policy at ``position`` drop."""
    changed = list(policies.policies)
    changed[position] = replace(changed[position], action=Drop())
    return PolicyTable(tuple(changed))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench.apply_policies", description=__doc__)
    parser.add_argument("file", type=Path)
    policies = load_policies(parser.parse_args(arguments).file)
    count = len(policies.policies)
    plane = LinuxDataplane()
    seconds = {}
    for name, table in (
        ("first", policies),
        ("last", change(policies, count - 2)),
        ("middle", change(policies, count // 2)),
    ):
        started = time.process_time()
        state = build(table)
        built = time.process_time()
        plane.apply(state)
        seconds[name] = built - started, time.process_time() - built
    json.dump(seconds, sys.stdout)


if __name__ == "__main__":
    main()
