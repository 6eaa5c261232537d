"""Files that an agent keeps for itself: for its owner alone, and replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_WRITABLE_BY_OTHERS = 0o022


def read_boot_id() -> str:
    """Return what names this start of the machine."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def read_private(path: Path) -> str:
    """Return the text at ``path``.

    :raises OSError: if it can't be read, is a symbolic link, or could be the work of others.
    :raises UnicodeDecodeError: if it is not UTF-8.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & _WRITABLE_BY_OTHERS:
            raise PermissionError(f"{path} could have been written by others")
        return file.read()


def replace_private(path: Path, text: str, *, durable: bool = False) -> None:
    """Put ``text`` in the place of what is at ``path``, whole or not at all.

    What is ``durable`` is on the disk when this returns, and outlives a power cut; that takes time.

    :raises OSError: if it can't be written; what was there stays.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(descriptor)
    fresh.replace(path)
    if durable:
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
