"""A record as a line for people, or as a line of JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrouter.capture.find import Addresses
    from mrouter.capture.record import Record

_HEADER_NAMES = {"home_address_option": "HAO", "routing_header": "RH2"}


def render_line(record: Record) -> str:
    """Return one line: time (UTC), link, addresses, message, options, authenticator."""
    frame = record.frame
    where = " ".join(word for word in (frame.link or "-", frame.direction) if word)
    tunnels = "".join(f"[{_word_addresses(tunnel)}] " for tunnel in record.tunnels)
    parts = [record.kind, record.message.text]
    parts += [f"{_HEADER_NAMES[name]} {value}" for name, value in record.headers.items()]
    parts += [option.text for option in record.options]
    if record.verdict is not None:
        parts.append(f"auth {record.verdict.value}")
    if record.refusal is not None:
        reason, detail = record.refusal
        parts.append(f"REFUSED {reason}" + (f" ({detail})" if detail else ""))
    time = _format_time(frame.time)
    words = ", ".join(part for part in parts if part)
    return f"{time[11:]} {where} {tunnels}{_word_addresses(record.addresses)}: {words}"


def render_json(record: Record) -> str:
    """Return one line of JSON with everything that is known of ``record``."""
    values: dict[str, Any] = {
        "time": _format_time(record.frame.time),
        "link": record.frame.link,
        "direction": record.frame.direction,
        "source": str(record.addresses.source),
        "destination": str(record.addresses.destination),
        "tunnels": [
            {"source": str(tunnel.source), "destination": str(tunnel.destination)}
            for tunnel in record.tunnels
        ],
        "message": record.kind,
        **record.headers,
        **record.message.values,
        "options": [option.values for option in record.options],
        "auth": record.verdict and record.verdict.value,
    }
    if record.refusal is not None:
        values["refused"] = {"reason": record.refusal[0], "detail": record.refusal[1]}
    return json.dumps(values)


def _word_addresses(addresses: Addresses) -> str:
    return f"{addresses.source} > {addresses.destination}"


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
