from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest

from mrouter.policy.find import Flow, find_policy
from mrouter.policy.load import load_policies
from mrouter.policy.resolve import resolve

DIRECTORY = Path(__file__).parents[3] / "policies"
LINKS = ("lte", "wifi", "sat")
TCP, UDP = 6, 17


def links_for(file, protocol, port, dscp=0, up=LINKS):
    flow = Flow(
        protocol,
        source=IPv6Address("2001:db8:a1::5"),
        destination=IPv6Address("2001:db8:c::9"),
        source_port=40000,
        destination_port=port,
        dscp=dscp,
        ingress="lan0",
    )
    table = load_policies(DIRECTORY / f"{file}.toml", LINKS, ["lan0"])
    return resolve(find_policy(table, flow).action, up)


def test_every_shipped_file_is_tried_below():
    assert {path.stem for path in DIRECTORY.glob("*.toml")} == {
        "ambulance",
        "balanced-bus",
        "single-link",
        "train",
        "vehicle",
    }


@pytest.mark.parametrize(
    ("file", "flow", "up", "links"),
    [
        ("vehicle", (UDP, 5004), LINKS, ("lte", "wifi")),
        ("vehicle", (UDP, 20000), LINKS, ("lte", "wifi")),
        ("vehicle", (TCP, 5201), LINKS, ("wifi",)),
        ("vehicle", (TCP, 5201), ("lte", "sat"), ("lte",)),
        ("vehicle", (TCP, 5201), ("sat",), ("sat",)),
        ("vehicle", (TCP, 443), LINKS, ("lte",)),
        ("vehicle", (TCP, 443), ("wifi", "sat"), ("wifi",)),
        ("balanced-bus", (UDP, 9999, 16), ("sat",), ("sat",)),
        ("balanced-bus", (UDP, 9999, 46), LINKS, ("lte", "wifi")),
        ("balanced-bus", (TCP, 25), LINKS, ()),
        ("balanced-bus", (UDP, 443), LINKS, ("wifi",)),
        ("balanced-bus", (UDP, 443), ("sat",), ()),
        ("balanced-bus", (TCP, 22), LINKS, ("lte",)),
        ("train", (TCP, 9999, 48), ("wifi", "sat"), ("wifi", "sat")),
        ("train", (UDP, 5004), ("sat",), ()),
        ("train", (UDP, 53), LINKS, ("lte",)),
        ("train", (TCP, 443), LINKS, ("wifi",)),
        ("ambulance", (UDP, 9999, 46), LINKS, LINKS),
        ("ambulance", (UDP, 5004), LINKS, ("lte", "wifi")),
        ("ambulance", (TCP, 11112), LINKS, ("lte",)),
        ("ambulance", (TCP, 80), ("lte", "sat"), ()),
        ("single-link", (UDP, 5004), LINKS, ("lte",)),
        ("single-link", (UDP, 5004), ("sat",), ("sat",)),
    ],
)
def test_a_shipped_file_does_what_its_comments_say(file, flow, up, links):
    assert links_for(file, *flow, up=up) == links
