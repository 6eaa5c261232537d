"""Links and addresses that come and go: the home agent's bindings follow."""

from __future__ import annotations

import os
from ipaddress import IPv6Address

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, wait_until

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
ADDRESSES = {link.name: link.care_of_address for link in plan.EGRESS_LINKS}
ALL = list(ADDRESSES.values())
LTE, WIFI, SAT = ALL
SECOND = LTE + 0x10
SOON = 1.0
CN = str(plan.CN_ADDRESS)


@pytest.fixture
def lab(lab_of_three_links):
    return lab_of_three_links


def test_a_cut_link_is_deregistered_over_another_and_comes_back_with_a_new_ifid(lab):
    before = lab.bindings()
    lab.topology.cut("lte")
    lab.await_care_of_addresses([WIFI, SAT], timeout=SOON)
    assert lab.links()["lte"]["reason"] == "no carrier"

    lab.topology.restore("lte")
    lab.await_care_of_addresses(ALL)
    after = lab.bindings()
    assert after[LTE]["ifid"] != before[LTE]["ifid"]
    assert {a: after[a]["ifid"] for a in (WIFI, SAT)} == {a: before[a]["ifid"] for a in (WIFI, SAT)}


def test_all_links_cut_and_one_restored(lab):
    stream_links = ("lte", "wifi", "sat")
    for link in stream_links:
        lab.topology.cut(link)
    wait_until(lambda: not any(link["up"] for link in lab.links().values()))

    lab.topology.restore("sat")
    # what was lost with the last link is made good over the first that comes back
    lab.await_care_of_addresses([SAT])

    for link in ("lte", "wifi"):
        lab.topology.restore(link)


def test_an_address_that_is_removed_is_deregistered(lab):
    lab.ip("mr", f"addr del {WIFI}/64 dev wifi0")
    lab.await_care_of_addresses([LTE, SAT], timeout=SOON)

    lab.ip("mr", f"addr add {WIFI}/64 dev wifi0 nodad")


def test_a_deprecated_address_is_no_care_of_address(lab):
    lab.ip("mr", f"addr change {LTE}/64 dev lte0 preferred_lft 0")
    lab.await_care_of_addresses([WIFI, SAT], timeout=SOON)
    assert lab.links()["lte"]["reason"] == "address deprecated"

    lab.ip("mr", f"addr change {LTE}/64 dev lte0 preferred_lft forever")


def test_a_tentative_address_is_registered_when_it_has_proved_unique(lab):
    lab.ip("mr", f"addr del {WIFI}/64 dev wifi0")
    lab.await_care_of_addresses([LTE, SAT])
    lab.sysctl("mr", "wifi0.accept_dad", 1)
    lab.sysctl("mr", "wifi0.dad_transmits", 2)
    try:
        lab.ip("mr", f"addr add {WIFI}/64 dev wifi0")
        seen = set()

        def look():
            shown = lab.topology.execute("mr", ["ip", "-6", "addr", "show", "dev", "wifi0"]).stdout
            tentative = any(str(WIFI) in row and "tentative" in row for row in shown.splitlines())
            # asked for after the address was looked at: tentative then means unregistered then
            registered = WIFI in lab.bindings() if tentative else None
            seen.add((tentative, registered))
            return WIFI in lab.bindings()

        wait_until(look)
        assert (True, False) in seen
        assert (True, True) not in seen
    finally:
        lab.sysctl("mr", "wifi0.accept_dad", 0)


def test_an_address_that_is_taken_by_another_is_never_registered(lab):
    twin = WIFI + 0x20
    lab.sysctl("mr", "wifi0.accept_dad", 1)
    lab.ip("net", f"addr add {twin}/64 dev wifi nodad")
    try:
        lab.ip("mr", f"addr add {twin}/64 dev wifi0")
        wait_until(
            lambda: (
                "dadfailed"
                in lab.topology.execute("mr", ["ip", "-6", "addr", "show", "dev", "wifi0"]).stdout
            )
        )
        assert twin not in lab.bindings()
        assert lab.links()["wifi"]["addresses"] == [str(WIFI)]
    finally:
        lab.sysctl("mr", "wifi0.accept_dad", 0)
        lab.ip("mr", f"addr del {twin}/64 dev wifi0")
        lab.ip("net", f"addr del {twin}/64 dev wifi")


