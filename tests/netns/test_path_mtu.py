"""What is too big for a tunnel, on a board with 1500 octets: told, clamped, or cut."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing
from ipaddress import IPv6Network

import pytest
from agent_lab import AgentLab, read_samples
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
LFN, CN, HA = plan.LFN_ADDRESS, plan.CN_ADDRESS, plan.HA_ADDRESS
LTE = plan.find_link("lte").care_of_address
#: Each host's address, interface, far end, and the router that it hears of its tunnel from.
HOSTS = {
    "lfn": (LFN, "lan0", "cn", plan.MR_INGRESS_ADDRESS),
    "cn": (CN, "eth0", "lfn", HA),
}
LINKS = tuple(link.name for link in plan.EGRESS_LINKS)
IPV6_MTU_DISCOVER, WANT, DO = 23, 1, 2
IPV6_MTU = 24
UDP_PORT, TCP_PORT, BICAST_PORT, SAT_PORT = 9000, 9001, 9002, 9003
UDP_HEADERS = 48
AMOUNT = 2_000_000
POLICY = f"""\
[[policy]]
name = "bicast"
match = {{ protocol = ["tcp", "udp"], destination-port = {BICAST_PORT} }}
bicast = ["lte", "sat"]

[[policy]]
name = "sat"
match = {{ protocol = ["tcp", "udp"], destination-port = {SAT_PORT} }}
links = ["sat"]

