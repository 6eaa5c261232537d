"""The desired state into a Linux kernel: only the difference, adding before deleting."""

from __future__ import annotations

import contextlib
import errno
import socket
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import nftables
from pyroute2.netlink.rtnl import RTM_GETROUTE, RTM_GETRULE
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from mrouter.dataplane import marks, nft
from mrouter.dataplane.family import Family
from mrouter.dataplane.home_address import mark_home_address
from mrouter.dataplane.neighbours import make_proxy, make_proxy_dump, read_proxy
from mrouter.dataplane.routing import make_route, make_rule, read_route, read_rule
from mrouter.dataplane.state import DataplaneState, Encapsulation
from mrouter.dataplane.transformations import Transformations
from mrouter.dataplane.tunnel_device import (
    add_tunnel_device,
    remove_tunnel_device,
    tunnel_device_stands,
)
from mrouter.dataplane.tunnel_source import set_tunnel_source
from mrouter.dataplane.xfrm import XfrmTables
from mrouter.errors import DataplaneError
from mrouter.netlink import RouteSocket

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    AddressPair = tuple[IPv6Address, IPv6Address]

    from mrouter.dataplane.state import ProxyNeighbour, Route, Rule
    from mrouter.netlink import NetlinkFailure

Key = TypeVar("Key")

_SYSCTL = Path("/proc/sys/net")
_FORWARDING = {Family.IPV6: "ipv6/conf/all/forwarding", Family.IPV4: "ipv4/ip_forward"}
_LWTUNNEL_HOOKS = _SYSCTL / "netfilter/nf_hooks_lwtunnel"


