"""Read the shared key of a security association from a file that only its owner can read."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from typing import TYPE_CHECKING

from mrouter.toml_source import MistakeError, show

if TYPE_CHECKING:
    from pathlib import Path

MIN_KEY_BYTES = 16
_MAX_FILE_BYTES = 4096
_PERMISSIONS_OF_OTHERS = 0o077
#: What a person may have put where the name of the file belongs; it must not reach a log.
_LOOKS_LIKE_A_KEY = re.compile(r"[0-9A-Fa-f\s]{24,}")
_MAKE_ONE = "make one with: openssl rand -hex 32"


def read_key(directory: Path, name: str) -> bytes:
    """Return the key in the file ``name``, relative to ``directory``; hex text in the file.

    Raises `MistakeError`, which never shows what is in the file, if it is not a regular file,
    if group or others have any access to it, if its owner is neither root nor we, or if it
    holds less than 16 bytes.
    """
    path = directory / name
    if "\0" in name:
        raise MistakeError(f"{show(name)} is not a file name")
    try:
        content = _read_private_file(path)
    except OSError as error:
        raise _describe_failure(path, name, error) from None
    return _parse_key(path, content)


def _read_private_file(path: Path) -> bytes:
    # Not blocking: a pipe in place of the file must not stop us before it is refused.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_unsafe(path, os.fstat(descriptor))
        return os.read(descriptor, _MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)


def _describe_failure(path: Path, name: str, error: OSError) -> MistakeError:
    if _LOOKS_LIKE_A_KEY.fullmatch(name):
        return MistakeError("must name a file, this looks like a key", "put the key into a file")
    missing = isinstance(error, FileNotFoundError)
    message = f"{_quote(path)} cannot be read: {error.strerror}"
    return MistakeError(message, _MAKE_ONE if missing else "")


def _refuse_unsafe(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise MistakeError(f"{_quote(path)} is not a regular file")
    if status.st_uid not in (0, os.geteuid()):
        message = f"{_quote(path)} belongs to user {status.st_uid}, who could change it"
        raise MistakeError(message, f"chown root {shlex.quote(str(path))}")
    if status.st_mode & _PERMISSIONS_OF_OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        message = f"{_quote(path)} is open to group or others (mode {mode:04o})"
        raise MistakeError(message, f"chmod 600 {shlex.quote(str(path))}")


def _parse_key(path: Path, content: bytes) -> bytes:
    if len(content) > _MAX_FILE_BYTES:
        raise MistakeError(f"{_quote(path)} is longer than {_MAX_FILE_BYTES} bytes", _MAKE_ONE)
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        # Not chained: the error of the conversion quotes what is in the file.
        raise MistakeError(f"{_quote(path)} is not hexadecimal text", _MAKE_ONE) from None
    if len(key) < MIN_KEY_BYTES:
        message = f"{_quote(path)} holds {len(key)} bytes, fewer than {MIN_KEY_BYTES}"
        raise MistakeError(message, _MAKE_ONE)
    return key


def _quote(path: Path) -> str:
    return json.dumps(str(path))
