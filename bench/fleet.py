"""Many mobile routers and the Binding Updates that they send, signed and serialized."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from mrouter.lab import plan
from mrouter.protocol.keys import PacketSigner, to_ntp_timestamp
from mrouter.protocol.settings import Algorithm, SecurityAssociation, ServedMobileRouter
from mrouter.wire.constants import DEFAULT_COAINFO_TYPE, Dialect
from mrouter.wire.format import WireFormat
from mrouter.wire.messages import BindingUpdate, Packet
from mrouter.wire.options import (
    CareOfAddressInformation,
    MnHaAuthentication,
    MobileNetworkPrefix,
    ReplayProtection,
)
from mrouter.wire.packet import serialize_packet

WIRE = WireFormat(Dialect.DRAFT_01, DEFAULT_COAINFO_TYPE)
CARE_OF_PREFIX = IPv6Network("2001:db8:7000::/36")
TIMESTAMP_WINDOW = 300.0
"""Seconds: updates are made before they are sent, so the home agent must bear old timestamps."""
_SPI = 256
_KEY_OCTETS = 32
_LIFETIME = 600
_IFID = 7
_MNP_BASE = int(IPv6Address("2001:db8:8000::"))
_TIMESTAMP_STEP = 1e-6


@dataclass(frozen=True, slots=True)
class Fleet:
    """``size`` mobile routers, each with a home address, a prefix and one care-of address."""

    size: int
    key: bytes

    @property
    def security(self) -> SecurityAssociation:
        """Give the security association: of the same kind for all, so one key does."""
        return SecurityAssociation(_SPI, Algorithm.HMAC_SHA256, self.key)

    def home_address(self, number: int) -> IPv6Address:
        """Give the home address of router ``number``."""
        return plan.HOME_PREFIX[0x1000 + number]

    def prefix(self, number: int) -> IPv6Network:
        """Give the mobile network prefix of router ``number``."""
        return IPv6Network((_MNP_BASE + (number << 64), 64))

    def served(self) -> tuple[ServedMobileRouter, ...]:
        """Give the home agent's rows for all routers."""
        return tuple(
            ServedMobileRouter(
                self.home_address(number), (self.prefix(number),), (self.security,), f"r{number}"
            )
            for number in range(self.size)
        )

    def make_updates(
        self, begin: int, rounds: int, started: float, *, moving: bool = False
    ) -> Iterator[bytes]:
        """Yield ``rounds`` Binding Updates of each router in turn, as IPv6 packets.

        Sequence numbers count from ``begin``, timestamps from ``started`` (Unix seconds). If
        ``moving``, each one registers another care-of address than the one before.
        """
        signer = PacketSigner(self.security)
        for count in range(begin, begin + rounds):
            for number in range(self.size):
                place = number if not moving else number + self.size * count
                timestamp = to_ntp_timestamp(started + count * _TIMESTAMP_STEP)
                message = BindingUpdate(
                    sequence=count % 65536,
                    lifetime=_LIFETIME,
                    acknowledge=True,
                    home_registration=True,
                    mobile_router=True,
                    multiple=True,
                    options=(
                        CareOfAddressInformation(_IFID, 0),
                        MobileNetworkPrefix(self.prefix(number)),
                        ReplayProtection(timestamp),
                        MnHaAuthentication(_SPI),
                    ),
                )
                packet = Packet(
                    source=CARE_OF_PREFIX[0x10000 + place],
                    destination=plan.HA_ADDRESS,
                    message=message,
                    home_address=self.home_address(number),
                )
                yield serialize_packet(packet, WIRE, signer)


def make_fleet(size: int) -> Fleet:
    """Make a fleet with a fresh key."""
    return Fleet(size, os.urandom(_KEY_OCTETS))


def write_home_agent_config(directory: Path, fleet: Fleet) -> Path:
    """Write the configuration of a home agent that serves ``fleet``, and its key."""
    key_file = directory / "fleet.key"
    key_file.touch(mode=0o600)
    key_file.write_text(fleet.key.hex() + "\n", encoding="ascii")
    security = f'{{ spi = {_SPI}, algorithm = "hmac-sha256", key-file = "fleet.key" }}'
    rows = [
        f"""\
[[mobile-router]]
name = "r{number}"
home-address = "{fleet.home_address(number)}"
prefixes = ["{fleet.prefix(number)}"]
security = [{security}]
"""
        for number in range(fleet.size)
    ]
    config = directory / "fleet-ha.toml"
    head = f"""\
role = "home-agent"
log-level = "warning"

[home-agent]
address = "{plan.HA_ADDRESS}"
home-prefixes = ["{plan.HOME_PREFIX}"]
timestamp-window = {TIMESTAMP_WINDOW}

[metrics]
listen = "off"

[control]
socket = "{directory / "fleet.sock"}"
"""
    config.write_text("\n".join([head, *rows]), encoding="utf-8")
    return config
