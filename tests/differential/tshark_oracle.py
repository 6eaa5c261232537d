"""tshark's reading of packets: files are read, nothing is captured, no name is looked up."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from xml.etree import ElementTree

from mrouter.capture.frame import Frame
from mrouter.capture.pcap import FrameWriter

PADDING = ("mip6.options.pad1", "mip6.options.padn")

#: What tshark says of an option that it has no reading for.
_NOT_DISSECTED = "IE data not dissected yet"


@dataclass(frozen=True, slots=True)
class DissectedOption:
    """A mobility option; ``name`` is "" where tshark has no reading for it."""

    name: str
    octets: str
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Dissection:
    """What tshark reads in one packet.

    ``fields`` has the hexadecimal values of each field by name, without those of the mobility
    ``options``. ``complaints`` are its expert's.
    """

    fields: dict[str, list[str]]
    options: list[DissectedOption]
    complaints: list[str]


def dissect(packets, directory):
    """Return tshark's reading of each IPv6 packet of ``packets``; one process reads them all."""
    capture = directory / "written.pcap"
    with FrameWriter(capture) as writer:
        for number, data in enumerate(packets):
            writer.write(Frame(float(number), "", data))
    done = subprocess.run(
        ["tshark", "-n", "-r", str(capture), "-T", "pdml"],
        env=os.environ | {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory)},
        capture_output=True,
        timeout=120,
        check=True,
    )
    dissections = [_read_packet(element) for element in ElementTree.fromstring(done.stdout)]
    assert len(dissections) == len(packets)
    return dissections


def _read_packet(packet):
    fields: dict[str, list[str]] = {}
    options: list[DissectedOption] = []

    def visit(element):
        for child in element:
            if child.get("show") == "Mobility Options" and not child.get("name"):
                options.extend(map(_read_option, child))
            elif child.get("hide") != "yes":
                if child.tag == "field":
                    fields.setdefault(child.get("name"), []).append(_read_value(child))
                visit(child)

    visit(packet)
    messages = [
        field.get("show") for field in packet.iter() if field.get("name") == "_ws.expert.message"
    ]
    return Dissection(fields, options, [text for text in messages if text != _NOT_DISSECTED])


def _read_option(element):
    fields = {}
    for field in element.iter("field"):
        name = field.get("name")
        if field is not element and not name.startswith("_ws.") and field.get("hide") != "yes":
            fields[name] = _read_value(field)
    return DissectedOption(element.get("name"), element.get("value"), fields)


def _read_value(field):
    """Return the octets, or the number where tshark has made the field up."""
    return field.get("value", field.get("show"))
