"""The lab's network made ready in the ways that forwarding is compared by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address

from mrouter.lab import namespaces, plan
from mrouter.lab.configs import write_configs
from mrouter.lab.daemons import Daemons
from mrouter.lab.topology import Topology

PORT = 9000
"""The destination port of the measured traffic; the last policy of each file is its."""
_FIRST_OTHER_PORT = 10000
_ORDERS = ('["lte", "wifi", "sat"]', '["wifi", "lte", "sat"]', '["sat", "wifi"]')
_LINK = plan.EGRESS_LINKS[0]
_HA_SEGMENT = IPv6Address("2001:db8:5e6::1")
_MR_SEGMENT = IPv6Address("2001:db8:5e6::2")
_UP_TABLE, _DOWN_TABLE = 100, 101


@contextmanager
def build_plain() -> Iterator[Topology]:
    """Forward by ordinary routes along the nodes that a tunnel goes by, without a tunnel."""
    with Topology(shaped=False) as topology:
        _run_ip(
            topology,
            "net",
            f"route add default via {plan.HA_ADDRESS} table {_UP_TABLE}",
            f"rule add iif {_LINK.name} lookup {_UP_TABLE}",
            f"route add default via {_LINK.care_of_address} table {_DOWN_TABLE}",
            f"rule add iif ha to {plan.MOBILE_NETWORK_PREFIX} lookup {_DOWN_TABLE}",
        )
        _run_ip(topology, "ha", f"route add {plan.MOBILE_NETWORK_PREFIX} via {plan.HA_GATEWAY}")
        yield topology


@contextmanager
def build_static() -> Iterator[Topology]:
    """Encapsulate by hand-made routes: no daemon, no nftables, no connection tracking.

    The tunnel's ends are segments of their own instead of the nodes' addresses, so that a route
    is all that decapsulates.
    """
    encapsulate = "encap seg6 mode encap.red segs"
    decapsulate = "encap seg6local action End.DX6 nh6 ::"
    with Topology(shaped=False) as topology:
        _run_ip(
            topology,
            "mr",
            f"route add {plan.CN_ADDRESS} {encapsulate} {_HA_SEGMENT}"
            f" via {_LINK.gateway} dev {_LINK.interface}",
            f"route add {_MR_SEGMENT} {decapsulate} dev {_LINK.interface}",
        )
        _run_ip(
            topology,
            "net",
            f"route add {_HA_SEGMENT} via {plan.HA_ADDRESS}",
            f"route add {_MR_SEGMENT} via {_LINK.care_of_address}",
        )
        _run_ip(
            topology,
            "ha",
            f"route add {plan.MOBILE_NETWORK_PREFIX} {encapsulate} {_MR_SEGMENT} dev wan0",
            f"route add {_HA_SEGMENT} {decapsulate} dev wan0",
        )
        yield topology


@contextmanager
def build_mrouter(policies: str) -> Iterator[Topology]:
    """Let the real agents register all links and steer by the policy file of that text."""
    with Topology(shaped=False) as topology:
        files = write_configs(topology.run_directory)
        files.policy.write_text(policies, encoding="utf-8")
        Daemons(topology, files).start()
        yield topology


def format_policies(count: int) -> str:
    """Write a policy file of ``count`` policies by protocol and port, then a default."""
    ports = [*range(_FIRST_OTHER_PORT, _FIRST_OTHER_PORT + count - 1), PORT]
    policies = [
        _format_policy(number, f'protocol = ["udp", "tcp"], destination-port = {port}', _ORDERS[0])
        for number, port in enumerate(ports)
    ]
    return "\n".join([*policies, '[default]\nlinks = ["wifi", "sat"]\n'])


def format_mixed_policies(count: int) -> str:
    """Write a policy file of ``count`` policies that look at this and that, then a default.

    The last one is that of the measured traffic.
    """
    policies = []
    for number in range(count - 1):
        prefix = f"2001:{0xE00 + (number >> 16):x}:{number & 0xFFFF:x}::/48"
        match = (
            f'protocol = "udp", destination-port = {_FIRST_OTHER_PORT + number}',
            f'destination = "{prefix}"',
            f'protocol = ["tcp", "udp"], destination = "{prefix}", '
            f'destination-port = "{1000 + number}-{1010 + number}"',
            f'source = "2001:db8:a1:1::{number:x}", dscp = "ef"',
        )[number * 4 // count]
        policies.append(_format_policy(number, match, _ORDERS[number % len(_ORDERS)]))
    last = f'protocol = "udp", destination-port = {PORT}'
    policies.append(_format_policy(count - 1, last, _ORDERS[0]))
    return "\n".join([*policies, '[default]\nlinks = ["wifi", "sat"]\n'])


def _format_policy(number: int, match: str, links: str) -> str:
    return f'[[policy]]\nname = "policy-{number}"\nmatch = {{ {match} }}\nlinks = {links}\n'


def _run_ip(topology: Topology, node: plan.NodeName, *lines: str) -> None:
    command = ["ip", "-n", topology.namespace(node), "-6", "-batch", "-"]
    namespaces.run_tool(command, lines)
