from __future__ import annotations

import pytest

from mrouter.policy.model import Bicast, Drop, Steer
from mrouter.policy.resolve import resolve


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
    ],
)
def test_an_action_uses_the_first_links_that_are_up(action, up, links):
    assert resolve(action, up) == links
