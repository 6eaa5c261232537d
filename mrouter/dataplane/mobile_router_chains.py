"""The mobile router's chains: in by the hooks, to an action, and out by a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.dataplane import balance, fragments, marks, mip6, optimized_routes
from mrouter.dataplane.fragments import has_mark, set_mark
from mrouter.dataplane.nft import Chain
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
#: The outer and the inner IPv6 header, and TCP's own without options.
_MSS_OVERHEAD = 40 + 40 + 20
#: Seconds of a rate that may be sent at once, and the least that lets a few large packets through.
_BURST = 0.1
_LEAST_BURST = 16_384


def make_entry_chains(view: MobileRouterView, default_action: str) -> tuple[Chain, ...]:
    """Return the hooks' chains; ``default_action`` is that of the policy that matches all."""
    decapsulated = has_mark(marks.DECAP)
    return (
        Chain(
            "prerouting",
            (
                *fragments.tunnel_guard_rules(view.encapsulation),
                f"{_match_interfaces('iifname', 'ingress', view.entrances)} goto ingress",
                "meta l4proto 41 ip6 daddr vmap @decap",
                f"{decapsulated} goto inner",
                "iifname @egress ip6 daddr @home counter name unencapsulated_rejected drop",
            ),
            "type filter hook prerouting priority mangle;",
        ),
        # the short way for all but a flow's first packets; a SYN may be sent twice, and clamped
        Chain(
            "ingress",
            (
                "tcp flags & syn == syn goto uplink",
                f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @actions",
                "goto uplink",
            ),
        ),
        Chain(
            "outer",
            (
                fragments.bicast_label_rule(),
                *fragments.decapsulation_rules(view.encapsulation, view.local_addresses),
                "accept",
            ),
        ),
        Chain(
            "inner",
            (
                "ip6 daddr != @home counter name inner_rejected drop",
                "ip6 saddr @home counter name inner_rejected drop",
                f"{has_mark(marks.BICAST)} meta mark & {marks.SLOT_MASK:#010x} vmap @unseen",
                *_received_rules(view),
                *make_clamp_rules(view),
                set_mark(0, 0),
            ),
        ),
        Chain(
            "uplink",
            (
                f"{fragments.UNSTEERED_ICMPV6} return",
                "ip6 daddr { fe80::/10, ff00::/8 } return",
                "ip6 daddr @home return",
                "fib daddr type local return",
                # the home agent would drop it anyway, after it has cost a radio link
                "ip6 saddr != @home counter name foreign_source_dropped drop",
                # nor may anybody on board speak in our own name (RFC 3963 §9)
                "iifname @ingress fib saddr type local counter name foreign_source_dropped drop",
                *make_clamp_rules(view),
                *_optimization_rules(view),
                f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @actions",
                # an error goes as the flow that it speaks of, and never chooses for it
                f"icmpv6 type < 128 goto {default_action}",
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
                "oifname @egress ip6 daddr @home counter name leaks_prevented drop",
                "ip6 saddr @home jump uplink",
            ),
            "type route hook output priority mangle;",
        ),
        Chain(
            "forward",
            (f"meta mark & {marks.OUTER:#010x} == 0 oifname @egress goto clear",),
            "type filter hook forward priority filter;",
        ),
        # what is for a part of our prefix that is on no interface would come back by the tunnel
        Chain(
            "clear",
            (
                "iifname @ingress counter name leaks_prevented drop",
                "ip6 daddr @home counter name leaks_prevented drop",
            ),
        ),
    )


def make_path_chains(view: MobileRouterView) -> Iterable[Chain]:
    """Yield the chains that lead into each path's tunnel and out of it, and postrouting."""
    others = "counter name outer_rejected drop"
    shared = any(isinstance(policy.action, Balance) for policy in view.policies.policies)
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
                "ip6 nexthdr != 41 counter name outer_rejected drop",
                set_mark(0, marks.DECAP | slot),
                f"counter name downlink-{path.link}",
                "goto outer",
            ),
        )
        yield Chain(f"copy_{path.slot}", fragments.copy_rules(path.slot))
        if shared:
            yield balance.share_chain(path.slot)
    for path in (*view.paths, *optimized_routes.list_direct_paths(view.optimized)):
        slot = marks.mark_slot(path.slot)
        yield Chain(f"link_{path.slot}", (set_mark(0, marks.ENCAP | slot), "accept"))
        # several care-of addresses may stand on one interface: the kernel's choice is not ours
        yield Chain(
            f"outer_{path.slot}",
            (f"counter name uplink-{path.link}", f"ip6 saddr set {path.care_of_address}"),
        )
    yield Chain(
        "postrouting",
        (
            *([mip6.transformed_rule()] if view.by_headers else []),
            *fragments.outer_packet_rules(view.encapsulation),
            f"meta mark & {marks.SLOT_MASK:#010x} vmap @outer",
        ),
        "type filter hook postrouting priority mangle;",
    )