def read_outer_source(data):
    return IPv6Address(data[8:24]) if data[6] == 41 else None


def test_a_second_address_of_an_interface_has_its_own_binding_and_its_own_tunnel(lab):
    sniffer = lab.sniffer("net", "lte")
    lab.ip("mr", f"addr add {SECOND}/64 dev lte0 nodad")
    lab.await_care_of_addresses([*ALL, SECOND])
    bindings = lab.bindings()
    for name in ("ifid", "slot"):
        assert len({binding[name] for binding in bindings.values()}) == 4

    # what has no policy of its own takes lte's first address
    stream = lab.stream(1.0)
    assert sniffer.find(read_outer_source) == LTE
    assert stream.result() == [(0, 0), (0, 0)]

    lab.ip("mr", f"addr del {LTE}/64 dev lte0")
    lab.await_care_of_addresses([SECOND, WIFI, SAT])
    sniffer = lab.sniffer("net", "lte")
    stream = lab.stream(1.0)
    assert sniffer.find(read_outer_source) == SECOND
    assert stream.result() == [(0, 0), (0, 0)]

    lab.ip("mr", f"addr add {LTE}/64 dev lte0 nodad")
    lab.await_care_of_addresses([*ALL, SECOND])
    lab.ip("mr", f"addr del {SECOND}/64 dev lte0")


def test_an_interface_that_appears_later_is_used(lab):
    sat = plan.find_link("sat")
    lab.ip("mr", "link set sat0 down")
    lab.ip("mr", "link set sat0 name away0")
    wait_until(lambda: lab.links()["sat"]["reason"] == "no such interface")
    lab.await_care_of_addresses([LTE, WIFI])

    lab.ip("mr", "link set away0 name sat0")
    lab.ip("mr", "link set sat0 up")
    lab.ip("mr", f"route replace default via {sat.gateway} dev sat0 metric {sat.metric}")
    lab.await_care_of_addresses(ALL)
    assert lab.topology.execute("lfn", ["ping", "-6", "-c", "3", "-i", "0.1", CN]).returncode == 0


def test_a_mobile_router_that_starts_with_no_interface_up_waits_for_one(lab):
    interfaces = ["lan0", *(link.interface for link in plan.EGRESS_LINKS)]
    lab.end(MOBILE_ROUTER)
    (lab.directory / "mr.sock.state").unlink()
    for interface in interfaces:
        lab.ip("mr", f"link set {interface} down")
    # as on a machine that has just started: nothing of ours in the kernel
    lab.topology.execute("mr", ["nft", "delete", "table", "ip6", "mrouter"])

    lab.launch(MOBILE_ROUTER)
    wait_until(lambda: lab.answers(MOBILE_ROUTER))
    wait_until(lambda: "none of lan0, lte0, wifi0, sat0 is" in lab.log(MOBILE_ROUTER))
    assert "mrouter_link_up" in lab.scrape("mr")

    for interface in interfaces:
        lab.ip("mr", f"link set {interface} up")
    for link in plan.EGRESS_LINKS:
        lab.ip(
            "mr",
            f"route replace default via {link.gateway} dev {link.interface} metric {link.metric}",
        )
    lab.await_care_of_addresses(ALL)


def test_a_home_agent_whose_interface_goes_down_for_a_while_comes_back(lab):
    lab.ip("ha", "link set wan0 down")
    wait_until(lambda: "no interface that is up has" in lab.log(HOME_AGENT))
    lab.ip("ha", "link set wan0 up")
    lab.ip("ha", f"route replace default via {plan.HA_GATEWAY}")

    wait_until(
        lambda: (
            lab.topology.execute(
                "lfn", ["ping", "-6", "-c", "1", "-W", "1", CN], check=False
            ).returncode
            == 0
        )
    )
    assert set(lab.bindings()) == set(ALL)
