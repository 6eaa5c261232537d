"""The source that seg6 gives to outer packets, where nobody has set one."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

from mrouter.netlink import (
    HEADER,
    NetlinkFailure,
    make_attribute,
    read_attributes,
    split_messages,
)

_NETLINK_GENERIC = 16
_GENL_ID_CTRL = 16
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_ID = 1
_CTRL_ATTR_FAMILY_NAME = 2
#: linux/seg6_genl.h
_SEG6_CMD_SET_TUNSRC = 3
_SEG6_CMD_GET_TUNSRC = 4
_SEG6_ATTR_DST = 1

_GENERIC = struct.Struct("=BBH")
_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_NLMSG_ERROR = 2


def set_tunnel_source(address: IPv6Address) -> None:
    """Give seg6 ``address`` as outer source, unless it has one.

    Without any the kernel looks through the interface's addresses for every packet, which costs a
    tenth of the packet rate. It is a setting of the whole namespace, so one that stands is
    somebody else's, and stays: our outer sources are written by our own rules in any case.

    :raises OSError: where the kernel does not know seg6.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as channel:
        channel.bind((0, 0))
        found = _ask(channel, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, _CTRL_ATTR_FAMILY_NAME, b"SEG6\0")
        family = struct.unpack_from("=H", found[_CTRL_ATTR_FAMILY_ID])[0]
        present = _ask(channel, family, _SEG6_CMD_GET_TUNSRC)
        if IPv6Address(present[_SEG6_ATTR_DST][:16]).is_unspecified:
            _ask(channel, family, _SEG6_CMD_SET_TUNSRC, _SEG6_ATTR_DST, address.packed)


def _ask(
    channel: socket.socket, family: int, command: int, kind: int = 0, value: bytes = b""
) -> dict[int, bytes]:
    """Send one command, wait for its acknowledgement; return the answer's attributes."""
    body = _GENERIC.pack(command, 1, 0)
    if value:
        body += make_attribute(kind, value)
    size = HEADER.size + len(body)
    channel.send(HEADER.pack(size, family, _NLM_F_REQUEST | _NLM_F_ACK, 0, 0) + body)
    attributes: dict[int, bytes] = {}
    while True:
        for answer, _sequence, message in split_messages(channel.recv(65536)):
            content = message[HEADER.size :]
            if answer != _NLMSG_ERROR:
                attributes = read_attributes(content[_GENERIC.size :])
                continue
            code = -struct.unpack_from("=i", content)[0]
            if code:
                raise NetlinkFailure(code, "")
            return attributes