[default]
links = ["lte", "wifi", "sat"]
"""


class MtuLab(AgentLab):
    """The lab with hosts that send 1500 octets; what no port says otherwise goes by lte."""

    def __enter__(self):
        super().__enter__()
        for node, interface in (("lfn", "lan0"), ("mr", "lan0"), ("cn", "eth0")):
            self.ip(node, f"link set {interface} mtu 1500")
        self.files.policy.write_text(POLICY)
        return self

    def narrow_links(self, mtu, links=LINKS):
        """Let the first links of the way take ``mtu``."""
        for link in links:
            self.ip("mr", f"link set {link}0 mtu {mtu}")
            self.ip("net", f"link set {link} mtu {mtu}")

    def narrow_middle(self, mtu):
        """Let a router in the middle forward ``mtu`` octets at most, each way."""
        networks = {link.name: link.prefix for link in plan.EGRESS_LINKS}
        for device, network in {"ha": IPv6Network((HA, 64), strict=False), **networks}.items():
            place = f"{network} dev {device} proto kernel metric 256"
            self.ip("net", f"route replace {place} mtu lock {mtu}")

    def tell(self, near, size, port=UDP_PORT):
        """Send a packet of ``size`` octets; return who says what its tunnel takes, and what."""
        address, interface, far, _router = HOSTS[near]
        ends = IPv6(src=str(address), dst=str(HOSTS[far][0]))
        packet = bytes(ends / UDP(sport=40000, dport=port) / Raw(bytes(size - UDP_HEADERS)))

        def read(data):
            found = IPv6(data)
            if ICMPv6PacketTooBig not in found:
                return None
            # what is quoted is what was sent, as far as it was quoted to the tunnel's entry
            quoted = bytes(found[ICMPv6PacketTooBig].payload)
            assert (quoted[:7], quoted[8:]) == (packet[:7], packet[8 : 1280 - UDP_HEADERS - 40])
            return found.src, found[ICMPv6PacketTooBig].mtu

        self.ip(near, "route flush cache")
        sniffer = self.sniffer(near, interface)
        self.sender(near)(packet)
        return sniffer.find(read)

    def passes(self, near, size, discover=DO, port=UDP_PORT, tries=1):
        """Tell whether one of some datagrams arrives, whose packet has ``size`` octets."""
        far = HOSTS[near][2]
        payload = os.urandom(size - UDP_HEADERS)
        target = str(HOSTS[far][0]), port
        with (
            closing(self.open_in(near, socket.AF_INET6, socket.SOCK_DGRAM)) as sender,
            closing(self.open_in(far, socket.AF_INET6, socket.SOCK_DGRAM)) as receiver,
        ):
            sender.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, discover)
            receiver.settimeout(0.5)
            receiver.bind(target)
            for _ in range(tries):
                sender.sendto(payload, target)
                try:
                    return receiver.recv(65535) == payload
                except TimeoutError:
                    continue
        return False

    def discovers(self, near, size):
        """Send ever less, from ``size`` octets on, until one arrives; return its size."""
        self.ip(near, "route flush cache")
        sizes = [size]
        while True:
            try:
                if self.passes(near, sizes[-1], tries=3):
                    return sizes[-1]
            except OSError:  # EMSGSIZE: it was told
                target = str(HOSTS[HOSTS[near][2]][0])
                with closing(self.open_in(near, socket.AF_INET6, socket.SOCK_DGRAM)) as asking:
                    asking.connect((target, UDP_PORT))
                    sizes.append(asking.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU))
            assert len(sizes) < 5, sizes

    def segment_sizes(self, port, address=CN):
        """Open a connection from LFN; return what each end hears that the other takes."""
        at_cn, at_lfn = self.sniffer("cn", "eth0"), self.sniffer("lfn", "lan0")

        def read(data):
            packet = IPv6(data)
            if TCP not in packet or "S" not in packet[TCP].flags:
                return None
            return dict(packet[TCP].options)["MSS"] if port in _ports(packet) else None

        with closing(self.open_in("cn", socket.AF_INET6, socket.SOCK_STREAM)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((str(address), port))
            listener.listen()
            with closing(self.open_in("lfn", socket.AF_INET6, socket.SOCK_STREAM)) as client:
                client.settimeout(5.0)
                client.connect((str(address), port))
                return at_cn.find(read), at_lfn.find(read)

    def transfer(self, near, port=TCP_PORT, amount=AMOUNT, meanwhile=None):
        """Send ``amount`` octets from ``near`` by a connection that LFN opens; tell if they came.

        ``meanwhile`` is called when a third has arrived.
        """
        data = os.urandom(amount)
        received = bytearray()
        with closing(self.open_in("cn", socket.AF_INET6, socket.SOCK_STREAM)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((str(CN), port))
            listener.listen()
            client = self.open_in("lfn", socket.AF_INET6, socket.SOCK_STREAM)
            client.settimeout(20.0)
            client.connect((str(CN), port))
            server, _peer = listener.accept()
            server.settimeout(20.0)
            sender, receiver = (client, server) if near == "lfn" else (server, client)
            with sender, receiver:
                sending = threading.Thread(target=_send, args=(sender, data))
                sending.start()
                while chunk := receiver.recv(1 << 16):
                    received += chunk
                    if meanwhile is not None and len(received) > amount // 3:
                        meanwhile()
                        meanwhile = None
                sending.join()
        return bytes(received) == data

    def outer_lengths(self, near, act):
        """Return the length of the outer packet, or its fragments, that ``near`` sends first."""
        source, interface = (LTE, "lte") if near == "lfn" else (HA, "ha")
        sniffer = self.sniffer("net", interface)
        lengths = []

        def collect(data):
            packet = IPv6(data)
            if packet.src == str(source) and packet.nh in (41, 44):
                lengths.append(len(data))
                if IPv6ExtHdrFragment not in packet or not packet[IPv6ExtHdrFragment].m:
                    return lengths
            return None

        act()
        return sniffer.find(collect)


def _ports(packet):
    return packet[TCP].sport, packet[TCP].dport


def _send(endpoint, data):
    endpoint.sendall(data)
    endpoint.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def wide():
    """Every link takes 1500 octets but sat, which takes 1400."""
    with MtuLab() as lab:
        lab.narrow_links(1400, ["sat"])
        yield lab.start()


@pytest.mark.parametrize("near", HOSTS)
def test_what_does_not_fit_is_told_what_does(wide, near):
    assert wide.tell(near, 1461) == (str(HOSTS[near][3]), 1460)
    assert wide.passes(near, 1460)


def test_each_links_tunnel_takes_what_its_link_takes(wide):
    assert wide.tell("lfn", 1361, SAT_PORT) == (str(plan.MR_INGRESS_ADDRESS), 1360)
    assert wide.passes("lfn", 1360, port=SAT_PORT)
    assert wide.passes("lfn", 1460)


def test_an_error_is_told_of_no_error(wide):
    sniffer = wide.sniffer("lfn", "lan0")
    send = wide.sender("lfn")
    ends = IPv6(src=str(LFN), dst=str(CN))
    send(bytes(ends / ICMPv6PacketTooBig(mtu=1280) / Raw(bytes(1452))))
    send(bytes(ends / ICMPv6EchoRequest(data=bytes(1452))))

    def read(data):
        packet = IPv6(data)
        return (
            bytes(packet[ICMPv6PacketTooBig].payload)[40] if ICMPv6PacketTooBig in packet else None
        )

    assert sniffer.find(read) == 128


@pytest.mark.parametrize(
    ("port", "size"), [(TCP_PORT, 1400), (SAT_PORT, 1300), (BICAST_PORT, 1300)]
)
def test_segments_are_clamped_to_the_links_own_tunnel_and_of_bicast_to_the_smallest(
    wide, port, size
):
    assert wide.segment_sizes(port) == (size, size)


@pytest.mark.parametrize("near", HOSTS)
def test_a_transfer_goes_on_over_a_link_that_takes_less(wide, near):
    def fail_over():
        wide.topology.cut("lte")
        wide.topology.cut("wifi")

    try:
        assert wide.transfer(near, meanwhile=fail_over)
    finally:
        for link in ("lte", "wifi"):
            wide.topology.restore(link)
        wide.await_bindings(3)


def test_status_and_metrics_show_each_links_tunnel(wide):
    links = wide.links()
    assert (links["lte"]["path_mtu"], links["lte"]["tunnel_mtu"]) == (1500, 1460)
    assert (links["sat"]["path_mtu"], links["sat"]["tunnel_mtu"]) == (1400, 1360)
    samples = read_samples(wide.scrape("mr"))
    assert samples['mrouter_link_tunnel_mtu_bytes{link="sat"}'] == 1360


@pytest.fixture(scope="module")
def narrow():
    """Every link of the mobile router takes 1280 octets, as much as its hosts must be able to."""
    with MtuLab() as lab:
        lab.narrow_links(1280)
        yield lab.start()


@pytest.mark.parametrize("near", HOSTS)
def test_a_board_of_1500_octets_works_over_links_of_1280(narrow, near):
    assert narrow.transfer(near)
    assert narrow.discovers(near, 1500) == 1280
    for size in (1240, 1241, 1280):
        assert narrow.passes(near, size), size
    # in fragments of the sender's own
    assert narrow.passes(near, 1448, WANT)
    assert narrow.passes(near, 5000, WANT)


def test_nobody_is_told_of_less_than_everybody_must_take(narrow):
    assert narrow.tell("lfn", 1281) == (str(plan.MR_INGRESS_ADDRESS), 1280)


def test_outer_packets_are_cut_where_they_must_be(narrow):
    assert narrow.outer_lengths("lfn", lambda: narrow.passes("lfn", 1240)) == [1280]
    cut = narrow.outer_lengths("lfn", lambda: narrow.passes("lfn", 1280))
    assert len(cut) == 2
    assert max(cut) <= 1280
    assert sum(cut) == 1280 + 2 * (40 + 8)


def test_bicast_packets_that_are_cut_arrive_once(narrow):
    before = narrow.home_agent()["bicast"]["duplicates_dropped"]
    target = str(CN), BICAST_PORT
    with (
        closing(narrow.open_in("lfn", socket.AF_INET6, socket.SOCK_DGRAM)) as sender,
        closing(narrow.open_in("cn", socket.AF_INET6, socket.SOCK_DGRAM)) as receiver,
    ):
        receiver.bind(target)
        receiver.settimeout(5.0)
        packets = [bytes([number]) * (1280 - UDP_HEADERS) for number in range(20)]
        for packet in packets:
            sender.sendto(packet, target)
        assert [receiver.recv(2000) for _ in packets] == packets
        receiver.settimeout(0.3)
        with pytest.raises(TimeoutError):
            receiver.recv(2000)
    assert narrow.home_agent()["bicast"]["duplicates_dropped"] == before + len(packets)


def test_segments_go_in_one_piece(narrow):
    assert narrow.segment_sizes(TCP_PORT) == (1180, 1180)


@pytest.fixture(scope="module", params=[1400, 1280])
def middle(request):
    """A router in the middle forwards less than its neighbours."""
    with MtuLab() as lab:
        lab.narrow_middle(request.param)
        lab.path_mtu = request.param
        yield lab.start()


@pytest.mark.parametrize("near", HOSTS)
def test_a_path_mtu_is_learnt_from_the_middle(middle, near):
    tunnel_mtu = max(1280, middle.path_mtu - 40)
    assert middle.discovers(near, 1500) == tunnel_mtu
    # now by the tunnel's entry itself: nothing has gone out before the small packet
    told = []

    def act():
        told.append(middle.tell(near, tunnel_mtu + 1))
        middle.passes(near, 600)

    assert middle.outer_lengths(near, act) == [640]
    assert told == [(str(HOSTS[near][3]), tunnel_mtu)]
    row = middle.links()["lte"] if near == "lfn" else middle.bindings()[LTE]
    assert (row["path_mtu"], row["tunnel_mtu"]) == (middle.path_mtu, tunnel_mtu)


@pytest.mark.parametrize("near", HOSTS)
def test_a_transfer_passes_the_middle(middle, near):
    assert middle.transfer(near)


def test_segments_are_clamped_to_a_learnt_path_mtu(middle):
    for near in HOSTS:
        middle.discovers(near, 1500)
    size = middle.path_mtu - 100
    assert middle.segment_sizes(TCP_PORT) == (size, size)


def report(lab, link, destination, inner, mtu):
    """Have somebody far away tell MR of a packet that is said to have been too big for ``link``."""
    source = plan.find_link(link).care_of_address
    quoted = IPv6(src=str(source), dst=str(destination)) / IPv6(src=str(inner), dst=str(CN))
    error = IPv6(src=str(plan.CN_GATEWAY), dst=str(source)) / ICMPv6PacketTooBig(mtu=mtu)
    lab.sender("net")(bytes(error / quoted / UDP(sport=1, dport=2) / Raw(bytes(1300))))
    lab.topology.execute("net", ["ping", "-6", "-c", "1", str(source)])  # comes after it
    return lab.links()[link]["path_mtu"]


@pytest.mark.parametrize(
    ("destination", "inner", "mtu"),
    [
        (CN, LFN, 1300),  # a tunnel that is not there
        (HA, CN, 1300),  # what nobody on board has sent
        (HA, LFN, 1279),  # what everybody must take
        (HA, LFN, 1501),
    ],
)
def test_a_false_error_is_not_believed(wide, destination, inner, mtu):
    assert report(wide, "lte", destination, inner, mtu) == 1500


def test_an_error_that_may_be_true_is_believed_of_its_path_alone(wide):
    assert report(wide, "wifi", HA, LFN, 1300) == 1300
    assert wide.links()["lte"]["path_mtu"] == 1500
