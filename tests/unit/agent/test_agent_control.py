from __future__ import annotations

import asyncio
import json
import os
import socket
import stat

import pytest

from mrouter.control import ControlError, ControlServer, request
from mrouter.errors import DataplaneError


async def answer(command):
    if command == "status":
        return {"up": True}
    if command == "fail":
        raise DataplaneError("list counters", "kernel says no")
    raise ControlError(f"unknown command {command!r}: status")


def serve(path, *steps):
    """Serve at ``path`` and run each step in a thread meanwhile; return what they return."""

    async def run():
        server = ControlServer(path, answer)
        await server.start()
        try:
            return [await asyncio.to_thread(step) for step in steps]
        finally:
            await server.stop()

    return asyncio.run(run())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "mrouter.sock"


def send(path, data):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(data)
        return json.loads(connection.makefile().readline())


def test_a_command_is_answered(path):
    assert serve(path, lambda: request(path, "status")) == [{"up": True}]


def test_socket_and_directory_are_for_their_owner_alone(path):
    def look():
        return [stat.S_IMODE(p.stat().st_mode) for p in (path.parent, path)]

    assert serve(path, look) == [[0o700, 0o600]]


def test_the_mask_for_other_files_is_as_before(path):
    old = os.umask(0o022)
    try:
        serve(path)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(old)


def test_nothing_is_left_after_the_end(path):
    serve(path)
    assert not path.exists()


def test_an_unknown_command_and_a_failure_are_told(path):
    def ask(command):
        with pytest.raises(ControlError) as caught:
            request(path, command)
        return str(caught.value)

    assert serve(path, lambda: ask("dance"), lambda: ask("fail")) == [
        "unknown command 'dance': status",
        "list counters: kernel says no",
    ]


@pytest.mark.parametrize("line", [b"x\n", b"[1]\n", b"null\n", b"{}\n", b"\xff\n"])
def test_rubbish_is_told_how_to_ask_and_the_next_is_served(path, line):
    told, served = serve(path, lambda: send(path, line), lambda: request(path, "status"))

    assert told == {"ok": False, "error": 'ask with a line like {"command": "status"}'}
    assert served == {"up": True}


def test_a_line_without_end_is_cut_off(path):
    def flood():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(path))
            try:
                connection.sendall(b"x" * 1_000_000)
                return connection.recv(100)
            except (BrokenPipeError, ConnectionResetError):
                return b""

    assert serve(path, flood, lambda: request(path, "status")) == [b"", {"up": True}]


def test_a_second_server_is_refused_and_the_first_goes_on(path):
    def start_second():
        with pytest.raises(ControlError, match=r"another agent listens on .*: stop it first"):
            serve(path)
        return request(path, "status")

    assert serve(path, start_second) == [{"up": True}]


def test_a_socket_that_nobody_listens_on_is_replaced(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    assert serve(path, lambda: request(path, "status")) == [{"up": True}]


def test_a_file_in_the_sockets_place_is_an_error_and_stays(path):
    path.parent.mkdir()
    path.write_text("precious")

    with pytest.raises(ControlError, match="cannot listen on"):
        serve(path)
    assert path.read_text() == "precious"


def test_no_agent_is_told_in_a_line(path):
    with pytest.raises(ControlError, match=r"^no agent at .*: is mrouter running\?$"):
        request(path, "status")


def test_a_dead_agents_socket_is_told(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    with pytest.raises(ControlError, match="is gone: start mrouter again"):
        request(path, "status")


@pytest.mark.parametrize("reply", [b"", b"no json\n"])
def test_an_agent_that_answers_rubbish_is_told(path, reply):
    path.parent.mkdir()

    async def run():
        async def respond(reader, writer):
            await reader.readline()
            writer.write(reply)
            writer.close()

        async with await asyncio.start_unix_server(respond, path):
            return await asyncio.to_thread(request, path, "status")

    with pytest.raises(ControlError, match="does not answer"):
        asyncio.run(run())
