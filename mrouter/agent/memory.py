"""What an agent remembers over a crash, a restart and an upgrade: a file beside its socket.

Without it a restarted home agent would tear down forwarding that its mobile routers rely on until
they refresh, and a restarted mobile router would drop every flow until it is registered again.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

from mrouter.agent.journal import note
from mrouter.agent.private_file import read_boot_id, read_private, replace_private
from mrouter.protocol.bindings import BindingState, CacheEntry, RouteEntry, UpdateListEntry
from mrouter.protocol.correspondent_memory import CorrespondentNodeMemory
from mrouter.protocol.flow_bindings import FlowBinding
from mrouter.protocol.home_memory import HomeAgentMemory, SavedBinding
from mrouter.wire.traffic_selectors import TrafficSelector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from mrouter.agent.name_book import KnownName

    T = TypeVar("T")

_VERSION = 1
#: The fields of a traffic selector that are ranges of numbers.
_NUMBERS = (
    "spi",
    "flow_label",
    "source_ports",
    "destination_ports",
    "traffic_class",
    "next_header",
)


class MemoryFile:
    """The file; its deadlines are monotonic seconds, so it is of use until the machine restarts.

    What stands in the kernel lives just as long. It holds no key, and is for its owner alone.
    """

    def __init__(self, control_socket: Path, owner: str) -> None:
        """Keep the file beside ``control_socket``; ``owner`` tells whose bindings it holds."""
        self._path = control_socket.with_name(f"{control_socket.name}.state")
        self._header = {
            "version": _VERSION,
            "boot": read_boot_id(),
            "owner": owner,
        }
        self._saved = ""
        self._failing = False

    def load(self, decode: Callable[[Any], T]) -> T | None:
        """Return what ``decode`` makes of what was saved; None if there is nothing of use."""
        try:
            content = json.loads(read_private(self._path))
            if any(content.get(key) != value for key, value in self._header.items()):
                note("state-ignored", reason="of another start, version or configuration")
                return None
            return decode(content["content"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            note("state-ignored", logging.WARNING, file=self._path, error=repr(error))
            return None

    def save(self, content: Any) -> None:
        """Write ``content`` in the place of what was saved before, if it differs.

        A disk that is full or can't be written stops nobody: it is logged once.
        """
        text = json.dumps({**self._header, "content": content})
        if text == self._saved:
            return
        try:
            replace_private(self._path, text)
        except OSError as error:
            if not self._failing:
                note("state-not-saved", logging.ERROR, error=str(error))
            self._failing = True
            return
        self._failing = False
        self._saved = text


def encode_home_memory(memory: HomeAgentMemory) -> dict[str, Any]:
    """Return ``memory`` as JSON can carry it."""
    return {
        "bindings": [_encode_saved(saved) for saved in memory.bindings],
        "timestamps": [
            [_encode_address(home), ifid, moment] for home, ifid, moment in memory.timestamps
        ],
        "flows": [_encode_flow(flow) for flow in memory.flows],
        "flows_taken_at": [
            [_encode_address(home), moment] for home, moment in memory.flows_taken_at
        ],
    }


def decode_home_memory(content: Any) -> HomeAgentMemory:
    """Return what ``encode_home_memory`` was given.

    :raises ValueError, TypeError, KeyError: if ``content`` did not come from there.
    """
    return HomeAgentMemory(
        bindings=tuple(_decode_saved(row) for row in content["bindings"]),
        timestamps=tuple(
            (_decode_address(home), ifid, float(moment))
            for home, ifid, moment in content["timestamps"]
        ),
        flows=tuple(_decode_flow(row) for row in content.get("flows", ())),
        flows_taken_at=tuple(
            (_decode_address(home), float(moment))
            for home, moment in content.get("flows_taken_at", ())
        ),
    )


def encode_correspondent_memory(memory: CorrespondentNodeMemory) -> dict[str, Any]:
    """Return ``memory`` as JSON can carry it."""
    return {
        "bindings": [_encode_binding(entry) for entry in memory.bindings],
        "sequences": [
            [_encode_address(home), ifid, sequence, until]
            for home, ifid, sequence, until in memory.sequences
        ],
    }


def decode_correspondent_memory(content: Any) -> CorrespondentNodeMemory:
    """Return what ``encode_correspondent_memory`` was given.

    :raises ValueError, TypeError, KeyError: if ``content`` did not come from there.
    """
    return CorrespondentNodeMemory(
        bindings=tuple(_decode_binding(row) for row in content["bindings"]),
        sequences=tuple(
            (_decode_address(home), ifid, int(sequence), float(until))
            for home, ifid, sequence, until in content["sequences"]
        ),
    )


@dataclass(frozen=True, slots=True)
class MobileRouterMemory:
    """What a mobile router's next run takes over: bindings that carry traffic, and where they are.

    ``routes`` are those at correspondent nodes, ``names`` the addresses of policies' domain names,
    ``drained`` the links that an operator has set aside.
    """

    home_agent: IPv6Address
    bindings: tuple[UpdateListEntry, ...]
    routes: tuple[RouteEntry, ...] = ()
    names: tuple[KnownName, ...] = ()
    drained: tuple[str, ...] = ()


def encode_router_memory(memory: MobileRouterMemory) -> dict[str, Any]:
    """Return ``memory`` as JSON can carry it; what carries no traffic is left out."""
    return {
        "home_agent": _encode_address(memory.home_agent),
        "bindings": [_encode_entry(entry) for entry in memory.bindings if entry.usable],
        "routes": [
            {
                "correspondent": _encode_address(route.correspondent),
                **_encode_entry(route.binding),
            }
            for route in memory.routes
            if route.binding.usable
        ],
        "names": [[name, str(address), until] for name, address, until in memory.names],
        "drained": list(memory.drained),
    }


def decode_router_memory(content: Any) -> MobileRouterMemory:
    """Return what ``encode_router_memory`` was given, every entry as registered.

    :raises ValueError, TypeError, KeyError: if ``content`` did not come from there.
    """
    return MobileRouterMemory(
        home_agent=_decode_address(content["home_agent"]),
        bindings=tuple(_decode_entry(row) for row in content["bindings"]),
        routes=tuple(
            RouteEntry(_decode_address(row["correspondent"]), _decode_entry(row))
            for row in content["routes"]
        ),
        names=tuple(
            (str(name), ip_address(address), float(until))
            for name, address, until in content.get("names", ())
        ),
        drained=tuple(map(str, content.get("drained", ()))),
    )


def _encode_entry(entry: UpdateListEntry) -> dict[str, Any]:
    return {
        "link": entry.link,
        "interface": entry.interface,
        "care_of_address": _encode_address(entry.care_of_address),
        "ifid": entry.ifid,
        "ifpri": entry.ifpri,
        "slot": entry.slot,
        "sequence": entry.sequence,
        "status": entry.status,
        "expires_at": entry.expires_at,
        "plain": entry.plain,
        "ipv4_prefixes": _encode_ipv4(entry.ipv4_prefixes),
    }


def _decode_entry(row: dict[str, Any]) -> UpdateListEntry:
    return UpdateListEntry(
        link=row["link"],
        interface=row["interface"],
        care_of_address=_decode_address(row["care_of_address"]),
        ifid=row["ifid"],
        ifpri=row["ifpri"],
        slot=row["slot"],
        state=BindingState.REGISTERED,
        sequence=row["sequence"],
        status=row["status"],
        expires_at=float(row["expires_at"]),
        usable=True,
        plain=row["plain"],
        ipv4_prefixes=_decode_ipv4(row.get("ipv4_prefixes", ())),
    )


def _encode_saved(saved: SavedBinding) -> dict[str, Any]:
    return {
        **_encode_binding(saved.entry),
        "destination": _encode_address(saved.destination),
        "spi": saved.spi,
        "timestamp": saved.timestamp,
    }


def _encode_binding(entry: CacheEntry) -> dict[str, Any]:
    return {
        "home_address": _encode_address(entry.home_address),
        "ifid": entry.ifid,
        "ifpri": entry.ifpri,
        "care_of_address": _encode_address(entry.care_of_address),
        "prefixes": [
            [_encode_address(prefix.network_address), prefix.prefixlen] for prefix in entry.prefixes
        ],
        "slot": entry.slot,
        "sequence": entry.sequence,
        "lifetime": entry.lifetime,
        "expires_at": entry.expires_at,
        "mobile_router": entry.mobile_router,
        "link_local": entry.link_local,
        "ipv4_prefixes": _encode_ipv4(entry.ipv4_prefixes),
    }


def _decode_saved(row: dict[str, Any]) -> SavedBinding:
    destination = _decode_address(row["destination"])
    return SavedBinding(_decode_binding(row), destination, row["spi"], row["timestamp"])


def _decode_binding(row: dict[str, Any]) -> CacheEntry:
    return CacheEntry(
        home_address=_decode_address(row["home_address"]),
        ifid=row["ifid"],
        ifpri=row["ifpri"],
        care_of_address=_decode_address(row["care_of_address"]),
        prefixes=tuple(
            IPv6Network((_decode_address(address), length)) for address, length in row["prefixes"]
        ),
        slot=row["slot"],
        sequence=row["sequence"],
        lifetime=row["lifetime"],
        expires_at=float(row["expires_at"]),
        mobile_router=row["mobile_router"],
        link_local=row.get("link_local", False),
        ipv4_prefixes=_decode_ipv4(row.get("ipv4_prefixes", ())),
    )


def _encode_ipv4(networks: tuple[IPv4Network, ...]) -> list[str]:
    return [str(network) for network in networks]


def _decode_ipv4(texts: Any) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(text) for text in texts)


def _encode_flow(flow: FlowBinding) -> dict[str, Any]:
    selector = flow.selector
    return {
        "home_address": _encode_address(flow.home_address),
        "fid": flow.fid,
        "priority": flow.priority,
        "ifids": flow.ifids,
        "selector": {
            "source": selector.source and [_encode_address(each) for each in selector.source],
            "destination": selector.destination
            and [_encode_address(each) for each in selector.destination],
            **{name: getattr(selector, name) for name in _NUMBERS},
        },
    }


def _decode_flow(row: dict[str, Any]) -> FlowBinding:
    selector = row["selector"]
    return FlowBinding(
        home_address=_decode_address(row["home_address"]),
        fid=row["fid"],
        priority=row["priority"],
        ifids=tuple(row["ifids"]),
        selector=TrafficSelector(
            source=_decode_range(selector["source"], _decode_address),
            destination=_decode_range(selector["destination"], _decode_address),
            **{name: _decode_range(selector[name], int) for name in _NUMBERS},
        ),
    )


def _decode_range(ends: Any, decode: Callable[[Any], T]) -> tuple[T, T] | None:
    if ends is None:
        return None
    first, last = ends
    return decode(first), decode(last)


def _encode_address(address: IPv6Address) -> str:
    """Return 32 hexadecimal digits: a fleet's bindings are written at every change of one."""
    return address.packed.hex()


def _decode_address(digits: str) -> IPv6Address:
    return IPv6Address(bytes.fromhex(digits))
