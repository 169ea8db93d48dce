# pyright: strict
"""Plain files of a folder alone: links in it are neither listed nor followed.

Threat model: somebody else may write anything into the folder (a player of an exercise, the sender of a result). A link
in it that leads elsewhere would make a server, which may read more than they, hand that file out.
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


def listed(folder: Path, *suffixes: str, inner: tuple[str, ...] = ()) -> list[str]:
    """The names of the plain files in a folder that end in one of the suffixes (any without), in their order.

    `inner` are folders below `folder`, each in the one before.
    """
    try:
        with _opened(folder, inner) as place:
            names = sorted(os.listdir(place))  # noqa: PTH208 - a folder that is open, whatever its name now leads to
            ended = [n for n in names if NAME.fullmatch(n) and (not suffixes or n.endswith(suffixes))]
            kept = [n for n in ended if _plain(os.lstat(n, dir_fd=place))]
    except OSError:
        return []
    return kept[:MOST]


def content(folder: Path, name: str, inner: tuple[str, ...] = ()) -> bytes | None:
    """The bytes of a plain file in a folder; None if there is none of this name, or if it is too large.

    `inner` are folders below `folder`, each in the one before.
    """
    if not NAME.fullmatch(name):
        return None
    try:
        with _opened(folder, inner) as place:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
            with os.fdopen(descriptor, "rb") as file:
                if not _plain(os.fstat(file.fileno())):
                    return None
                read = file.read(LARGEST + 1)
    except OSError:
        return None
    return read if len(read) <= LARGEST else None


@contextmanager
def _opened(folder: Path, inner: tuple[str, ...]) -> Generator[int]:
    """A folder that is open, as a number. Raises `OSError` if it, or one on the way from `folder` to it, is a link."""
    only = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    place = os.open(folder, only)
    try:
        for name in inner:
            if name in ("", os.curdir, os.pardir) or os.sep in name or "\0" in name:
                raise FileNotFoundError(name)
            outer, place = place, os.open(name, only, dir_fd=place)
            os.close(outer)
        yield place
    finally:
        os.close(place)


def _plain(found: os.stat_result) -> bool:
    """A regular file with one name: a second name of it may stand in a folder that others must not read."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1
