"""Policies by domain name: the mobile router reads the DNS answers that pass it."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import closing

import pytest
from agent_lab import ETH_P_IPV6, MOBILE_ROUTER, AgentLab, wait_until
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6

from mrouter.dataplane.family import Family
from mrouter.dataplane.name_sets import name_set_of
from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
POLICY = """\
[[policy]]
name = "video"
match = { protocol = "udp", destination-domain = ["example.com", "*.video.example"] }
links = ["wifi"]

[default]
links = ["lte", "wifi", "sat"]
"""
DOMAINS = ("example.com", "*.video.example")
PORT, DNS_PORT = 7000, 53
DNS_CLIENT_PORT = 50053


class Resolver:
    """A client on board, and a server that answers as it is told."""

    def __init__(self, lab, node, address):
        self._server = lab.open_in(node, socket.AF_INET6, socket.SOCK_DGRAM)
        self._server.bind((str(address), DNS_PORT))
        self._client = lab.open_in("lfn", socket.AF_INET6, socket.SOCK_DGRAM)
        self._client.connect((str(address), DNS_PORT))
        for endpoint in (self._server, self._client):
            endpoint.settimeout(5.0)
        self._number = 0

    def close(self):
        self._server.close()
        self._client.close()

    def resolve(self, name, *records):
        """Ask for ``name``; return when the answer, which holds ``records``, has come."""
        self._number += 1
        question = DNSQR(qname=name, qtype="AAAA")
        answer = DNS(id=self._number, qr=1, rd=1, ra=1, qd=question, an=list(records))
        self.exchange(bytes(DNS(id=self._number, rd=1, qd=question)), bytes(answer))

    def exchange(self, query, answer):
        self._client.send(query)
        _, client = self._server.recvfrom(4096)
        self._server.sendto(answer, client)
        assert self._client.recv(4096) == answer


def gives(name, address, ttl=300):
    return DNSRR(rrname=name, type="AAAA", ttl=ttl, rdata=str(address))


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        lab.files.policy.write_text(POLICY)
        yield lab.start()


@pytest.fixture(scope="module")
def far(lab):
    with closing(Resolver(lab, "cn", plan.CN_ADDRESS)) as resolver:
        yield resolver


@pytest.fixture(scope="module")
def send(lab):
    sender = lab.sender("lfn")

    def send(address, sport=PORT):
        header = IPv6(src=str(plan.LFN_ADDRESS), dst=str(address))
        sender(bytes(header / UDP(sport=sport, dport=PORT)))

    return send


def find_policy(lab, address):
    rows = lab.ask(MOBILE_ROUTER, "flows")
    return next((row["policy"] for row in rows if row["destination"] == str(address)), None)


def list_set(lab, domains=DOMAINS):
    """Return the set of ``domains``, "" if there is none."""
    rules = lab.topology.execute("mr", ["nft", "list", "table", "ip6", "mrouter"]).stdout
    _, _, rest = rules.partition(f"set {name_set_of(domains, Family.IPV6)} {{")
    return rest.partition("}\n\n")[0]


def holds(lab, address):
    return f"{address} timeout" in list_set(lab)


def far_address(number):
    return plan.CN_ADDRESS + 0x1000 + number


def test_a_flow_that_begins_at_once_obeys_the_policy_of_its_name(lab, far, send):
    """However the answer and the flow's first packet race through the router."""
    for number in range(40):
        address = far_address(number)
        name = f"host-{number}.video.example"
        far.resolve(name, gives(name, address))
        send(address)
        wait_until(lambda address=address: holds(lab, address), timeout=2.0)
        # its second packet, if not its first
        wait_until(lambda address=address: find_policy(lab, address) in (None, "video"))
        send(address)
        assert find_policy(lab, address) == "video"


def test_the_flow_takes_the_policys_link(lab, far, send):
    address = far_address(100)
    far.resolve("example.com", gives("example.com", address))
    wait_until(lambda: holds(lab, address))
    receiver = lab.open_in("net", socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IPV6))
    with closing(receiver):
        receiver.settimeout(5.0)
        send(address)
        while True:
            data, (interface, *_) = receiver.recvfrom(65535)
            if data[6] == 41 and address.packed in data:
                break
    assert interface == "wifi"


