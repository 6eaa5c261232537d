"""Traffic selectors, and what is wanted of the packets that they choose."""

from __future__ import annotations

from mrouter.protocol.flow_bindings import WantedFlow
from mrouter.wire.options import FlowIdentification, FlowSummary
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

_MAX_FID = 9


def pick_selector(story, networks):
    """Return a selector of what goes into one of ``networks``, or anywhere."""
    network = story.pick((None, *networks))
    port = story.number(0, 0xFFFF)
    return TrafficSelector(
        destination=network and (network[0], network[story.pick((0, -1))]),
        destination_ports=story.pick((None, (port, port), (0, port))),
        next_header=story.pick((None, (17, 17))),
    )


def pick_wanted(story, links, networks):
    """Return what a mobile router may want of its home agent."""
    return tuple(
        WantedFlow(
            pick_selector(story, networks),
            tuple(link for link in links if story.chance()),
            story.number(1, 3),
        )
        for _ in range(story.number(0, 4))
    )


def pick_flow_options(story, networks):
    """Return what a Binding Update may say of flow bindings, sense or nonsense."""
    options = []
    for _ in range(story.number(0, 3)):
        fid = story.number(1, _MAX_FID)
        selectors = (None, UnknownSelector(1, b""), pick_selector(story, networks))
        ifids = tuple(story.ifid() for _ in range(story.number(0, 2)))
        priority = story.pick((fid, story.number(0, _MAX_FID)))
        options.append(FlowIdentification(fid, priority, ifids, story.pick(selectors)))
    if story.chance():
        kept = (story.number(0, _MAX_FID) for _ in range(story.number(1, 4)))
        options.append(FlowSummary(tuple(kept)))
    return options