class LinuxDataplane:
    """The kernel of this network namespace.

    The first ``apply`` adopts or removes whatever a former run left under our table name and
    protocol number; later ones compare with what was applied last, or with the kernel if
    ``verify`` asks for it (after a link event, which may have taken routes away).
    """

    def __init__(self) -> None:
        """Open netlink and libnftables.

        :raises DataplaneError: where libnftables or the privilege to use it is missing.
        """
        self._nft = nftables.Nftables()
        self._nft.set_handle_output(False)
        self._socket = RouteSocket()
        self._xfrm = XfrmTables()
        self._tables: dict[Family, nft.NftTable] | None = None
        self._routes: frozenset[Route] | None = None
        self._rules: frozenset[Rule] | None = None
        self._proxies: frozenset[ProxyNeighbour] | None = None
        self._home_address: IPv6Address | None = None
        self._prepared = False
        self._forwarding: set[Family] = set()

    def close(self) -> None:
        """Close the sockets; what stands in the kernel goes on forwarding."""
        self._socket.close()
        self._xfrm.close()

    def apply(self, state: DataplaneState, *, verify: bool = False) -> None:
        """Make the kernel hold ``state``: routes, then rules, then the nft table, then deletions.

        :raises DataplaneError: naming the operation; what was in force stays, as far as it was
            not yet replaced, and the next ``apply`` starts from what the kernel really holds.
        """
        try:
            self._apply(state, verify=verify)
        except DataplaneError:
            self._routes = self._rules = self._proxies = None
            self._tables = None
            self._xfrm.forget()
            raise

    def remove(self) -> None:
        """Remove everything of ours from the kernel."""
        self._run_nft("".join(map(nft.render_removal, self._list_tables())))
        self._transact("delete rule", [make_rule(r, add=False) for r in self._dump_rules()])
        self._delete_routes(self._dump_routes())
        self._change_proxies(self._dump_proxies(), frozenset())
        self._xfrm.forget()
        self._xfrm.add(Transformations())
        self._xfrm.delete_stale(Transformations())
        remove_tunnel_device(self._socket)
        self._tables = self._routes = self._rules = self._proxies = None
        self._prepared = False
        self._forwarding.clear()

    def renew_elements(self, family: Family, name: str, elements: Mapping[str, str]) -> None:
        """Put ``elements``, which have timeouts, in set ``name``; those there last anew.

        :raises DataplaneError: if there is no such set, or it is full.
        """
        self._run_nft(nft.render_renewal(family, name, elements))

    def read_counters(self) -> dict[str, tuple[int, int]]:
        """Return every named counter's (packets, bytes), of both families together."""
        return _add_up(
            (item["counter"]["name"], item["counter"])
            for family in self._families
            for item in self._list("counters", family)
            if "counter" in item
        )

    def read_set_counters(self, name: str) -> dict[tuple[int, ...], tuple[int, int]]:
        """Return the (packets, bytes) of each element of a set that counts; keys are numbers."""
        return _add_up(
            (tuple(int(part) for part in element["val"]["concat"]), element["counter"])
            for family in self._families
            for item in self._list("set", family, name)
            for element in (entry["elem"] for entry in item.get("set", {}).get("elem", ()))
        )

    def read_address_counters(self, name: str) -> dict[IPv6Address, tuple[int, int]]:
        """Return the (packets, bytes) of each element of a set of addresses that counts."""
        return _add_up(
            (IPv6Address(element["val"]), element["counter"])
            for item in self._list("set", Family.IPV6, name)
            for element in (entry["elem"] for entry in item.get("set", {}).get("elem", ()))
        )

    def read_pair_counters(self, kind: str, name: str) -> dict[AddressPair, tuple[int, int]]:
        """Return the (packets, bytes) of each element of a ``kind`` of pairs of addresses.

        ``kind`` is "set" or "map"; the second address is one that nft takes for a number.
        """
        elements = (
            (entry if kind == "set" else entry[0])["elem"]
            for item in self._list(kind, Family.IPV6, name)
            for entry in item.get(kind, {}).get("elem", ())
        )
        return _add_up((_read_pair(*each["val"]["concat"]), each["counter"]) for each in elements)

    def read_map_counters(self, name: str) -> dict[int, tuple[int, int]]:
        """Return the (packets, bytes) of each element of a map that counts, by its key."""
        return _add_up(
            (int(element["val"]), element["counter"])
            for family in self._families
            for item in self._list("map", family, name)
            for element in (entry[0]["elem"] for entry in item.get("map", {}).get("elem", ()))
        )

    @property
    def _families(self) -> tuple[Family, ...]:
        return (Family.IPV6,) if self._tables is None else tuple(self._tables)

    def _apply(self, state: DataplaneState, *, verify: bool) -> None:
        self._prepare(state, verify=verify)
        for name in state.router_advertisement_interfaces:
            _keep_router_advertisements(name)
        for name in state.tunnel_interfaces:
            _accept_inner_sources(name)
        if state.flow_accounting:
            _write_sysctl("netfilter/nf_conntrack_acct", "1")
        known = None if verify else self._routes
        old_routes = self._dump_routes() if known is None else known
        # a dumped route is known by table and destination alone: it is replaced, not compared
        fresh = state.routes if known is None else state.routes - known
        old_rules = self._dump_rules() if verify or self._rules is None else self._rules
        self._add_routes(fresh)
        self._transact("add rule", [make_rule(rule, add=True) for rule in state.rules - old_rules])
        self._add_transformations(state.transformations, verify=verify)
        self._run_nft(self._render_tables(state.tables, verify=verify))
        self._tables = state.tables
        self._xfrm.delete_stale(state.transformations)
        self._transact(
            "delete rule", [make_rule(rule, add=False) for rule in old_rules - state.rules]
        )
        stale = old_routes - state.routes
        if stale:
            # what was added anew has taken its predecessor's place already
            kept = {(route.table, route.destination) for route in fresh}
            self._delete_routes(
                {route for route in stale if (route.table, route.destination) not in kept}
            )
        old_proxies = self._dump_proxies() if verify or self._proxies is None else self._proxies
        self._change_proxies(old_proxies, state.proxy_neighbours)
        self._routes, self._rules = state.routes, state.rules
        self._proxies = state.proxy_neighbours
        self._prepared = True
        if state.forwarding:
            # only now that nothing can leak
            for family in state.tables.keys() - self._forwarding:
                _write_sysctl(_FORWARDING[family], "1")
                self._forwarding.add(family)

    def _prepare(self, state: DataplaneState, *, verify: bool) -> None:
        if self._prepared and not verify:
            return
        if state.tunnel_device:
            add_tunnel_device(self._socket, tuple(state.tables))
        else:
            # a former run's would go on to decapsulate
            remove_tunnel_device(self._socket)
            enable_lwtunnel_hooks()
        if state.tunnel_source is not None:
            with contextlib.suppress(OSError):  # it would only have made things faster
                set_tunnel_source(state.tunnel_source)

    def _render_tables(self, wanted: Mapping[Family, nft.NftTable], *, verify: bool) -> str:
        """Return one transaction after which ``wanted`` stand, and no other tables of ours."""
        known = self._tables or {}
        # others do flush whole rulesets
        standing = self._list_tables() if verify or self._tables is None else known.keys()
        commands = []
        for family in Family:
            if family not in wanted:
                commands += [nft.render_removal(family)] if family in standing else []
            elif family in known and family in standing:
                commands.append(nft.render_change(known[family], wanted[family]))
            else:
                commands.append(nft.render_replacement(wanted[family]))
        return "".join(commands)

    def _list_tables(self) -> set[Family]:
        """Return the families in which a table of ours stands."""
        found = {item["table"]["family"] for item in self._list("tables") if _is_ours(item)}
        return {family for family in Family if family.word in found}

    def _add_routes(self, routes: frozenset[Route]) -> None:
        messages = []
        find_index = cache(socket.if_nametoindex)
        for route in routes:
            try:
                messages.append(make_route(route, find_index, add=True))
            except OSError as error:
                raise DataplaneError(
                    f"add route {route.destination} in table {route.table}",
                    f"no interface {route.device}",
                ) from error
        self._transact("add route", messages)

    def _delete_routes(self, routes: frozenset[Route] | set[Route]) -> None:
        messages = [make_route(route, socket.if_nametoindex, add=False) for route in routes]
        self._transact("delete route", messages)

    def _dump_routes(self) -> frozenset[Route]:
        routes: set[Route] = set()
        for family in Family:
            message = rtmsg()
            message["family"] = family.socket_family
            message["proto"] = marks.PROTOCOL
            found = map(read_route, self._socket.dump(message, RTM_GETROUTE))
            routes.update(route for route in found if route is not None)
        return frozenset(routes)

    def _dump_rules(self) -> frozenset[Rule]:
        rules: set[Rule] = set()
        for family in Family:
            message = fibmsg()
            message["family"] = family.socket_family
            found = map(read_rule, self._socket.dump(message, RTM_GETRULE))
            rules.update(rule for rule in found if rule is not None)
        return frozenset(rules)

    def _add_transformations(self, wanted: Transformations, *, verify: bool) -> None:
        if verify:
            self._xfrm.forget()
        if wanted.home_address is not None and (
            verify or wanted.home_address != self._home_address
        ):
            mark_home_address(self._socket, wanted.home_address)
            self._home_address = wanted.home_address
        self._xfrm.add(wanted)

    def _change_proxies(
        self, old: frozenset[ProxyNeighbour], new: frozenset[ProxyNeighbour]
    ) -> None:
        if new:
            # for all interfaces: by an interface's own switch the kernel answers what is asked of
            # everybody, but not the unicast probes of those who know our address already
            _write_sysctl("ipv6/conf/all/proxy_ndp", "1")
        try:
            added = [make_proxy(item, socket.if_nametoindex, add=True) for item in new - old]
        except OSError as error:
            raise DataplaneError("add proxy neighbour", "no such home link") from error
        self._transact("add proxy neighbour", added)
        removed = [make_proxy(item, socket.if_nametoindex, add=False) for item in old - new]
        self._transact("delete proxy neighbour", removed)

    def _dump_proxies(self) -> frozenset[ProxyNeighbour]:
        message, kind = make_proxy_dump()
        found = (
            read_proxy(answer, socket.if_indextoname) for answer in self._socket.dump(message, kind)
        )
        return frozenset(proxy for proxy in found if proxy is not None)

    def _transact(self, operation: str, messages: list[Any]) -> None:
        if not messages:
            return
        for failure in self._socket.transact(messages):
            if failure is not None and not _is_already_so(operation, failure):
                raise DataplaneError(operation, str(failure), _suggest(operation, failure))

    def _run_nft(self, commands: str) -> None:
        if not commands:
            return
        code, _output, error = self._nft.cmd(commands)
        if code != 0:
            raise DataplaneError("load nftables rules", error.strip(), _suggest_nft(error))

    def _list(self, what: str, family: Family | None = None, name: str = "") -> list[Any]:
        """List all tables, or in ``family`` all counters or what is called ``name``."""
        place: dict[str, str] | None = None
        if family is not None:
            place = {"family": family.word, "table": nft.TABLE}
        if place is not None and name:
            place["name"] = name
        code, output, error = self._nft.json_cmd(
            {"nftables": [{"metainfo": {"json_schema_version": 1}}, {"list": {what: place}}]}
        )
        if code != 0:
            raise DataplaneError(f"list {what} {name}".strip(), error.strip())
        return list(output["nftables"]) if output else []


