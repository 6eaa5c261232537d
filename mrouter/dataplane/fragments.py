"""Pieces of ruleset that both ends of the tunnels share."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.dataplane.state import Encapsulation, Route, Rule, Seg6Decapsulation

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

#: Where seg6 decapsulates: addresses that only our own table knows. The outer destination is
#: rewritten to one of them, so that the ``local`` table, which holds the care-of address too,
#: does not win, and no rule of anybody else's has to move.
_DECAPSULATE = IPv6Network("fd6d:726f:7574:6572::/125")
_FORWARD_INNER = IPv6Network("fd6d:726f:7574:6572::1/128")
_DELIVER_INNER = IPv6Network("fd6d:726f:7574:6572::2/128")
_FORWARD_INNER_IPV4 = IPv6Network("fd6d:726f:7574:6572::4/128")
_LOCAL_TABLE = 255
#: The outer source until our own rules write the right one.
_UNWRITTEN_SOURCE = IPv6Address("fd6d:726f:7574:6572::3")

#: The netfilter log group by which Mobility Headers reach the agent.
SIGNALLING_GROUP = 77

#: The collect-metadata ip6tnl device.
TUNNEL_DEVICE = "mrouter0"

#: How long a packet is remembered to know its copies by.
_DUPLICATE_WINDOW = "500ms"

#: A duplicate's key: addresses, and the transport header's first 16 (or 8) octets. For UDP that
#: is ports, length, checksum and the first 8 octets of payload, where RTP has its sequence number.
_LONG_TRANSPORT = "@th,0,64 . @th,64,64"
_SHORT_TRANSPORT = "@th,0,64"
_LONG_KEY_AT_LEAST = 16

#: Both are set on an outer packet.
_ENCAPSULATED = marks.ENCAP | marks.OUTER

#: Before connection tracking puts fragments together.
BEFORE_FRAGMENTS = "type filter hook prerouting priority -450;"

#: Neighbour discovery, router discovery and multicast listener reports: never steered.
UNSTEERED_ICMPV6 = "icmpv6 type { 130-137, 143 }"

#: The code points of DSCP, in the place where IPv4 has them, to the first two octets of an IPv6
#: header with the same. ECN's bits stay out: nobody looks at the outer ones when the tunnel ends.
_CLASSES = ", ".join(f"{point << 2:#04x} : {0x6000 | point << 6:#06x}" for point in range(64))

BASE_COUNTERS = ("outer_rejected", "inner_rejected", "duplicates_dropped", "bicast_copies")


def report(rate: int) -> str:
    """Return the statement that shows the agent what is dropped, ``rate`` packets a second."""
    return f"limit rate {rate}/second burst {rate} packets log group {SIGNALLING_GROUP}"


def set_mark(kept: int, value: int) -> str:
    """Return the statement that keeps the bits ``kept`` of ours, and all foreign ones."""
    mask = (~marks.FIREWALL_MASK & 0xFFFFFFFF) | kept
    return f"meta mark set meta mark & {mask:#010x} | {value:#010x}"


def has_mark(bits: int) -> str:
    """Return the match "all of ``bits`` are set"."""
    return f"meta mark & {bits:#010x} == {bits:#010x}"


def set_connection_mark(cleared: int, value: int) -> str:
    """Return the statement that replaces the bits ``cleared`` by ``value``."""
    return f"ct mark set ct mark & {~cleared & 0xFFFFFFFF:#010x} | {value:#010x}"


def match_tunnelled(families: Container[Family]) -> str:
    """Return the match of outer packets that carry one of ``families``, IPv6 among them."""
    return f"meta l4proto {list_next_headers(families)}"


def list_next_headers(families: Container[Family]) -> str:
    """Return the next headers of outer packets, as nft's comparisons take them."""
    return "{ 4, 41 }" if Family.IPV4 in families else "41"