def _received_rules(view: MobileRouterView) -> tuple[str, ...]:
    """Count what came by which slot; signalling keeps its mark, by which the agent knows it."""
    count = "update @received { ct mark . meta mark }"
    if not view.correspondents:
        return (count,)
    from_home_agent = f"meta mark & {marks.SLOT_MASK:#010x} != 0"
    # seg6 delivers it without its passing here
    keep = [f"ip6 daddr {view.home_address} meta l4proto 135 accept"]
    return (
        *(keep if view.encapsulation is Encapsulation.IP6TNL else []),
        f"{from_home_agent} {count}",
    )


def _optimization_rules(view: MobileRouterView) -> tuple[str, ...]:
    if not view.correspondents:
        return ()
    best = next((path for path in view.paths if path.usable), None)
    return optimized_routes.make_uplink_rules(view.home_address, best)


def _match_interfaces(key: str, set_name: str, names: tuple[str, ...]) -> str:
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
    treatment: Treatment, chosen: Mapping[str, TunnelPath], view: MobileRouterView
) -> tuple[str, ...]:
    """Return what is done with a packet: by the links of ``chosen`` that ``treatment`` asks for."""
    action = treatment.action
    if isinstance(action, Drop):
        return ("counter name policy_dropped drop",)
    usable = restrict(treatment, chosen)
    paths = {link: path for link, path in chosen.items() if link in usable}
    ways = ("goto link_home",) if view.home_path is not None else _way_rules(action, paths)
    if not ways:
        waits = treatment.wait and view.waiting is not None
        return ("goto wait",) if waits else ("counter name no_link_dropped drop",)
    remark = () if treatment.remark is None else (f"ip6 dscp set {treatment.remark}",)
    return (*_limit_rules(treatment), *remark, *ways)


def _limit_rules(treatment: Treatment) -> tuple[str, ...]:
    if treatment.limit is None:
        return ()
    _policy, rate = treatment.limit
    burst = max(int(rate * _BURST), _LEAST_BURST)
    limit = f"limit rate over {rate} bytes/second burst {burst} bytes"
    return (f"{limit} counter name rate_limited drop",)


def _way_rules(action: Action, chosen: Mapping[str, TunnelPath]) -> tuple[str, ...]:
    """Return the rules that send by the links of ``action``; none while none of them is up."""
    paths = [chosen[link] for link in resolve(action, chosen)]
    if not paths:
        return ()
    if isinstance(action, Balance):
        tier = find_tier(action, chosen)
        if tier is None or len(paths) == 1:
            return balance.single_rules(paths[0].slot)
        slots = {path.link: path.slot for path in paths}
        return balance.balance_rules(tier.shares, action.by_source, slots)
    if not isinstance(action, Bicast):
        return (f"goto link_{paths[0].slot}",)
    # the last "copy" is the packet itself; alone it needs no looking for duplicates
    *copies, last = paths
    if not copies:
        return (f"goto link_{last.slot}",)
    bits = marks.ENCAP | marks.BICAST | marks.mark_slot(last.slot)
    return (
        *(f"jump copy_{path.slot}" for path in copies),
        set_mark(0, bits),
        "accept",
    )


def make_clamp_rules(view: MobileRouterView) -> tuple[str, ...]:
    """Clamp TCP's segment size to what the narrowest path takes with the outer header."""
    if not view.paths:
        return ()
    size = min(path.mtu for path in view.paths) - _MSS_OVERHEAD
    return (
        f"tcp flags & syn == syn tcp option maxseg size > {size} tcp option maxseg size set {size}",
    )
