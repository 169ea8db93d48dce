# pyright: strict
"""A run's folder: which of its files the testbed wrote, and how a new result replaces an earlier one.

Only files that the testbed wrote are ever deleted. A list in evidence/ names them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import re
import stat
import uuid
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from testbed.core.errors import UsageError
from testbed.core.private_files import locked

PARTS = ("share", "evidence")
LIST = ".written.json"
"""The name of a list in evidence/ that holds the names of all files in both parts, except its own."""
KNOWN = {
    "share": r"result\.json|report(\.sv)?\.html"
    r"|result\.(sarif|csv|junit\.xml|pdf|dossier\.html|dossier\.pdf|acro\.zip|cdx\.json|avid\.json)",
    "evidence": r"\.written\.json|.*\.(npz|transcript)",
}
"""Patterns of all file names that any version wrote. Folders of earlier versions have no list."""
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini", "lost+found"}
"""Files that file managers and file systems leave in a folder; they may be ignored."""
STAGED = r"(new|old)-[0-9a-f]{8}"
"""The end of a temporary folder's name: one being written, or the earlier run moved out of the way."""
EXCHANGE, HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux' renameat2


def check(out: Path) -> None:
    """Raises `UsageError` unless a result may be written to `out`.

    It may if the folder does not exist, is empty, or holds an earlier run and nothing else.
    """
    out = out.resolve()
    if out in (Path.cwd(), *Path.cwd().parents):
        raise UsageError(
            "TB-OUT-009",
            "The current folder, or a folder above it, cannot be the output.",
            "A run replaces its output folder as a whole.",
            "Name a new folder with --out.",
        )
    try:
        _sweep(out)
        if out.exists():
            _check_content(out)
        _probe(out)
    except OSError as error:
        raise unwritable(error) from None


def _check_content(out: Path) -> None:
    present = [p for p in _entries(out) if p.name in PARTS] if out.is_dir() else []
    if not out.is_dir() or (present and not _is_run(out)) or (not present and any(_entries(out))):
        raise UsageError(
            "TB-OUT-001",
            f"{out.name} exists and is not the folder of an earlier run.",
            "A result would be mixed with the files that are there.",
            "Name another folder with --out.",
        )
    if others := list(_strangers(out)):
        names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise UsageError(
            "TB-OUT-005",
            f"{out.name} holds more than an earlier run: {names}.",
            "The testbed did not write these files, and it would replace the whole folder.",
            "Move these files elsewhere, or name another folder with --out.",
        )


def _probe(out: Path) -> None:
    """Raises `OSError` if a folder can be made neither beside `out` nor, if it exists, inside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    name = f"new-{uuid.uuid4().hex[:8]}"
    try:
        _made(out.parent / f".{out.name}.{name}")
    except OSError:
        if not out.is_dir():
            raise
        _made(out / f".{name}")


def _made(probe: Path) -> None:
    probe.mkdir()
    probe.rmdir()


def put(out: Path, share: Mapping[str, bytes], evidence: Mapping[str, bytes]) -> Path | None:
    """Write a result's files to `out`. Returns the folder where other people's files were moved, or None.

    A reader sees either the earlier result or the new one. On Linux the two are exchanged in one step; elsewhere in two
    steps, and if a run is killed in between, the next run restores the earlier result. A mount point cannot be
    exchanged: there its two parts are exchanged one after the other. If several runs write, the last one stays. Raises
    `UsageError` if the folder cannot be written.
    """
    out = out.resolve()
    contents = {"share": share, "evidence": evidence}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        try:
            with _staged(out.parent, f".{out.name}.", contents, out) as staging, locked(out.parent):
                return _settled(_placed(staging, out), out)
        except OSError as error:
            if not out.is_dir() or error.errno not in (
                errno.EBUSY,
                errno.EXDEV,
                errno.EACCES,
                errno.EPERM,
                errno.EROFS,
            ):
                raise
        with _staged(out, ".", contents, None) as staging, locked(out):
            for part in PARTS[::-1]:
                _swapped(staging / part, out / part)
            return _settled(staging, out)
    except OSError as error:
        raise unwritable(error) from None


def forget(store: Path) -> None:
    """Delete the finished parts that a run stored for `--resume`, and their folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        for file in store.iterdir():
            if re.fullmatch(r"\.?[0-9a-f]{16,64}\.transcript(\..*)?", file.name) and file.is_file():
                file.unlink()
        store.rmdir()


def unwritable(error: OSError) -> UsageError:
    """The error that says why the output folder cannot be written."""
    return UsageError(
        "TB-OUT-002",
        "The output folder cannot be written.",
        f"The system says: {error.strerror}.",
        "Choose a writable folder with --out, and check the free space.",
    )


def _entries(out: Path) -> Iterator[Path]:
    """A folder's entries, except litter and temporary folders of runs."""
    return (p for p in sorted(out.iterdir()) if p.name not in LITTER and not re.fullmatch(rf"\.{STAGED}", p.name))


def _is_run(out: Path) -> bool:
    """Whether the folder holds a result of this testbed, or the evidence of one whose writing was interrupted."""
    file = out / "share" / "result.json"
    if not (out / "share").exists():
        return (out / "evidence" / LIST).is_file()
    try:
        content: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(content, dict):
        return False
    fields = cast("dict[str, Any]", content)
    return str(fields.get("schema", "")).startswith("testbed.result/") and {"run", "findings", "decision"} <= set(
        fields
    )