def network_set(
    name: str, networks: Iterable[IPv4Network | IPv6Network], family: Family = Family.IPV6
) -> NftSet:
    """Return the set of all addresses of ``networks``, which are all of ``family``.

    A network inside another one is left out: nft refuses it, or with ``auto-merge`` forgets it
    together with the other.
    """
    outermost: dict[str, str] = {}
    covered = -1
    for _first, last, network in sorted(
        (int(network.network_address), -int(network.broadcast_address), network)
        for network in networks
    ):
        if -last > covered:
            outermost[str(network)] = ""
            covered = -last
    return NftSet(name, f"type {family.address_type}; flags interval;", "set", outermost)


def find_tunnel_source(encapsulation: Encapsulation) -> IPv6Address | None:
    """Return seg6's default outer source: no care-of address, nobody's home address."""
    return _UNWRITTEN_SOURCE if encapsulation is Encapsulation.SEG6 else None


def raw_chains(
    encapsulation: Encapsulation, families: Container[Family] = (Family.IPV6,)
) -> tuple[Chain, Chain]:
    """Keep outer packets and signalling out of connection tracking: inner flows are the flows."""
    rules = (f"{match_tunnelled(families)} notrack", "meta l4proto 135 notrack")
    outer = f"{has_mark(_ENCAPSULATED)} goto encapsulated"
    outgoing = (outer, *rules) if encapsulation is Encapsulation.SEG6 else rules
    return (
        Chain("raw_prerouting", rules, "type filter hook prerouting priority raw;"),
        Chain("raw_output", outgoing, "type filter hook output priority raw;"),
    )


def input_chain(encapsulation: Encapsulation, delivered: str = "inner") -> Chain:
    """Hand signalling to the agent, and keep the kernel from answering it.

    Mobility Headers, and the ICMPv6 messages of RFC 6275 §6.5 to §6.8.

    A kernel without ``mip6`` would answer the Home Address option and the type 2 routing header
    with a Parameter Problem.

    What seg6 delivers locally has not passed prerouting without its outer header: it is looked
    at here, by the chain ``delivered``.
    """
    rules = [
        f"{kind} log group {SIGNALLING_GROUP} drop"
        for kind in ("meta l4proto 135", "icmpv6 type { 144-147 }")
    ]
    if encapsulation is Encapsulation.SEG6:
        rules.append(f"{has_mark(marks.DECAP)} ip6 daddr != {_DECAPSULATE} jump {delivered}")
    return Chain("input", tuple(rules), "type filter hook input priority filter;")


def bicast_label_rule() -> str:
    """Return the rule that hands an outer packet's bicast label on to its mark."""
    return (
        f"ip6 flowlabel {marks.BICAST_FLOW_LABEL:#x} {set_mark(marks.FIREWALL_MASK, marks.BICAST)}"
    )


def decapsulation_rules(
    encapsulation: Encapsulation,
    local_addresses: Iterable[IPv6Address],
    families: Container[Family] = (Family.IPV6,),
) -> tuple[str, ...]:
    """Return the rules that send an accepted outer packet to its decapsulation."""
    if encapsulation is Encapsulation.IP6TNL:
        return ()
    # Next Header stands 6 octets, the destination 24 into the second IPv6 header. A tunnel in the
    # tunnel is of a mobile router behind a mobile router: forwarded to prerouting once more
    deliver = ", ".join(f"{int(address):#034x}" for address in sorted(local_addresses))
    ipv4 = f"ip6 nexthdr 4 ip6 daddr set {_FORWARD_INNER_IPV4.network_address} accept"
    return (
        *([ipv4] if Family.IPV4 in families else []),
        f"@nh,368,8 != {list_next_headers(families)} @nh,512,128 {{ {deliver} }} "
        f"ip6 daddr set {_DELIVER_INNER.network_address} accept",
        f"ip6 daddr set {_FORWARD_INNER.network_address} accept",
    )


