"""The lab with a real home link behind its home agent."""

from __future__ import annotations

from agent_lab import HOME_AGENT, AgentLab

from mrouter.lab import namespaces, plan

HOME_AGENT_AT_HOME = plan.HOME_PREFIX[1]
NEIGHBOUR, OTHER = plan.HOME_PREFIX[0x20], plan.HOME_PREFIX[0x30]


class HomeLab(AgentLab):
    """The lab, and a bridge ``home0`` in the home agent with two hosts behind it."""

    def __enter__(self):
        super().__enter__()
        self.hosts = {name: self.topology.namespace(name) for name in ("neighbour", "other")}
        namespaces.create_namespaces(tuple(self.hosts.values()))
        self.ip("ha", "link add home0 type bridge mcast_snooping 0")
        self.ip("ha", f"addr add {HOME_AGENT_AT_HOME}/64 dev home0 nodad")
        self.ip("ha", "link set home0 up")
        for name, address in (("neighbour", NEIGHBOUR), ("other", OTHER)):
            self.ip("ha", f"link add {name} type veth peer name eth0 netns {self.hosts[name]}")
            self.ip("ha", f"link set {name} master home0 up")
            self.at_home(name, "sysctl", "-q", "net.ipv6.conf.all.accept_dad=0")
            self.at_home(name, "ip", "link", "set", "eth0", "up")
            self.at_home(name, "ip", "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
            self.at_home(name, "ip", "route", "add", "default", "via", str(HOME_AGENT_AT_HOME))
        self.edit(
            self.config[HOME_AGENT],
            "home-prefixes",
            'home-link = "home0"\nhome-prefixes',
        )
        return self

    def __exit__(self, *reason):
        try:
            super().__exit__(*reason)
        finally:
            namespaces.delete_namespaces(tuple(self.hosts.values()))

    def at_home(self, name, *command):
        return namespaces.run_tool(namespaces.enter(self.hosts[name], command))

    def find_neighbour(self, name, address):
        """Return the link-layer address that a host on the home link knows ``address`` by."""
        words = self.at_home(name, "ip", "-6", "neigh", "show", address).split()
        return words[words.index("lladdr") + 1] if "lladdr" in words else None

    def find_proxies(self):
        shown = self.topology.execute("ha", ["ip", "-6", "neigh", "show", "proxy"]).stdout
        return [line.split()[0] for line in shown.splitlines()]

    def link_layer_address(self):
        return self.topology.execute("ha", ["cat", "/sys/class/net/home0/address"]).stdout.strip()
