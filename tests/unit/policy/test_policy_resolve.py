from __future__ import annotations

import pytest

from mrouter.policy.model import Balance, Bicast, Drop, Steer, Tier
from mrouter.policy.resolve import find_tier, resolve

SHARED = Tier(("lte", "wifi"), (3, 1))
RESERVE = Tier(("sat", "dsl"))
TIERED = Balance((SHARED, RESERVE))


@pytest.mark.parametrize(
    ("action", "up", "links"),
    [
        (Drop(), {"lte", "wifi"}, ()),
        (Steer(("wifi", "lte")), {"lte", "wifi"}, ("wifi",)),
        (Steer(("wifi", "lte")), {"lte"}, ("lte",)),
        (Steer(("wifi", "lte")), {"sat"}, ()),
        (Bicast(("lte", "wifi", "sat"), 2), {"sat", "wifi", "lte"}, ("lte", "wifi")),
        (Bicast(("lte", "wifi", "sat"), 2), {"sat", "wifi"}, ("wifi", "sat")),
        (Bicast(("lte", "wifi", "sat"), 3), {"sat", "wifi", "lte"}, ("lte", "wifi", "sat")),
        (Bicast(("lte", "wifi"), 2), {"wifi"}, ("wifi",)),
        (Bicast(("lte", "wifi"), 2), set(), ()),
        (TIERED, {"sat", "wifi", "lte"}, ("lte", "wifi")),
        (TIERED, {"sat", "wifi"}, ("wifi",)),
        (TIERED, {"sat", "dsl"}, ("sat",)),
        (TIERED, {"dsl"}, ("dsl",)),
        (TIERED, set(), ()),
    ],
)
def test_an_action_uses_the_first_links_that_are_up(action, up, links):
    assert resolve(action, up) == links


@pytest.mark.parametrize(
    ("up", "tier"),
    [({"wifi", "sat"}, SHARED), ({"lte"}, SHARED), ({"dsl"}, RESERVE), (set(), None)],
)
def test_the_first_tier_with_a_link_that_is_up_is_used(up, tier):
    assert find_tier(TIERED, up) is tier


def test_the_links_of_tiers_are_listed_the_best_first():
    action = Balance((Tier(("a", "b", "c"), (1, 3, 3)), Tier(("e", "d"))))

    assert action.links == ("b", "c", "a", "e", "d")
