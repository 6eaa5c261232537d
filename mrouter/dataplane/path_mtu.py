"""What fits into a tunnel: TCP's segments, and packets that are to be cut into fragments.

The tunnel's header takes 40 octets of what the path takes. A packet of 1280 octets must pass
whatever the path takes (RFC 8200 §5): where it does not fit, the outer packet goes in fragments
(RFC 2473 §7.1). No kernel cuts what it has forwarded into a tunnel: those few packets are handed to
the agent by the netfilter log.

What comes in fragments is put together by connection tracking. seg6 encapsulates the whole, and
cuts that; ip6tnl is given fragments again, as it is of what is sent here, and can't send those that
do not fit: these packets are handed over whole, too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.dataplane.state import Encapsulation, Route, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mrouter.policy.model import Network


MINIMUM_MTU = 1280
TUNNEL_HEADER = 40
#: TCP's own, without options.
_TCP_HEADER = 20

#: The netfilter log group by which packets to be cut reach the agent.
CUT_GROUP = 79

#: The set of (source, destination) of fragments.
_FRAGMENTED = "fragmented"

#: The packets that say how large a segment their sender takes.
SYN = "tcp flags & syn == syn"


@dataclass(frozen=True, slots=True)
class NarrowPath:
    """A path to ``destination`` that takes less than the interface by which it begins.

    Without ``device`` it is not known where it begins: in another tunnel, for one.
    """

    destination: IPv6Address
    mtu: int
    device: str = ""
    gateway: IPv6Address | None = None


def find_tunnel_mtu(path_mtu: int) -> int:
    """Return the largest packet that a tunnel takes, in octets (RFC 2473 §7.1)."""
    return max(MINIMUM_MTU, path_mtu - TUNNEL_HEADER)


def clamp_rule(path_mtu: int, family: Family = Family.IPV6) -> str:
    """Return the rule that clamps a SYN's segment size to what goes by the path in one piece.

    ``family`` is the SYN's, inside the tunnel.
    """
    size = path_mtu - TUNNEL_HEADER - family.header_size - _TCP_HEADER
    return f"tcp option maxseg size > {size} tcp option maxseg size set {size}"


def _is_cut(path_mtu: int) -> bool:
    return path_mtu - TUNNEL_HEADER < MINIMUM_MTU


def cut_rules(encapsulation: Encapsulation, path_mtu: int, match: str) -> tuple[str, ...]:
    """Return the rules that hand to the agent what it must cut, of the packets that ``match``."""
    if not _is_cut(path_mtu):
        return ()
    hand_over = f"log group {CUT_GROUP} drop"
    small = f"meta length {path_mtu - TUNNEL_HEADER + 1}-{MINIMUM_MTU} {match}"
    if encapsulation is Encapsulation.SEG6:
        return (f"{small} {hand_over}",)
    large = f"meta length > {MINIMUM_MTU} {match}"
    return (
        f"{small} {hand_over}",
        f"{large} ip6 saddr . ip6 daddr @{_FRAGMENTED} {hand_over}",
        # TCP's packets may be many in one, each of which fits
        f"{large} meta l4proto != 6 fib saddr type local {hand_over}",
    )


def make_fragment_memory(
    encapsulation: Encapsulation, path_mtus: Iterable[int], match: str
) -> tuple[tuple[NftSet, ...], tuple[Chain, ...]]:
    """Return what remembers who sends fragments to whom, of the packets that ``match``.

    Once they are put together nothing else tells them from a packet that is too big. It is there
    where one of ``path_mtus`` asks for it.
    """
    if encapsulation is not Encapsulation.IP6TNL or not any(map(_is_cut, path_mtus)):
        return (), ()
    declaration = "typeof ip6 saddr . ip6 daddr; flags dynamic,timeout; timeout 2s; size 65536;"
    remember = f"exthdr frag exists {match} update @{_FRAGMENTED} {{ ip6 saddr . ip6 daddr }}"
    return (
        (NftSet(_FRAGMENTED, declaration),),
        (Chain("fragments", (remember,), fragments.BEFORE_FRAGMENTS),),
    )


def make_narrow_routing(
    encapsulation: Encapsulation, paths: Iterable[NarrowPath]
) -> tuple[set[Route], set[Rule]]:
    """Return the routes by which the kernel knows what ``paths`` take, and the rule to them.

    ip6tnl's kernel learns it by itself, and asks for no mark when it looks for its way.
    """
    known = [path for path in paths if path.device]
    if encapsulation is Encapsulation.IP6TNL or not known:
        return set(), set()
    return (
        {
            Route(
                marks.NARROW_TABLE,
                IPv6Network(path.destination),
                path.device,
                path.gateway,
                mtu=path.mtu,
            )
            for path in known
        },
        {Rule(marks.NARROW_TABLE, marks.OUTER, marks.OUTER)},
    )


@dataclass(frozen=True, slots=True)
class NarrowTunnels:
    """The bindings of a home agent or correspondent node whose paths take less than its interface.

    ``mtu`` is what the others take; ``networks`` are those behind the narrow ones, by slot and by
    what their path takes.
    """

    encapsulation: Encapsulation
    mtu: int
    networks: Mapping[tuple[int, int], tuple[Network, ...]]

    def make_sets(self) -> tuple[NftSet, ...]:
        """Return the sets of the networks, and what else the rules ask."""
        return (
            *(
                fragments.network_set(_set_name(*key), networks)
                for key, networks in sorted(self.networks.items())
            ),
            *self._make_fragment_memory()[0],
        )

    def make_chains(self) -> tuple[Chain, ...]:
        """Return ``clamp_up`` and ``clamp_down``, for the SYNs from and to mobile networks.

        And the chain that remembers fragments, where there must be one.
        """
        sizes = sorted({mtu for _slot, mtu in self.networks})
        return (
            *(Chain(f"clamp_{mtu}", (clamp_rule(mtu),)) for mtu in sizes),
            *(
                Chain(
                    name,
                    (
                        *(
                            f"{_match(slot, mtu, side)} goto clamp_{mtu}"
                            for slot, mtu in sorted(self.networks)
                        ),
                        clamp_rule(self.mtu),
                    ),
                )
                for name, side in (("clamp_up", "saddr"), ("clamp_down", "daddr"))
            ),
            *self._make_fragment_memory()[1],
        )

    def _make_fragment_memory(self) -> tuple[tuple[NftSet, ...], tuple[Chain, ...]]:
        mtus = [self.mtu, *(mtu for _slot, mtu in self.networks)]
        return make_fragment_memory(self.encapsulation, mtus, "ip6 daddr @mobile")

    def enter_rules(self) -> tuple[str, ...]:
        """Return the rules for what is about to be encapsulated."""
        narrow = (
            rule
            for slot, mtu in sorted(self.networks)
            for rule in cut_rules(self.encapsulation, mtu, _match(slot, mtu, "daddr"))
        )
        return (
            f"{SYN} jump clamp_down",
            *narrow,
            *cut_rules(self.encapsulation, self.mtu, "ip6 daddr @mobile"),
        )


def group_networks(
    tunnels: Iterable[tuple[int, IPv6Address, tuple[Network, ...]]],
    mtus: Mapping[IPv6Address, int],
) -> dict[tuple[int, int], tuple[Network, ...]]:
    """Return the networks of ``tunnels`` (slot, care-of address, networks) in ``mtus``, grouped."""
    grouped: dict[tuple[int, int], tuple[Network, ...]] = defaultdict(tuple)
    for slot, care_of_address, networks in tunnels:
        if care_of_address in mtus:
            grouped[slot, mtus[care_of_address]] += networks
    return grouped


def _set_name(slot: int, mtu: int) -> str:
    return f"narrow_{slot}_{mtu}"


def _match(slot: int, mtu: int, side: str) -> str:
    by_slot = f"meta mark & {marks.SLOT_MASK:#010x} == {marks.mark_slot(slot):#010x}"
    return f"{by_slot} ip6 {side} @{_set_name(slot, mtu)}"
