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
TACHOGRAPH = "02:00:00:00:00:07"


def links_for(file, protocol, port, dscp=0, destination="2001:db8:c::9", mac=None, up=LINKS):
    flow = Flow(
        protocol,
        source=IPv6Address("2001:db8:a1::5"),
        destination=IPv6Address(destination),
        source_port=40000,
        destination_port=port,
        dscp=dscp,
        ingress="lan0",
        source_mac=mac,
    )
    table = load_policies(DIRECTORY / f"{file}.toml", LINKS, ["lan0"])
    return resolve(find_policy(table, flow).action, up)


def test_every_shipped_file_is_tried_below():
    assert {path.stem for path in DIRECTORY.glob("*.toml")} == {
        "ambulance",
        "balanced-bus",
        "single-link",
        "train",
        "truck",
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
        ("balanced-bus", (UDP, 443), LINKS, ("wifi", "lte")),
        ("balanced-bus", (UDP, 443), ("lte", "sat"), ("lte",)),
        ("balanced-bus", (UDP, 443), ("sat",), ()),
        ("balanced-bus", (TCP, 22), LINKS, ("wifi", "lte")),
        ("balanced-bus", (TCP, 22), ("sat",), ("sat",)),
        ("train", (TCP, 9999, 48), ("wifi", "sat"), ("wifi", "sat")),
        ("train", (UDP, 5004), ("sat",), ()),
        ("train", (UDP, 53), LINKS, ("lte",)),
        ("train", (TCP, 443), LINKS, ("wifi",)),
        ("truck", (TCP, 443), ("sat",), ("sat",)),
        ("truck", (TCP, 443, 0, "2001:db8:d:200::1"), LINKS, ("wifi",)),
        ("truck", (TCP, 443, 0, "2001:db8:d:200::1"), ("sat",), ()),
        ("truck", (TCP, 443, 0, "2001:db8:d:1ff::1", TACHOGRAPH), LINKS, ("lte",)),
        ("truck", (TCP, 443, 0, "2001:db8:d:200::1", TACHOGRAPH), LINKS, ()),
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
