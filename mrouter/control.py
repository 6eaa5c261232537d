"""The control socket: one line of JSON asks, one line answers; for root alone."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from mrouter.errors import MrouterError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

_REQUEST_LIMIT = 65536
_TIMEOUT = 5.0


class ControlError(MrouterError):
    """The agent can't be asked, or does not know the command."""


class ControlServer:
    """Answers requests on a UNIX socket that only its owner may open."""

    def __init__(self, path: Path, answer: Callable[[str], Awaitable[Any]]) -> None:
        """Serve at ``path``; ``answer`` turns a command into something JSON can carry.

        ``answer`` raises ``ControlError`` for what the asker is to be told.
        """
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen; a socket that nobody listens on any more is replaced.

        :raises ControlError: if another agent answers there, or the socket can't be made.
        """
        try:
            await self._listen()
        except OSError as error:
            raise ControlError(f"cannot listen on {self._path}: {error}") from error

    async def _listen(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._path.is_socket():
            if _is_alive(self._path):
                raise ControlError(f"another agent listens on {self._path}: stop it first")
            self._path.unlink()
        old_mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, self._path, limit=_REQUEST_LIMIT
            )
        finally:
            os.umask(old_mask)

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), _TIMEOUT)
            reply = await self._reply(line)
            writer.write(json.dumps(reply).encode() + b"\n")
            await asyncio.wait_for(writer.drain(), _TIMEOUT)
        except (OSError, ValueError, TimeoutError):
            return  # the asker has gone, or never asked
        finally:
            writer.close()

    async def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            command = json.loads(line)["command"]
        except (ValueError, KeyError, TypeError):
            return {"ok": False, "error": 'ask with a line like {"command": "status"}'}
        try:
            return {"ok": True, "result": await self._answer(str(command))}
        except MrouterError as error:
            return {"ok": False, "error": str(error)}


def request(socket_path: Path, command: str) -> Any:
    """Ask the agent that listens on ``socket_path``.

    :raises ControlError: if nobody listens there, or the agent refuses the command.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(str(socket_path))
            connection.sendall(json.dumps({"command": command}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                reply = json.loads(stream.readline())
    except FileNotFoundError as error:
        raise ControlError(f"no agent at {socket_path}: is mrouter running?") from error
    except ConnectionRefusedError as error:
        raise ControlError(f"the agent at {socket_path} is gone: start mrouter again") from error
    except PermissionError as error:
        raise ControlError(f"{socket_path} is for root alone: try sudo") from error
    except (OSError, ValueError) as error:
        raise ControlError(f"the agent at {socket_path} does not answer: {error}") from error
    if not reply["ok"]:
        raise ControlError(reply["error"])
    return reply["result"]


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True