def test_a_running_flow_moves_when_its_address_gets_a_name(lab, far, send):
    address, other = far_address(101), far_address(102)
    for each in (address, other):
        send(each)
        assert find_policy(lab, each) == "default"
    far.resolve("example.com", gives("example.com", address))
    wait_until(lambda: find_policy(lab, address) is None)
    send(address)
    send(other)
    assert find_policy(lab, address) == "video"
    assert find_policy(lab, other) == "default"


def test_an_alias_is_followed(lab, far, send):
    address = far_address(103)
    alias = DNSRR(rrname="Example.COM", type="CNAME", ttl=20, rdata="cdn.example.net")
    far.resolve("example.com", alias, gives("cdn.example.net", address))
    wait_until(lambda: holds(lab, address))
    assert "timeout 1m" in next(line for line in list_set(lab).splitlines() if str(address) in line)


@pytest.mark.parametrize("name", ["www.example.com", "video.example", "example.com.example.net"])
def test_other_names_are_not_taken(lab, far, send, name):
    address = far_address(104)
    far.resolve(name, gives(name, address))
    last = far_address(105 + len(name))
    far.resolve("example.com", gives("example.com", last))
    wait_until(lambda: holds(lab, last))
    assert not holds(lab, address)


def test_a_resolver_on_the_router_itself_is_read_too(lab):
    address = far_address(200)
    with closing(Resolver(lab, "mr", plan.MR_INGRESS_ADDRESS)) as here:
        here.resolve("a.video.example", gives("a.video.example", address))
    wait_until(lambda: holds(lab, address))


def test_an_answer_that_nobody_asked_for_is_not_believed(lab, far):
    address, last = far_address(201), far_address(202)
    forged = DNS(qr=1, qd=DNSQR(qname="example.com"), an=[gives("example.com", address)])
    header = IPv6(src=str(plan.CN_ADDRESS + 1), dst=str(plan.LFN_ADDRESS))
    lab.sender("cn")(bytes(header / UDP(sport=DNS_PORT, dport=DNS_CLIENT_PORT) / forged))
    far.resolve("example.com", gives("example.com", last))
    wait_until(lambda: holds(lab, last))
    assert not holds(lab, address)


def test_rubbish_is_counted_and_nothing_ends(lab, far):
    far.exchange(b"?", b"!" * 50)
    wait_until(
        lambda: any(
            row["event"] == "dns-answer-refused" for row in lab.mobile_router()["events"]
        )
    )  # fmt: skip


def test_what_is_known_lasts_over_a_reload(lab, far):
    address = far_address(203)
    far.resolve("example.com", gives("example.com", address))
    wait_until(lambda: holds(lab, address))
    more = '[[policy]]\nname = "new"\nmatch = { protocol = 99 }\ndrop = true\n'
    lab.files.policy.write_text(more + POLICY)
    lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
    wait_until(lambda: len(lab.mobile_router()["policies"]) == 3)
    assert holds(lab, address)


def test_another_list_of_domains_begins_with_what_is_known_of_its_names(lab, far):
    address = far_address(204)
    far.resolve("example.com", gives("example.com", address))
    wait_until(lambda: holds(lab, address))
    lab.files.policy.write_text(POLICY.replace(', "*.video.example"', ""))
    lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
    wait_until(lambda: len(lab.mobile_router()["policies"]) == 2)
    assert str(address) in list_set(lab, ("example.com",))
    lab.files.policy.write_text(POLICY)
    lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
    wait_until(lambda: holds(lab, address))


def test_what_is_known_lasts_over_a_crash_and_a_restart(lab, far, send):
    address = far_address(205)
    far.resolve("example.com", gives("example.com", address))
    wait_until(lambda: holds(lab, address))
    time.sleep(1.0)  # what changes often is saved a moment later
    lab.end(MOBILE_ROUTER, signal.SIGKILL)
    lab.start(MOBILE_ROUTER)
    assert holds(lab, address)
    send(address)
    assert find_policy(lab, address) == "video"


def test_without_domains_no_answer_is_looked_at(lab):
    lab.files.policy.write_text('[default]\nlinks = ["lte"]\n')
    lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
    wait_until(lambda: len(lab.mobile_router()["policies"]) == 1)
    rules = lab.topology.execute("mr", ["nft", "list", "table", "ip6", "mrouter"]).stdout
    assert "group 78" not in rules
    assert "names6" not in rules