def decapsulation_routes(
    encapsulation: Encapsulation, device: str, families: Container[Family] = (Family.IPV6,)
) -> frozenset[Route]:
    """Return the routes that decapsulate.

    ``device`` is formal, as in every light-weight tunnel's route, but must be up and not ``lo``,
    through which the kernel makes no true route.
    """
    if encapsulation is Encapsulation.IP6TNL:
        return frozenset()
    tunnels = {_FORWARD_INNER: Seg6Decapsulation(), _DELIVER_INNER: Seg6Decapsulation(_LOCAL_TABLE)}
    if Family.IPV4 in families:
        tunnels[_FORWARD_INNER_IPV4] = Seg6Decapsulation(family=Family.IPV4)
    return frozenset(
        Route(marks.DECAP_TABLE, address, device, tunnel=tunnel)
        for address, tunnel in tunnels.items()
    )


def decapsulation_rule_set(encapsulation: Encapsulation) -> frozenset[Rule]:
    """Return the rule that finds the decapsulating routes."""
    if encapsulation is Encapsulation.IP6TNL:
        return frozenset()
    return frozenset({Rule(marks.DECAP_TABLE, marks.DECAP, marks.DECAP)})


def _list_keys(family: Family) -> dict[str, str]:
    ends = f"{family.word} saddr . {family.word} daddr"
    return {"long": f"{ends} . {_LONG_TRANSPORT}", "short": f"{ends} . {_SHORT_TRANSPORT}"}


def duplicate_sets(slots: Iterable[int], family: Family = Family.IPV6) -> tuple[NftSet, ...]:
    """Return, for each of ``slots``, the sets of keys of what came by it; and of what came first.

    The latter's elements have one token each, which one packet alone gets.
    """
    return tuple(
        NftSet(
            f"{name}_{length}{slot}",
            f"typeof {key}; flags dynamic,timeout; timeout {_DUPLICATE_WINDOW}; size 65536;",
        )
        for length, key in _list_keys(family).items()
        for name, slot in (("first", ""), *(("seen", f"_{slot}") for slot in slots))
    )


def duplicate_chains(slots: Iterable[int], family: Family = Family.IPV6) -> tuple[Chain, ...]:
    """Return a chain ``unseen_<slot>`` for each of ``slots``: drop what came by another slot.

    Two packets that came by one slot are never each other's copies, so equal payloads that were
    sent twice are delivered twice. Of copies that come at the same moment on several processors
    none finds the other's key in time. Then the token decides, after each has left its key: who
    does not get it looks once more, and takes its own key back if it finds a copy's.
    """
    slots = tuple(slots)
    chains = []
    for slot in slots:
        least = family.header_size + _LONG_KEY_AT_LEAST
        shorter = f"meta length < {least} goto unseen_short_{slot}"
        for length, key in _list_keys(family).items():
            found = [f"{key} @seen_{length}_{other}" for other in slots if other != slot]
            seen = f"@seen_{length}_{slot} {{ {key} }}"
            drop = "counter name duplicates_dropped drop"
            token = f"update @first_{length} {{ {key} limit rate over 1/day burst 1 packets }}"
            rules = (
                *(f"{test} {drop}" for test in found),
                f"update {seen}",
                f"{token} goto late_{length}_{slot}",
            )
            chains.append(
                Chain(f"unseen_{slot}", (shorter, *rules))
                if length == "long"
                else Chain(f"unseen_short_{slot}", rules)
            )
            late = tuple(f"{test} delete {seen} {drop}" for test in found)
            chains.append(Chain(f"late_{length}_{slot}", late))
    return tuple(chains)


def copy_rules(slot: int, family: Family = Family.IPV6) -> tuple[str, ...]:
    """Return the rules that send a copy by ``slot``.

    The copy is made towards ``::1`` (or 127.0.0.1), which always has a route; the output hook
    then clears its COPY bit, and the changed mark makes the kernel route it again, by the slot's
    table.
    """
    bits = marks.ENCAP | marks.BICAST | marks.COPY | marks.STRICT | marks.mark_slot(slot)
    return (set_mark(0, bits), "counter name bicast_copies", f"dup to {family.loopback}")


