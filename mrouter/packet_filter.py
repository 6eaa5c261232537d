"""Classic BPF programs for packet and netlink sockets."""

from __future__ import annotations

import ctypes
import socket
import struct

_SO_ATTACH_FILTER = 26


def attach_filter(target: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    """Have the kernel give ``target`` only what a classic BPF program accepts."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    target.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("HP", len(program), ctypes.addressof(buffer)),
    )
