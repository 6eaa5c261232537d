"""The mobile router's chains: in by the hooks, to an action, and out by a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.dataplane import balance, fragments, marks, mip6, optimized_routes
from mrouter.dataplane.family import Family
from mrouter.dataplane.fragments import has_mark, set_mark
from mrouter.dataplane.ipv4_sizes import STRAY_RULE, make_size_chain, make_size_rule
from mrouter.dataplane.nft import Chain
from mrouter.dataplane.path_mtu import SYN, clamp_rule, cut_rules
from mrouter.dataplane.state import Encapsulation
from mrouter.dataplane.steering import restrict
from mrouter.policy.model import Balance, Bicast, Drop
from mrouter.policy.resolve import find_tier, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mrouter.dataplane.mobile_router import HomePath, MobileRouterView, TunnelPath
    from mrouter.dataplane.steering import Treatment
    from mrouter.policy.model import Action

#: No binding's: the home link's.
HOME_SLOT = 0
#: Seconds of a rate that may be sent at once, and the least that lets a few large packets through.
_BURST = 0.1
_LEAST_BURST = 16_384

#: What is never steered: of the link alone, or for many.
_UNSTEERED = {
    Family.IPV6: (
        f"{fragments.UNSTEERED_ICMPV6} return",
        "ip6 daddr { fe80::/10, ff00::/8 } return",
    ),
    Family.IPV4: (
        "ip daddr { 169.254.0.0/16, 224.0.0.0/4 } return",
        "fib daddr type broadcast return",
    ),
}
#: Each family's errors, which speak of a flow.
ICMP_ERRORS = {Family.IPV6: "icmpv6 type < 128", Family.IPV4: "icmp type { 3, 4, 5, 11, 12 }"}
#: By a socket, where no rule of ours has seen the packet before.
_IS_MARKED = has_mark(marks.ENCAP)
BY_SLOT = f"meta mark & {marks.SLOT_MASK:#010x}"


def make_entry_chains(
    view: MobileRouterView, family: Family, default_action: str
) -> tuple[Chain, ...]:
    """Return the hooks' chains; ``default_action`` is that of the policy that matches all."""
    decapsulated = has_mark(marks.DECAP)
    source, destination = f"{family.word} saddr", f"{family.word} daddr"
    tunnelled = fragments.match_tunnelled(view.families)
    is_ipv6 = family is Family.IPV6
    return (
        Chain(
            "prerouting",
            (
                *fragments.tunnel_guard_rules(view.encapsulation),
                f"{match_interfaces('iifname', 'ingress', view.entrances)} goto ingress",
                *([f"{tunnelled} ip6 daddr vmap @decap"] if is_ipv6 else []),
                f"{decapsulated} goto inner",
                f"iifname @egress {destination} @home counter name unencapsulated_rejected drop",
            ),
            "type filter hook prerouting priority mangle;",
        ),
        # the short way for all but a flow's first packets
        Chain(
            "ingress",
            (
                *([] if is_ipv6 else [f"{SYN} goto uplink"]),
                f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @actions",
                "goto uplink",
            ),
        ),
        Chain(
            "inner",
            (
                f"{destination} != @home counter name inner_rejected drop",
                f"{source} @home counter name inner_rejected drop",
                f"{has_mark(marks.BICAST)} meta mark & {marks.SLOT_MASK:#010x} vmap @unseen",
                *_answer_rules(view, family),
                *_received_rules(view, family),
                *([f"{SYN} jump segments"] if is_ipv6 else _ipv4_clamp_rules(view)),
                set_mark(0, 0),
            ),
        ),
        # what comes in says how large the segments are that go out
        *([Chain("segments", _segment_rules(view))] if is_ipv6 else []),
        Chain(
            "uplink",
            (
                *_UNSTEERED[family],
                f"{destination} @home return",
                "fib daddr type local return",
                # the home agent would drop it anyway, after it has cost a radio link
                f"{source} != @home counter name foreign_source_dropped drop",
                # nor may anybody on board speak in our own name (RFC 3963 §9)
                "iifname @ingress fib saddr type local counter name foreign_source_dropped drop",
                *(_optimization_rules(view) if is_ipv6 else _ipv4_clamp_rules(view)),
                f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @actions",
                # an error goes as the flow that it speaks of, and never chooses for it
                f"{ICMP_ERRORS[family]} goto {default_action}",
                "jump classify",
                f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @actions",
                # connection tracking does not know this packet: it has no verdict to keep
                f"goto {default_action}",
            ),
        ),
        Chain(
            "output",
            (
                fragments.route_copy_rule(),
                f"oifname @egress {destination} @home counter name leaks_prevented drop",
                *_probe_rules(view, family),
                f"{source} @home jump uplink",
            ),
            "type route hook output priority mangle;",
        ),
        Chain(
            "forward",
            (
                *([] if is_ipv6 else [STRAY_RULE]),
                f"meta mark & {marks.OUTER:#010x} == 0 oifname @egress goto clear",
            ),
            "type filter hook forward priority filter;",
        ),
        # what is for a part of our prefix that is on no interface would come back by the tunnel
        Chain(
            "clear",
            (
                "iifname @ingress counter name leaks_prevented drop",
                f"{destination} @home counter name leaks_prevented drop",
            ),
        ),
    )


