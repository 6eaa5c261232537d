"""New addresses on links that stay: renumbering, optimistic addresses, a router that changes."""

from __future__ import annotations

import os
from contextlib import contextmanager
from ipaddress import IPv6Address

import pytest
from agent_lab import wait_until

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
LTE, WIFI, SAT = (link.care_of_address for link in plan.EGRESS_LINKS)
NEW = LTE + 0x30


@pytest.fixture
def lab(lab_of_three_links):
    return lab_of_three_links


@contextmanager
def detect_duplicates(lab, **switches):
    """Have new addresses of lte prove that they are unique, which takes a second."""
    switches = {"accept_dad": 1, "dad_transmits": 1, **switches}
    for name, value in switches.items():
        lab.sysctl("mr", f"lte0.{name}", value)
    try:
        yield
    finally:
        for name in switches:
            lab.sysctl("mr", f"lte0.{name}", 0)


def is_tentative(lab, address):
    shown = lab.topology.execute("mr", ["ip", "-6", "addr", "show", "dev", "lte0"]).stdout
    return any(str(address) in row and "tentative" in row for row in shown.splitlines())


def read_outer_source(data):
    return IPv6Address(data[8:24]) if data[6] == 41 else None


def test_a_renumbered_link_keeps_its_old_address_until_the_new_one_is_registered(lab):
    stream = lab.stream(3.0)
    seen = set()
    with detect_duplicates(lab):
        lab.ip("mr", f"addr add {NEW}/64 dev lte0")
        lab.ip("mr", f"addr change {LTE}/64 dev lte0 preferred_lft 0")

        def look():
            tentative, bound = is_tentative(lab, NEW), set(lab.bindings())
            seen.add((tentative, LTE in bound, NEW in bound))
            return {LTE, NEW} & bound == {NEW}

        wait_until(look)
    assert (True, True, False) in seen
    assert not {each for each in seen if not each[1] and not each[2]}
    assert stream.result() == [(0, 0), (0, 0)]

    sniffer = lab.sniffer("net", "lte")
    stream = lab.stream(1.0)
    assert sniffer.find(read_outer_source) == NEW
    assert stream.result() == [(0, 0), (0, 0)]
    lab.ip("mr", f"addr change {LTE}/64 dev lte0 preferred_lft forever")
    lab.ip("mr", f"addr del {NEW}/64 dev lte0")


def test_a_deprecated_address_is_used_while_every_other_link_is_away(lab):
    lab.ip("mr", f"addr change {LTE}/64 dev lte0 preferred_lft 0")
    lab.await_care_of_addresses([WIFI, SAT])
    for link in ("wifi", "sat"):
        lab.topology.cut(link)
    lab.await_care_of_addresses([LTE])

    lab.topology.restore("sat")
    lab.await_care_of_addresses([SAT])
    lab.topology.restore("wifi")
    lab.ip("mr", f"addr change {LTE}/64 dev lte0 preferred_lft forever")


def test_another_router_on_the_link_takes_over_without_a_loss(lab):
    lte = plan.find_link("lte")
    other = IPv6Address("fe80::77")
    lab.ip("net", f"addr add {other}/64 dev lte nodad")
    stream = lab.stream(2.0)
    lab.ip("mr", f"route add default via {other} dev lte0 metric {lte.metric - 1}")
    wait_until(lambda: lab.links()["lte"]["gateway"] == str(other))
    lab.ip("mr", f"route del default via {lte.gateway} dev lte0")
    assert stream.result() == [(0, 0), (0, 0)]

    # the first one is back, and the other one gone: as when a router's lifetime is over
    stream = lab.stream(2.0)
    lab.ip("mr", f"route add default via {lte.gateway} dev lte0 metric {lte.metric}")
    lab.ip("mr", f"route del default via {other} dev lte0")
    wait_until(lambda: lab.links()["lte"]["gateway"] == str(lte.gateway))
    lab.ip("net", f"addr del {other}/64 dev lte")
    assert stream.result() == [(0, 0), (0, 0)]


def test_an_optimistic_address_is_registered_before_it_has_proved_unique(lab):
    lab.topology.cut("wifi")
    lab.topology.cut("sat")
    seen = []
    with detect_duplicates(lab, optimistic_dad=1, use_optimistic=1, dad_transmits=20):
        lab.ip("mr", f"addr del {LTE}/64 dev lte0")
        wait_until(lambda: not lab.links()["lte"]["up"])
        lab.ip("mr", f"addr add {LTE}/64 dev lte0 optimistic")

        def look():
            bound = LTE in lab.bindings() and lab.links()["lte"]["up"]
            seen.append((bound, is_tentative(lab, LTE)))
            return bound

        wait_until(look)
        stream = lab.stream(0.5)
        assert stream.result() == [(0, 0), (0, 0)]
    assert seen[-1] == (True, True)
    lab.ip("mr", f"addr del {LTE}/64 dev lte0")
    lab.ip("mr", f"addr add {LTE}/64 dev lte0 nodad")
    lab.topology.restore("wifi")
    lab.topology.restore("sat")
