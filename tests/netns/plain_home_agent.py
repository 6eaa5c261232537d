"""A home agent of RFC 3963, made of scapy alone: it knows nothing of several care-of addresses.

Prints a line for each Binding Update that it answers:
(care-of address, home address, A, H and R flags, lifetime in seconds, prefixes, option types).
"""

from __future__ import annotations

import json
import sys

from scapy.layers.inet6 import (
    HAO,
    MIP6MH_BA,
    MIP6MH_BU,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
    MIP6OptMobNetPrefix,
)
from scapy.sendrecv import send, sniff

#: RFC 3963 §4.1, §4.2: the sixth flag of a Binding Update, the second of three in an answer.
_UPDATE_R = 0x0400
_ACKNOWLEDGEMENT_R = 0b010


def answer(packet, own, interface, nemo):
    update = packet[MIP6MH_BU]
    flags = int.from_bytes(bytes(update)[8:10], "big")
    home = next(o.hoa for o in packet[IPv6ExtHdrDestOpt].options if isinstance(o, HAO))
    prefixes = [
        f"{o.prefix}/{o.plen}" for o in update.options if isinstance(o, MIP6OptMobNetPrefix)
    ]
    row = {
        "care_of_address": packet[IPv6].src,
        "home_address": home,
        "flags": [bool(flags & bit) for bit in (0x8000, 0x4000, _UPDATE_R)],
        "lifetime": update.mhtime * 4,
        "prefixes": prefixes,
        "options": [o.otype for o in update.options],
    }
    print(json.dumps(row), flush=True)
    acknowledgement = MIP6MH_BA(
        status=0,
        seq=update.seq,
        mhtime=update.mhtime,
        flags=_ACKNOWLEDGEMENT_R if nemo and flags & _UPDATE_R else 0,
    )
    route = IPv6ExtHdrRouting(type=2, segleft=1, addresses=[home])
    send(IPv6(src=own, dst=packet[IPv6].src) / route / acknowledgement, iface=interface, verbose=0)


def main(own, interface, nemo):
    sniff(
        iface=interface,
        filter=f"ip6 and dst host {own}",
        lfilter=lambda packet: MIP6MH_BU in packet,
        prn=lambda packet: answer(packet, own, interface, nemo),
        started_callback=lambda: print("ready", flush=True),
        store=False,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "nemo")