def make_path_chains(view: MobileRouterView) -> Iterable[Chain]:
    """Yield the chains that lead into each path's tunnel and out of it, and postrouting."""
    yield Chain(
        "outer",
        (
            fragments.bicast_label_rule(),
            *fragments.decapsulation_rules(view.encapsulation, view.local_addresses, view.families),
            "accept",
        ),
    )
    others = "counter name outer_rejected drop"
    carried = fragments.list_next_headers(view.families)
    for path in view.paths:
        slot = marks.mark_slot(path.slot)
        if view.correspondents:
            others = f"goto direct_{path.slot}"
            yield optimized_routes.make_decapsulation_chain(
                path, view.home_address, view.correspondents
            )
        # accept tunnelled packets from the home agent alone, with no header in between
        yield Chain(
            f"decap_{path.slot}",
            (
                f"ip6 saddr != {view.home_agent} {others}",
                f"ip6 nexthdr != {carried} counter name outer_rejected drop",
                set_mark(0, marks.DECAP | slot),
                f"counter name downlink-{path.link}",
                "goto outer",
            ),
        )
    for path in (*view.paths, *optimized_routes.list_direct_paths(view.optimized)):
        # several care-of addresses may stand on one interface: the kernel's choice is not ours
        yield Chain(
            f"outer_{path.slot}",
            (f"counter name uplink-{path.link}", f"ip6 saddr set {path.care_of_address}"),
        )
        yield Chain(f"clamp_{path.slot}", (clamp_rule(path.mtu),))
    yield from fragments.make_tunnel_chains(
        view.encapsulation,
        enter=(f"{SYN} {BY_SLOT} vmap @clamp", *_cut_rules(view)),
        outer=(f"{BY_SLOT} vmap @outer",),
        first=(mip6.transformed_rule(),) if view.by_headers else (),
        families=view.families,
    )


def _cut_rules(view: MobileRouterView) -> Iterable[str]:
    """Yield the rules for what must go in fragments."""
    for path in (*view.paths, *optimized_routes.list_direct_paths(view.optimized)):
        match = f"{BY_SLOT} == {marks.mark_slot(path.slot):#010x}"
        yield from cut_rules(view.encapsulation, path.mtu, match)


def _segment_rules(view: MobileRouterView) -> tuple[str, ...]:
    """Return the rules for a SYN that came in, by the slot in its mark.

    A flow comes as it goes; but a bicast flow goes by several, and a correspondent node's tunnel
    has no slot.
    """
    if not view.paths:
        return ()
    narrowest = min(view.paths, key=lambda path: path.mtu)
    return (
        f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @narrowest",
        f"{BY_SLOT} == 0 goto clamp_{narrowest.slot}",
        f"{BY_SLOT} vmap @clamp",
    )