def route_copy_rule() -> str:
    """Return the output hook's rule for copies."""
    return f"{has_mark(marks.COPY)} {set_mark(marks.FIREWALL_MASK & ~marks.COPY, 0)} accept"


def tunnel_guard_rules(encapsulation: Encapsulation) -> tuple[str, ...]:
    """Return the prerouting rule that drops what was decapsulated without having been checked.

    The ip6tnl device takes in tunnelled packets for any of this machine's addresses, so also for
    those that our rules do not look at; what they have let pass carries the DECAP mark.
    """
    if encapsulation is Encapsulation.SEG6:
        return ()
    return (
        f'iifname "{TUNNEL_DEVICE}" meta mark & {marks.DECAP:#010x} == 0 '
        "counter name outer_rejected drop",
    )


def ipv4_postrouting_chain() -> Chain:
    """Return the chain by which IPv4 packets pass into their tunnels."""
    rules = (
        f"meta mark & {marks.ENCAP:#010x} == 0 accept",
        f"meta mark & {marks.OUTER:#010x} == 0 {set_mark(marks.FIREWALL_MASK, marks.OUTER)} accept",
    )
    return Chain("postrouting", rules, "type filter hook postrouting priority mangle;")


def make_tunnel_chains(
    encapsulation: Encapsulation,
    enter: tuple[str, ...],
    outer: tuple[str, ...],
    first: tuple[str, ...] = (),
    families: Container[Family] = (Family.IPV6,),
) -> tuple[Chain, ...]:
    """Return the chains for what is encapsulated: ``enter`` before it is, ``outer`` afterwards.

    ``first`` are postrouting's first rules. A tunnelled packet passes that hook twice, first
    without its outer header. seg6's outer packets get their source in the raw output chain, before
    they are forwarded: should one be too big, the kernel's own error about it comes to the agent.
    """
    hook = "type filter hook postrouting priority mangle;"
    # not on a tunnel in a tunnel: there is nothing in its headers to know duplicates by
    label = (
        f"{has_mark(marks.BICAST)} @nh,368,8 != 41 ip6 flowlabel set {marks.BICAST_FLOW_LABEL:#x}"
    )
    copies = _copy_class_rules(encapsulation, families)
    entry = Chain("enter", (*enter, set_mark(marks.FIREWALL_MASK, marks.OUTER)))
    enters = f"meta mark & {_ENCAPSULATED:#010x} == {marks.ENCAP:#010x} goto enter"
    if encapsulation is Encapsulation.SEG6:
        return (
            entry,
            Chain("postrouting", (*first, enters), hook),
            Chain("encapsulated", ("notrack", *copies, label, *outer)),
        )
    encapsulated = f"meta mark & {marks.ENCAP:#010x} == 0 accept"
    return (
        entry,
        Chain("postrouting", (*first, encapsulated, enters, *copies, label, *outer), hook),
    )


def _copy_class_rules(encapsulation: Encapsulation, families: Container[Family]) -> tuple[str, ...]:
    """Return the rules that give an outer packet the class of the one in it.

    seg6 copies IPv6's by itself (RFC 2473 §6.4 leaves the choice). The first two octets are
    version, traffic class and a part of the flow label; nft copies whole ones only.
    """
    copies = ["@nh,0,16 set @nh,320,16"] if encapsulation is Encapsulation.IP6TNL else []
    if Family.IPV4 in families:
        copies = [f"ip6 nexthdr 41 {each}" for each in copies]
        # nobody does it for IPv4, whose class is in the octet after the first
        copies.append(f"ip6 nexthdr 4 @nh,0,16 set @nh,328,8 & 0xfc map {{ {_CLASSES} }}")
    return tuple(copies)