def choose_encapsulation(wanted: Encapsulation | None) -> Encapsulation:
    """Return ``wanted`` or, if None, what this kernel can: ``ip6tnl`` where it has it.

    :raises DataplaneError: where the kernel has neither.
    """
    if wanted is not None:
        return wanted
    route_socket = RouteSocket()
    try:
        try:
            if not tunnel_device_stands():
                add_tunnel_device(route_socket, (Family.IPV6,))
        except DataplaneError:
            if not _LWTUNNEL_HOOKS.exists():
                raise
            return Encapsulation.SEG6
        return Encapsulation.IP6TNL
    finally:
        route_socket.close()


def enable_lwtunnel_hooks() -> None:
    """Let inner packets of light-weight tunnels pass netfilter, and so connection tracking.

    The switch is the kernel's one and only, for all namespaces, and can't be unset; it changes
    nothing for packets that are not encapsulated by a light-weight tunnel.

    :raises DataplaneError: where the kernel has no such switch or it may not be set.
    """
    try:
        if _LWTUNNEL_HOOKS.read_text().strip() != "1":
            _LWTUNNEL_HOOKS.write_text("1")
    except OSError as error:
        raise DataplaneError(
            f"set {_LWTUNNEL_HOOKS}",
            str(error),
            "the seg6 encapsulation needs Linux 5.15 or later with CONFIG_NETFILTER and seg6; "
            'where there is ip6_tunnel use encapsulation = "ip6tnl"',
        ) from error


