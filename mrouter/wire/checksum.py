"""The Internet checksum of a Mobility Header (RFC 6275 §6.1.1, RFC 8200 §8.1)."""

from __future__ import annotations

MOBILITY_HEADER = 135


def compute_checksum(
    source: bytes,
    destination: bytes,
    header: bytes | bytearray,
    next_header: int = MOBILITY_HEADER,
) -> int:
    """Return the checksum of ``header``, whose own checksum field is zero.

    ``header`` has an even number of octets. ``source`` is the home address where a Home Address
    option is present, ``destination`` the type 2 routing header's home address where one is
    present (RFC 6275 §6.1.1).
    """
    remainder = _sum_modulo(source, destination, header, next_header)
    return 0xFFFF - remainder if remainder else 0


def is_checksum_right(
    source: bytes, destination: bytes, header: bytes, next_header: int = MOBILITY_HEADER
) -> bool:
    """Say whether ``header``, with the checksum that it carries, sums up to zero."""
    return _sum_modulo(source, destination, header, next_header) == 0


def _sum_modulo(
    source: bytes, destination: bytes, header: bytes | bytearray, next_header: int
) -> int:
    # 2**16 is 1 modulo 65535, so the ones' complement sum of 16-bit words is the whole message,
    # read as one number, modulo 65535: one division in C, no loop in Python.
    pseudo_header = source + destination + len(header).to_bytes(4, "big")
    pseudo_header += next_header.to_bytes(4, "big")
    return int.from_bytes(pseudo_header + header, "big") % 0xFFFF