def make_way_chains(
    view: MobileRouterView, paths: Iterable[TunnelPath], family: Family
) -> Iterable[Chain]:
    """Yield the chains by which the actions send a packet by one of ``paths``."""
    shared = any(isinstance(policy.action, Balance) for policy in view.policies.policies)
    for path in paths:
        yield Chain(f"copy_{path.slot}", fragments.copy_rules(path.slot, family))
        if shared:
            yield balance.share_chain(path.slot)
        yield make_link_chain(path.slot)
        if family is Family.IPV4:
            yield make_size_chain(path.slot)


def make_link_chain(slot: int) -> Chain:
    """Return the chain that sends by ``slot``."""
    return Chain(f"link_{slot}", (set_mark(0, marks.ENCAP | marks.mark_slot(slot)), "accept"))


def _received_rules(view: MobileRouterView, family: Family) -> tuple[str, ...]:
    """Count what came by which slot; signalling keeps its mark, by which the agent knows it."""
    count = "update @received { ct mark . meta mark }"
    if not view.correspondents or family is Family.IPV4:
        return (count,)
    from_home_agent = f"meta mark & {marks.SLOT_MASK:#010x} != 0"
    # seg6 delivers it without its passing here
    keep = [f"ip6 daddr {view.home_address} meta l4proto 135 accept"]
    return (
        *(keep if view.encapsulation is Encapsulation.IP6TNL else []),
        f"{from_home_agent} {count}",
    )


def _probe_rules(view: MobileRouterView, family: Family) -> tuple[str, ...]:
    """Let go what a probe's socket has marked for its binding already."""
    if family is Family.IPV4:
        return ()
    return (f"icmpv6 type echo-request ip6 daddr {view.home_agent} {_IS_MARKED} accept",)


def _answer_rules(view: MobileRouterView, family: Family) -> tuple[str, ...]:
    """Leave out of the count what answers probes: no policy's, and untracked with seg6."""
    if view.encapsulation is Encapsulation.SEG6 or family is Family.IPV4:
        return ()
    answer = f"ip6 saddr {view.home_agent} icmpv6 type echo-reply"
    no_policy = f"ct mark & {marks.CONNECTION_MASK:#010x} == 0"
    return (f"{answer} {no_policy} {set_mark(0, 0)} accept",)


def _optimization_rules(view: MobileRouterView) -> tuple[str, ...]:
    if not view.correspondents:
        return ()
    best = next((path for path in view.paths if path.usable), None)
    return optimized_routes.make_uplink_rules(view.home_address, best)


def match_interfaces(key: str, set_name: str, names: tuple[str, ...]) -> str:
    """Return the match; one name is compared, which is cheaper than a look-up."""
    return f'{key} "{names[0]}"' if len(names) == 1 else f"{key} @{set_name}"


def make_home_chains(home: HomePath | None) -> tuple[Chain, ...]:
    """Return the chain that leads to the home link, where there is one."""
    if home is None:
        return ()
    bits = marks.ENCAP | marks.mark_slot(HOME_SLOT)
    rules = (set_mark(0, bits), f"counter name uplink-{home.link}", "accept")
    return (Chain("link_home", rules),)


def make_waiting_chains(waiting: str | None) -> tuple[Chain, ...]:
    """Return the chain that leads to where packets wait for a link, where there is such a place."""
    if waiting is None:
        return ()
    bits = marks.ENCAP | marks.mark_slot(marks.WAITING_SLOT)
    rules = (
        # what this machine sends itself can't come back as if it were forwarded
        "meta iif 0 counter name no_link_dropped drop",
        set_mark(0, bits),
        "counter name waiting",
        "accept",
    )
    return (Chain("wait", rules),)


