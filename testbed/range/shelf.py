# pyright: strict
"""The files in a player's folder, as the board may read them: plain files of that folder alone.

Threat model: a player may write anything into the own folder. A link in it that leads to the truth would make the
board, which may read more than the player, hand it out. So links are neither listed nor followed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
LARGEST = 50_000_000
"""Bytes of one file at most."""
MOST = 200
"""Files that are listed at most."""


def listed(folder: Path, *suffixes: str) -> list[str]:
    """The names of the plain files in a folder that end in one of the suffixes, in their order."""
    try:
        with _opened(folder) as place:
            names = sorted(os.listdir(place))  # noqa: PTH208 - a folder that is open, whatever its name now leads to
            kept = [
                n for n in names if NAME.fullmatch(n) and n.endswith(suffixes) and _plain(os.lstat(n, dir_fd=place))
            ]
    except OSError:
        return []
    return kept[:MOST]


def content(folder: Path, name: str) -> bytes | None:
    """The bytes of a plain file in a folder; None if there is none of this name, or if it is too large."""
    if not NAME.fullmatch(name):
        return None
    try:
        with _opened(folder) as place:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
            with os.fdopen(descriptor, "rb") as file:
                if not _plain(os.fstat(file.fileno())):
                    return None
                read = file.read(LARGEST + 1)
    except OSError:
        return None
    return read if len(read) <= LARGEST else None


@contextmanager
def _opened(folder: Path) -> Generator[int]:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield place
    finally:
        os.close(place)


def _plain(found: os.stat_result) -> bool:
    """A regular file with one name: a second name of it may stand in a folder that the player must not read."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1
