"""The lab with a correspondent node, and what its packets look like on the net."""

from __future__ import annotations

import re
import select
import signal
import socket
import threading
from dataclasses import dataclass
from ipaddress import IPv6Address

from tunnel_lab import (
    ETH_P_IPV6,
    HA,
    IPV6,
    MR,
    PACKET_OUTGOING,
    SO_RCVBUFFORCE,
    TIMEOUT,
    TunnelLab,
    wait_until,
)

from mrouter.lab import plan
from mrouter.lab.configs import write_configs

CN = "cn"
NODE, HOME = plan.CN_ADDRESS, plan.HOME_ADDRESS
CARE_OF = {link.name: link.care_of_address for link in plan.EGRESS_LINKS}
ROUTING, FRAGMENT, OPTIONS, MOBILITY = 43, 44, 60, 135
HOME_ADDRESS_OPTION = 201


class OptimizationLab(TunnelLab):
    """The lab with its three daemons; ``optimization`` is what the files of two ask for."""

    def __init__(self, encapsulation, optimization):
        super().__init__(encapsulation)
        self._optimization = optimization

    def __enter__(self):
        self.topology.__enter__()
        files = write_configs(self.topology.run_directory)
        self._configs = {
            MR: files.mobile_router,
            HA: files.home_agent,
            CN: files.correspondent_node,
        }
        self._sockets = {
            MR: files.mobile_router_socket,
            HA: files.home_agent_socket,
            CN: files.correspondent_node_socket,
        }
        text = files.mobile_router.read_text()
        ingress = 'ingress = ["lan0"]\n'
        assert ingress in text
        files.mobile_router.write_text(
            text.replace(ingress, f'{ingress}correspondents = ["{NODE}"]\n')
        )
        self.execute(CN, "ip link set eth0 mtu 1500")
        for node in (CN, HA, MR):
            self.set_encapsulation(node, self._encapsulation)
            self.start(node)
        self.await_routes()
        return self

    def set_encapsulation(self, node, name):
        super().set_encapsulation(node, name)
        if node != HA:
            with self._configs[node].open("a") as file:
                file.write(f'route-optimization = "{self._optimization}"\n')

    def config(self, node):
        return self._configs[node]

    def kill(self, node):
        self._processes[node].send_signal(signal.SIGKILL)
        self._processes[node].wait(timeout=TIMEOUT)

    def await_routes(self, names=tuple(CARE_OF)):
        """Wait until both ends have the bindings of the links ``names``, and no more."""
        expected = {str(CARE_OF[name]) for name in names}

        def stand():
            bound = {row["care_of_address"] for row in self.status(CN)["bindings"]}
            rows = self.status(MR)["routes"]
            return bound == expected == {row["care_of_address"] for row in rows if row["usable"]}

        wait_until(stand, f"optimized routes by {names}")

    def count_answers(self, node, destination, *options, count=5):
        """Return how many of ``count`` pings were answered."""
        command = ["ping", "-6", "-n", "-c", str(count), "-i", "0.2", "-W", "5", *map(str, options)]
        done = self.topology.execute(
            node, [*command, str(destination)], timeout=TIMEOUT, check=False
        )
        return int(re.search(r"(\d+) received", done.stdout)[1])

    def transfer(self, near, far, octets):
        """Send ``octets`` by TCP between the two nodes; return how many have arrived."""
        ends = {MR: HOME, CN: NODE}
        arrived = bytearray()
        with (
            self._open(far, socket.AF_INET6, socket.SOCK_STREAM) as server,
            self._open(near, socket.AF_INET6, socket.SOCK_STREAM) as client,
        ):
            for endpoint, node in ((server, far), (client, near)):
                endpoint.settimeout(TIMEOUT)
                endpoint.bind((str(ends[node]), 0))
            server.listen(1)
            client.connect(server.getsockname()[:2])
            connection, _address = server.accept()
            sender = threading.Thread(target=send_all, args=(client, octets))
            sender.start()
            with connection:
                connection.settimeout(TIMEOUT)
                while part := connection.recv(1 << 16):
                    arrived += part
            sender.join()
        return len(arrived)

    def transformations(self, node):
        """Return what ``ip xfrm`` lists: states, then policies, a block each."""
        text = "".join(self.execute(node, f"ip xfrm {kind}").stdout for kind in ("state", "policy"))
        text = re.sub(r"\tlastused .*\n", "", text)
        return [block.strip() for block in re.split(r"\n(?=\S)", text) if block.strip()]

    def look(self):
        """Return a view of all that comes to the net while the context lasts."""
        return Look(
            self._open("net", socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IPV6))
        )


def send_all(endpoint, octets):
    endpoint.sendall(bytes(octets))
    endpoint.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class Way:
    """How a packet between the home address and the correspondent node came to the net.

    ``headers`` are its Next Headers up to the transport protocol's; ``home`` is the address in a
    Home Address option or type 2 routing header.
    """

    interface: str
    source: IPv6Address
    destination: IPv6Address
    headers: tuple[int, ...]
    home: IPv6Address | None = None


class Look:
    """Collects packets; ask for ``ways`` when it has been left."""

    def __init__(self, endpoint):
        self._socket = endpoint
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self._packets = []

    def __enter__(self):
        return self

    def __exit__(self, *_reason):
        with self._socket:
            while select.select([self._socket], [], [], 1.0)[0]:
                data, (interface, _protocol, kind, *_rest) = self._socket.recvfrom(65536)
                if kind != PACKET_OUTGOING:
                    self._packets.append((interface, data))

    def ways(self):
        """Return the ways of all packets between HOME and NODE, but signalling."""
        return {way for way in self._read() if way.headers[-1] != MOBILITY}

    def signalling(self):
        """Return the ways of all signalling between HOME and NODE."""
        return {way for way in self._read() if way.headers[-1] == MOBILITY}

    def largest(self):
        """Return the size of the largest packet."""
        return max(len(data) for _interface, data in self._packets)

    def _read(self):
        found = (read_way(interface, data) for interface, data in self._packets)
        return (way for way in found if way is not None)


def read_way(interface, data):
    """Return the way of a packet that HOME and NODE are the ends of, else None."""
    source, destination = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    ends, headers, home = {source, destination}, [data[6]], None
    offset = 40
    while headers[-1] in (IPV6, ROUTING, OPTIONS, FRAGMENT):
        kind = headers[-1]
        if kind == IPV6:
            ends = {IPv6Address(data[offset + 8 : offset + 24])}
            ends.add(IPv6Address(data[offset + 24 : offset + 40]))
            headers.append(data[offset + 6])
            offset += 40
            continue
        if kind == ROUTING:
            assert data[offset + 1 : offset + 4] == bytes((2, 2, 1)), "no type 2 routing header"
        if kind == OPTIONS:
            assert data[offset + 6 : offset + 8] == bytes((HOME_ADDRESS_OPTION, 16))
        if kind in (ROUTING, OPTIONS):
            home = IPv6Address(data[offset + 8 : offset + 24])
            ends = {source if kind == ROUTING else destination, home}
        headers.append(data[offset])
        offset += 8 if kind == FRAGMENT else 8 + 8 * data[offset + 1]
    if ends != {HOME, NODE}:
        return None
    return Way(interface, source, destination, tuple(headers), home)
