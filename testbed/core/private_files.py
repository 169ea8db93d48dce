# pyright: strict
"""Files about real people that stay on this machine: whole or not at all, and nobody else's to read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
from collections.abc import Generator
from pathlib import Path

from testbed.core.errors import UsageError


def writable(folder: Path) -> None:
    """Makes a folder for a cache, which only its owner may enter. Raises `UsageError` if it cannot be written.

    A folder that exists keeps its permissions. Called before anything is computed that it should keep.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            "TB-ENSEMBLE-004",
            "The cache folder cannot be written.",
            f"The system says: {error.strerror}.",
            "Name a folder that can be written, or leave out --cache.",
        ) from None


def put(file: Path, content: bytes) -> None:
    """Writes a file that only its owner may read. It is written under another name and renamed when it is whole."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
        unfinished.replace(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(folder: Path, *, needed: bool = False) -> Generator[None]:
    """A lock: while it is held, nobody else who asks for the lock of this folder has it.

    Without effect where locks do not exist; if it is `needed`, `OSError` is raised there.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.nullcontext() if needed else contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