def make_action_rules(
    treatment: Treatment,
    chosen: Mapping[str, TunnelPath],
    view: MobileRouterView,
    family: Family = Family.IPV6,
) -> tuple[str, ...]:
    """Return what is done with a packet: by the links of ``chosen`` that ``treatment`` asks for."""
    action = treatment.action
    if isinstance(action, Drop):
        return ("counter name policy_dropped drop",)
    paths = restrict_paths(treatment, chosen)
    at_home = view.home_path is not None and family is Family.IPV6
    ways = ("goto link_home",) if at_home else _way_rules(action, paths, family)
    if not ways:
        waits = treatment.wait and view.waiting is not None
        return ("goto wait",) if waits else ("counter name no_link_dropped drop",)
    remark = () if treatment.remark is None else (f"{family.word} dscp set {treatment.remark}",)
    return (*_limit_rules(treatment), *remark, *ways)


def restrict_paths(treatment: Treatment, chosen: Mapping[str, TunnelPath]) -> dict[str, TunnelPath]:
    """Return those of the links' paths ``chosen`` that ``treatment`` may use."""
    usable = restrict(treatment, chosen)
    return {link: path for link, path in chosen.items() if link in usable}


def _limit_rules(treatment: Treatment) -> tuple[str, ...]:
    """Return the rule that drops what is too much; IPv6 and IPv4 each have a limit of their own."""
    if treatment.limit is None:
        return ()
    _policy, rate = treatment.limit
    burst = max(int(rate * _BURST), _LEAST_BURST)
    limit = f"limit rate over {rate} bytes/second burst {burst} bytes"
    return (f"{limit} counter name rate_limited drop",)


def _way_rules(action: Action, chosen: Mapping[str, TunnelPath], family: Family) -> tuple[str, ...]:
    """Return the rules that send by the links of ``action``; none while none of them is up."""
    paths = [chosen[link] for link in resolve(action, chosen)]
    if not paths:
        return ()
    ways = _send_rules(action, paths, chosen, family)
    if family is Family.IPV6:
        return ways
    narrowest = min(paths, key=lambda path: path.mtu)
    return (make_size_rule(narrowest.mtu, narrowest.slot), *ways)


def _send_rules(
    action: Action,
    paths: list[TunnelPath],
    chosen: Mapping[str, TunnelPath],
    family: Family,
) -> tuple[str, ...]:
    if isinstance(action, Balance):
        tier = find_tier(action, chosen)
        if tier is None or len(paths) == 1:
            return balance.single_rules(paths[0].slot)
        slots = {path.link: path.slot for path in paths}
        return balance.balance_rules(tier.shares, action.by_source, slots, family)
    if not isinstance(action, Bicast):
        return (f"goto link_{paths[0].slot}",)
    # the last "copy" is the packet itself; alone it needs no looking for duplicates
    *copies, last = paths
    if not copies:
        return (f"goto link_{last.slot}",)
    bits = marks.ENCAP | marks.BICAST | marks.mark_slot(last.slot)
    narrowest = find_narrowest(action, chosen) if family is Family.IPV6 else None
    return (
        *([] if narrowest is None else [f"{SYN} jump clamp_{narrowest.slot}"]),
        *(f"jump copy_{path.slot}" for path in copies),
        set_mark(0, bits),
        "accept",
    )


def _ipv4_clamp_rules(view: MobileRouterView) -> tuple[str, ...]:
    """Clamp TCP's segment size to what the narrowest path takes with the outer header."""
    if not view.paths:
        return ()
    narrowest = min(path.mtu for path in view.paths)
    return (f"{SYN} {clamp_rule(narrowest, Family.IPV4)}",)


def find_narrowest(action: Action, chosen: Mapping[str, TunnelPath]) -> TunnelPath | None:
    """Return the path whose segments fit all the paths of a bicast ``action``.

    None if it goes by no more than one, or all take the same.
    """
    if not isinstance(action, Bicast):
        return None
    paths = [chosen[link] for link in resolve(action, chosen)]
    if len({path.mtu for path in paths}) < 2:
        return None
    return min(paths, key=lambda path: path.mtu)