def _is_ours(item: Mapping[str, Any]) -> bool:
    return "table" in item and item["table"]["name"] == nft.TABLE


def _read_pair(address: str, number: int | str) -> AddressPair:
    return IPv6Address(address), IPv6Address(int(str(number), 0))


def _add_up(counted: Iterable[tuple[Key, Mapping[str, int]]]) -> dict[Key, tuple[int, int]]:
    """Return the (packets, bytes) of each key."""
    sums: dict[Key, tuple[int, int]] = {}
    for key, counter in counted:
        packets, octets = sums.get(key, (0, 0))
        sums[key] = packets + counter["packets"], octets + counter["bytes"]
    return sums


def _is_already_so(operation: str, failure: NetlinkFailure) -> bool:
    """Tell whether what was asked for is so anyway, by somebody else's doing."""
    if operation.startswith("add"):
        return failure.errno == errno.EEXIST
    return failure.errno in (errno.ESRCH, errno.ENOENT, errno.ENODEV)


def _suggest(operation: str, failure: NetlinkFailure) -> str:
    if failure.errno == errno.EPERM:
        return "CAP_NET_ADMIN is missing"
    if failure.errno == errno.EOPNOTSUPP and operation == "add route":
        return "the kernel lacks this encapsulation: CONFIG_IPV6_SEG6_LWTUNNEL or ip6_tunnel"
    return ""


def _suggest_nft(error: str) -> str:
    if "not permitted" in error:
        return "CAP_NET_ADMIN is missing"
    if "not supported" in error or "No such file" in error:
        return "the kernel lacks one of nf_tables, nft_ct, nft_fib_ipv6, nft_dup_ipv6: load them"
    return ""


def _keep_router_advertisements(name: str) -> None:
    """Set ``accept_ra`` 2 where it is 1: with forwarding on, 1 would mean "ignore"."""
    path = f"ipv6/conf/{name}/accept_ra"
    try:
        if (_SYSCTL / path).read_text().strip() == "1":
            _write_sysctl(path, "2")
    except FileNotFoundError:
        return  # the interface is away at the moment


def _accept_inner_sources(name: str) -> None:
    """Let ``rp_filter`` pass inner IPv4 packets, whose sources are not reached by ``name``.

    The greater of this switch and that of all interfaces holds.
    """
    if not (_SYSCTL / f"ipv4/conf/{name}").exists():
        return  # the interface is away at the moment
    strict_everywhere = (_SYSCTL / "ipv4/conf/all/rp_filter").read_text().strip() == "1"
    _write_sysctl(f"ipv4/conf/{name}/rp_filter", "2" if strict_everywhere else "0")


def _write_sysctl(path: str, value: str) -> None:
    target = _SYSCTL / path
    try:
        if target.read_text().strip() != value:
            target.write_text(value)
    except OSError as error:
        raise DataplaneError(f"set {target}", str(error), "CAP_NET_ADMIN is missing") from error
