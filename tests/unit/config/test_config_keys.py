from __future__ import annotations

import os

import pytest

from mrouter.config.keys import read_key
from mrouter.toml_source import MistakeError

SECRET = "00112233445566778899aabbccddeeff"


def make_key_file(directory, content=SECRET, mode=0o600):
    path = directory / "ha.key"
    path.write_text(content)
    path.chmod(mode)
    return path


def refusal(directory, name="ha.key"):
    with pytest.raises(MistakeError) as caught:
        read_key(directory, name)
    message = f"{caught.value.message} ({caught.value.suggestion})"
    assert SECRET[:8] not in message
    return message.replace(str(directory), "DIR")


def test_hex_text_is_the_key(tmp_path):
    make_key_file(tmp_path, SECRET.upper() + "\n")
    assert read_key(tmp_path, "ha.key") == bytes.fromhex(SECRET)


def test_a_key_may_stand_in_several_lines(tmp_path):
    make_key_file(tmp_path, f"{SECRET}\n{SECRET}\n")
    assert read_key(tmp_path, "ha.key") == bytes.fromhex(SECRET * 2)


def test_an_absolute_name_is_taken_as_it_is(tmp_path):
    path = make_key_file(tmp_path)
    assert len(read_key(tmp_path / "elsewhere", str(path))) == 16


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644])
def test_a_file_open_to_others_is_refused_with_the_remedy(tmp_path, mode):
    make_key_file(tmp_path, mode=mode)
    assert refusal(tmp_path) == (
        f'"DIR/ha.key" is open to group or others (mode {mode:04o}) (chmod 600 DIR/ha.key)'
    )


def test_a_file_of_another_user_is_refused(tmp_path, monkeypatch):
    path = make_key_file(tmp_path)
    if os.geteuid() == 0:
        os.chown(path, 4321, -1)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert refusal(tmp_path) == (
        f'"DIR/ha.key" belongs to user {owner}, who could change it (chown root DIR/ha.key)'
    )


def test_our_own_file_is_accepted_without_being_root(tmp_path, monkeypatch):
    path = make_key_file(tmp_path)
    if os.geteuid() == 0:
        os.chown(path, 4321, -1)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    assert len(read_key(tmp_path, "ha.key")) == 16


def test_a_directory_is_refused(tmp_path):
    (tmp_path / "ha.key").mkdir(mode=0o700)
    assert refusal(tmp_path) == '"DIR/ha.key" is not a regular file ()'


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "ha.key", 0o600)
    assert refusal(tmp_path) == '"DIR/ha.key" is not a regular file ()'


def test_a_missing_file_is_refused_with_a_way_to_make_one(tmp_path):
    assert refusal(tmp_path) == (
        '"DIR/ha.key" cannot be read: No such file or directory '
        "(make one with: openssl rand -hex 32)"
    )


@pytest.mark.parametrize("name", [SECRET, SECRET * 20])
def test_a_key_in_place_of_the_name_is_not_shown(tmp_path, name):
    assert refusal(tmp_path, name) == (
        "must name a file, this looks like a key (put the key into a file)"
    )


def test_a_name_with_a_zero_byte_is_refused(tmp_path):
    assert refusal(tmp_path, "a\0b") == r'"a\u0000b" is not a file name ()'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SECRET[:30], '"DIR/ha.key" holds 15 bytes, fewer than 16'),
        ("", '"DIR/ha.key" holds 0 bytes, fewer than 16'),
        (SECRET + "x", '"DIR/ha.key" is not hexadecimal text'),
        (SECRET + "é", '"DIR/ha.key" is not hexadecimal text'),
        (SECRET * 200, '"DIR/ha.key" is longer than 4096 bytes'),
    ],
)
def test_what_is_not_a_key_is_refused_without_showing_it(tmp_path, content, message):
    make_key_file(tmp_path, content)
    assert refusal(tmp_path) == f"{message} (make one with: openssl rand -hex 32)"
