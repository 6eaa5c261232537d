"""Domain names as nftables: sets of the addresses that DNS answers have given for them.

A rule hands to the agent the answers that pass on their way to the network on board, and it puts
the addresses in, with a timeout. The elements are no part of the desired state, but for what a set
holds when it is made: so they last while other things change, and run out by themselves.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mrouter.dataplane.family import Family
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.policy.domains import find_domain_lists

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mrouter.policy.model import Address, PolicyTable

    #: By each list of domains the addresses of its names, and the seconds that they last.
    KnownNames = Mapping[tuple[str, ...], Mapping[Address, int]]

#: The netfilter log group by which DNS answers reach the agent.
NAMES_GROUP = 78
#: Twice as many as are known at once: of some the kernel and the agent count the last second apart.
MOST_ADDRESSES = 4096
_SET_SIZE = 2 * MOST_ADDRESSES
#: No query, no answer that was not asked for, and nothing on its way out.
_ANSWERS = "udp sport 53 oifname @ingress ct direction reply"


def name_set_of(domains: tuple[str, ...], family: Family) -> str:
    """Return the name of the set of the addresses of ``domains``; another list has another set."""
    return f"names{family.value}_{hashlib.sha256(' '.join(domains).encode()).hexdigest()[:16]}"


def make_name_rules(
    table: PolicyTable, known: KnownNames, family: Family
) -> tuple[tuple[NftSet, ...], tuple[Chain, ...]]:
    """Return a set for each list of domains, and the chain that shows DNS answers to the agent.

    A set begins with what is ``known`` of its list. Lists that are known are looked for even if
    none of the policies in ``table`` asks for them, since it is not their time.
    """
    lists = dict.fromkeys((*find_domain_lists(table), *known))
    if not lists:
        return (), ()
    sets = (
        NftSet(
            name_set_of(domains, family),
            f"type {family.address_type}; flags timeout; size {_SET_SIZE};",
            initial=render_addresses(known.get(domains, {}), family),
        )
        for domains in lists
    )
    hook = "type filter hook postrouting priority filter;"
    return tuple(sets), (Chain("names", (f"{_ANSWERS} log group {NAMES_GROUP}",), hook),)


def render_addresses(addresses: Mapping[Address, int], family: Family) -> dict[str, str]:
    """Return those of ``addresses`` that are of ``family`` as elements of a set."""
    return {
        f"{address} timeout {seconds}s": ""
        for address, seconds in addresses.items()
        if address.version == family.value
    }