def _strangers(out: Path) -> Iterator[str]:
    """The names of files and folders that the testbed did not write, relative to the run's folder."""
    for entry in _entries(out):
        if entry.name not in PARTS or entry.is_symlink() or not entry.is_dir():
            yield entry.name
            continue
        for file in sorted(entry.iterdir()):
            if not _own(file, out):
                yield f"{entry.name}/{file.name}"


def _own(file: Path, run: Path) -> bool:
    """Whether the testbed wrote this file: the run's list names it, or its name is always the testbed's."""
    if file.name in LITTER:
        return True
    if file.is_symlink() or not file.is_file():
        return False
    part = file.parent.name
    listed = _listed(run).get(part)
    always = KNOWN[part] if listed is None or part == "share" else re.escape(LIST)
    return file.name in (listed or ()) or re.fullmatch(always, file.name) is not None


def _listed(run: Path) -> dict[str, list[str]]:
    """The file names of each part by the run's list; empty if there is no readable list."""
    try:
        names: object = json.loads((run / "evidence" / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, list[str]]", names) if isinstance(names, dict) else {}


@contextlib.contextmanager
def _staged(
    parent: Path, prefix: str, contents: Mapping[str, Mapping[str, bytes]], like: Path | None
) -> Generator[Path]:
    """A temporary folder with the files. It is locked while in use, so that no other run deletes it as left over."""
    staging = parent / f"{prefix}new-{uuid.uuid4().hex[:8]}"
    with locked(parent):
        staging.mkdir()
        lock = _lock(staging)
    try:
        (staging / "evidence").mkdir(mode=0o700)
        (staging / "share").mkdir()
        names = {part: sorted(files) for part, files in contents.items()}
        _write(staging / "evidence" / LIST, json.dumps(names).encode())
        for part, files in contents.items():
            for name, content in files.items():
                _write(staging / part / name, content)
        for place in (staging / "evidence", staging / "share", staging):
            _sync(place)
        if like is not None and like.is_dir():
            staging.chmod(stat.S_IMODE(like.stat().st_mode))
        yield staging
    finally:
        _discard(staging)
        if lock is not None:
            os.close(lock)


def _write(path: Path, content: bytes) -> None:
    """Write a file, and return when it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Return when the names of a folder's files are on the disk, so that a power cut loses no earlier result."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(handle)
    finally:
        os.close(handle)


def _placed(staging: Path, out: Path) -> Path:
    """Give the finished folder the name `out`. Returns the path where the earlier folder is now, if there was one."""
    if not out.exists():
        try:
            staging.rename(out)
            return staging
        except OSError:
            if not out.exists():  # another writer was faster
                raise
    _swapped(staging, out)
    return staging


def _swapped(new: Path, place: Path) -> None:
    """Exchange the names of two folders: in one step if the system can, otherwise in three, undone on an error."""
    if not place.exists():
        new.rename(place)
    elif not _exchange(new, place):
        aside = place.with_name(f".{place.name}.old-{uuid.uuid4().hex[:8]}")
        place.rename(aside)
        try:
            new.rename(place)
        except BaseException:
            aside.rename(place)
            raise
        aside.rename(new)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step. Returns False if this system or file system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    if call(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code))


def _settled(earlier: Path, out: Path) -> Path | None:
    """Move files that others added during the work into `out`, and delete the earlier run's own files.

    Returns the folder in which other people's remaining files are kept, or None. The new names are on the disk before
    anything is deleted.
    """
    _sync(out)
    _sync(out.parent)
    for entry in _entries(earlier) if earlier.is_dir() and earlier.parent != out else ():
        if entry.name not in PARTS and not (out / entry.name).exists():
            entry.rename(out / entry.name)
    _discard(earlier)
    if not earlier.exists():
        return None
    remaining = (
        out.with_name(f"{out.name}.kept-{earlier.name[-8:]}")
        if earlier.parent != out
        else out / f"kept-{earlier.name[-8:]}"
    )
    earlier.rename(remaining)
    return remaining


def _discard(folder: Path) -> None:
    """Delete the files that the testbed wrote in a run's folder, and then its empty folders."""
    with contextlib.suppress(OSError):
        for part in PARTS:  # evidence/ holds the list and is last
            held = folder / part
            own = [f for f in held.iterdir() if _own(f, folder)] if held.is_dir() and not held.is_symlink() else []
            for file in sorted(own, key=lambda f: f.name == LIST):
                file.unlink()
        for file in folder.iterdir():
            if file.name in LITTER and file.is_file():
                file.unlink()
        for part in PARTS:
            with contextlib.suppress(OSError):
                (folder / part).rmdir()
        folder.rmdir()


def _sweep(out: Path) -> None:
    """Remove temporary folders that killed runs into this folder left behind; none that another run still uses."""
    places = [(out.parent, rf"\.{re.escape(out.name)}\.({STAGED}|[0-9a-f]{{8}})"), (out, rf"\.{STAGED}")]
    for parent, pattern in places:
        if not parent.is_dir():
            continue
        with contextlib.suppress(OSError), locked(parent):
            for folder in parent.iterdir():
                if re.fullmatch(pattern, folder.name) and folder.is_dir() and not folder.is_symlink():
                    _swept(folder, out)


def _swept(folder: Path, out: Path) -> None:
    lock = _lock(folder)
    if lock is None:
        return
    try:
        if ".old-" in folder.name and not out.exists() and folder.parent == out.parent:
            folder.rename(out)  # killed between the two renames
        elif {p.name for p in folder.iterdir()} <= set(PARTS):
            _discard(folder)
    finally:
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """A handle that locks the folder until it is closed or its process ends; None if another process has locked it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
