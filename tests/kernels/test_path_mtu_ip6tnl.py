"""Debian's kernel: what is too big for ``ip6tnl`` is told, clamped or cut; see ``boot.py``."""

from __future__ import annotations

import time
from ipaddress import IPv6Network

import pytest
from tunnel_lab import HA, MR, TunnelLab, wait_until

from mrouter.lab import plan
from mrouter.lab.bulk import BulkOrder
from mrouter.lab.traffic import bulk_command, bulk_server_command

pytestmark = pytest.mark.kernels

LFN, CN = plan.LFN_ADDRESS, plan.CN_ADDRESS
FAR = {"lfn": CN, "cn": LFN}
SAT = plan.find_link("sat").care_of_address
SECONDS = 5.0


class MtuLab(TunnelLab):
    """The lab with hosts that send 1500 octets; pings go by sat."""

    def __enter__(self):
        super().__enter__()
        for node, interface in (("lfn", "lan0"), ("mr", "lan0"), ("cn", "eth0")):
            self.execute(node, f"ip link set {interface} mtu 1500")
        return self

    def narrow_links(self, mtu):
        for link in plan.EGRESS_LINKS:
            self.execute("mr", f"ip link set {link.interface} mtu {mtu}")
            self.execute("net", f"ip link set {link.name} mtu {mtu}")
        wait_until(lambda: self.path_mtus() == {mtu}, "the links' MTU")

    def narrow_middle(self, mtu):
        networks = {link.name: link.prefix for link in plan.EGRESS_LINKS}
        networks["ha"] = IPv6Network((plan.HA_ADDRESS, 64), strict=False)
        for device, network in networks.items():
            place = f"{network} dev {device} proto kernel metric 256 mtu lock {mtu}"
            self.execute("net", f"ip -6 route replace {place}")

    def path_mtus(self):
        return {link["path_mtu"] for link in self.status(MR)["links"]}

    def forget(self, node):
        self.execute(node, "ip -6 route flush cache")

    def transfer(self, node):
        """Transfer for some seconds from ``node``; return the octets that were sent and came."""
        label = f"bulk-{node}"
        command = bulk_server_command((str(CN), 5201))
        server = self.topology.run_in("cn", command, label=f"{label}-cn")
        order = BulkOrder(duration=SECONDS, rate=2.0, reverse=node == "cn")
        command = bulk_command((str(CN), 5201), order, start_at=time.monotonic())
        client = self.topology.run_in("lfn", command, label=f"{label}-lfn")
        ends = [
            self.await_summary(program, f"{label}-{end}")
            for program, end in ((client, "lfn"), (server, "cn"))
        ]
        return [end["bytes"] for end in ends]


@pytest.fixture(scope="module", params=["links", "middle"])
def narrow(request):
    """Links, or a router in the middle, take 1280 octets."""
    with MtuLab("ip6tnl") as lab:
        if request.param == "links":
            lab.narrow_links(1280)
        else:
            lab.narrow_middle(1280)
        yield lab


@pytest.mark.parametrize("near", FAR)
def test_a_board_of_1500_octets_works_over_1280(narrow, near):
    narrow.forget(near)
    told = [narrow.ping(near, FAR[near], f"-M do -s {size}").stdout for size in (1452, 1412)]
    assert "mtu=1280" in "".join(told) or "mtu: 1280" in "".join(told), told
    for options in ("-M do -s 1232", "-M do -s 1193", "-s 1452", "-s 4000"):
        # the answers' way learns by the first
        wait_until(
            lambda given=options: " 3 received" in narrow.ping(near, FAR[near], given).stdout,
            f"three answers with {options}",
        )
    sent, came = narrow.transfer(near)
    assert sent == came > 100_000


@pytest.fixture(scope="module")
def middle():
    with MtuLab("ip6tnl") as lab:
        lab.narrow_middle(1400)
        yield lab


@pytest.mark.parametrize(("near", "role"), [("lfn", MR), ("cn", HA)])
def test_a_path_mtu_is_learnt_from_the_middle(middle, near, role):
    middle.forget(near)
    told = [middle.ping(near, FAR[near], f"-M do -s {size}").stdout for size in (1452, 1412)]
    assert "mtu=1360" in "".join(told) or "mtu: 1360" in "".join(told), told
    wait_until(
        lambda: " 3 received" in middle.ping(near, FAR[near], "-M do -s 1312").stdout,
        "three answers",
    )
    if role == MR:
        assert {link["name"]: link["tunnel_mtu"] for link in middle.status(MR)["links"]} == {
            "lte": 1460,
            "wifi": 1460,
            "sat": 1360,
        }
    else:
        rows = {row["care_of_address"]: row for row in middle.status(HA)["bindings"]}
        assert rows[str(SAT)]["tunnel_mtu"] == 1360
