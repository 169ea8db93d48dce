# pyright: strict
"""A run's folder: what in it is the testbed's own, and how a new result takes the place of an earlier one.

Only files that the testbed wrote are ever deleted: those that the folder's own list names.
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

PARTS = ("share", "evidence")
LIST = ".written.json"
"""In evidence/: the names of the files in either part. The list itself is not in it."""
KNOWN = {"share": r"result\.json|report\.html", "evidence": r"\.written\.json|.*\.(npz|transcript)"}
"""Names of files that any version wrote; folders of earlier versions have no list."""
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini", "lost+found"}
"""What file managers and file systems leave in a folder; nobody's work."""
STAGED = r"(new|old)-[0-9a-f]{8}"
EXCHANGE, HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux' renameat2


def check(out: Path) -> None:
    """Raises `UsageError` unless a result may go to `out`: a folder that is not there yet, an empty one, or one that
    holds an earlier run and nothing else."""
    out = out.resolve()
    if out in (Path.cwd(), *Path.cwd().parents):
        raise UsageError(
            "TB-OUT-003",
            "The folder that you stand in cannot be the output.",
            "A run's folder is put in place whole, and this one would be replaced.",
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
            "A result would be mixed with what lies there.",
            "Name another folder with --out.",
        )
    if others := list(_strangers(out)):
        told = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise UsageError(
            "TB-OUT-005",
            f"{out.name} holds more than an earlier run: {told}.",
            "The testbed did not write it, and an earlier run is replaced whole.",
            "Move it elsewhere, or name another folder with --out.",
        )


def _probe(out: Path) -> None:
    """Raises `OSError` where nothing can be made beside the folder, nor, if it is there, in it."""
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
    """Put a result in place, and return where files of others that lay in the way are kept, if there were any.

    Whoever looks sees the earlier result or the new one: on Linux in one step, elsewhere in two, the first of which
    is undone by the next run if it is killed in between. A mount point cannot be exchanged, so that its two parts are,
    one after the other. Of several writers the last wins.
    """
    out = out.resolve()
    contents = {"share": share, "evidence": evidence}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        try:
            with _staged(out.parent, f".{out.name}.", contents, out) as staging, _locked(out.parent):
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
        with _staged(out, ".", contents, None) as staging, _locked(out):
            for part in PARTS[::-1]:
                _swapped(staging / part, out / part)
            return _settled(staging, out)
    except OSError as error:
        raise unwritable(error) from None


def forget(store: Path) -> None:
    """Delete the finished parts that a run kept for `--resume`, and their folder where nothing else lies in it."""
    with contextlib.suppress(OSError):
        for file in store.iterdir():
            if re.fullmatch(r"\.?[0-9a-f]{16,64}\.transcript(\..*)?", file.name) and file.is_file():
                file.unlink()
        store.rmdir()


def unwritable(error: OSError) -> UsageError:
    return UsageError(
        "TB-OUT-002",
        "The output folder cannot be written.",
        f"The system said: {error.strerror}.",
        "Choose a writable folder with --out, and check the free space.",
    )


# --- what is the testbed's own ----------------------------------------------------------------------------


def _entries(out: Path) -> Iterator[Path]:
    """What lies in a folder, other than litter and what is being written."""
    return (p for p in sorted(out.iterdir()) if p.name not in LITTER and not re.fullmatch(rf"\.{STAGED}", p.name))


def _is_run(out: Path) -> bool:
    """Is there a result of this testbed, or the evidence of one that was being put in place?"""
    file = out / "share" / "result.json"
    if not (out / "share").exists():
        return (out / "evidence" / LIST).is_file()
    try:
        found: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(found, dict):
        return False
    fields = cast("dict[str, Any]", found)
    return str(fields.get("schema", "")).startswith("testbed.result/") and {"run", "findings", "decision"} <= set(
        fields
    )


def _strangers(out: Path) -> Iterator[str]:
    """What the testbed did not write, by its name within the folder."""
    for entry in _entries(out):
        if entry.name not in PARTS or entry.is_symlink() or not entry.is_dir():
            yield entry.name
            continue
        for file in sorted(entry.iterdir()):
            if not _own(file, out):
                yield f"{entry.name}/{file.name}"


def _own(file: Path, run: Path) -> bool:
    if file.name in LITTER:
        return True
    if file.is_symlink() or not file.is_file():
        return False
    part = file.parent.name
    listed = _listed(run).get(part)
    always = KNOWN[part] if listed is None or part == "share" else re.escape(LIST)
    return file.name in (listed or ()) or re.fullmatch(always, file.name) is not None


def _listed(run: Path) -> dict[str, list[str]]:
    try:
        found: object = json.loads((run / "evidence" / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, list[str]]", found) if isinstance(found, dict) else {}


# --- writing ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _staged(
    parent: Path, prefix: str, contents: Mapping[str, Mapping[str, bytes]], like: Path | None
) -> Generator[Path]:
    """A folder with the files, locked while it is in use, so that no other run takes it for one left behind."""
    staging = parent / f"{prefix}new-{uuid.uuid4().hex[:8]}"
    with _locked(parent):
        staging.mkdir()
        lock = _lock(staging)
    try:
        (staging / "evidence").mkdir(mode=0o700)
        (staging / "share").mkdir()
        names = {part: sorted(files) for part, files in contents.items()}
        (staging / "evidence" / LIST).write_text(json.dumps(names), encoding="utf-8")
        for part, files in contents.items():
            for name, content in files.items():
                (staging / part / name).write_bytes(content)
        if like is not None and like.is_dir():
            staging.chmod(stat.S_IMODE(like.stat().st_mode))
        yield staging
    finally:
        _discard(staging)
        if lock is not None:
            os.close(lock)


def _placed(staging: Path, out: Path) -> Path:
    """Give a whole folder its name; returns where the earlier one is now, or would be."""
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
    """Exchange two folders' names, in one step where the system can; else undone on an error."""
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
    """Swap two names; False where this system or file system cannot."""
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
    """Give back to the folder what others put there while the work went on, and delete the earlier run's own files."""
    for entry in _entries(earlier) if earlier.is_dir() and earlier.parent != out else ():
        if entry.name not in PARTS and not (out / entry.name).exists():
            entry.rename(out / entry.name)
    _discard(earlier)
    if not earlier.exists():
        return None
    kept = (
        out.with_name(f"{out.name}.kept-{earlier.name[-8:]}")
        if earlier.parent != out
        else out / f"kept-{earlier.name[-8:]}"
    )
    earlier.rename(kept)
    return kept


def _discard(folder: Path) -> None:
    """Delete the files of a run that the testbed wrote, and the folders that are empty then."""
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


# --- what a killed run left -------------------------------------------------------------------------------


def _sweep(out: Path) -> None:
    """Undo what runs into this folder left when they were killed: their own folders, none that is still in use."""
    places = [(out.parent, rf"\.{re.escape(out.name)}\.({STAGED}|[0-9a-f]{{8}})"), (out, rf"\.{STAGED}")]
    for parent, pattern in places:
        if not parent.is_dir():
            continue
        with contextlib.suppress(OSError), _locked(parent):
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


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None]:
    """While it lasts, no other run makes or sweeps folders there; where a file system has no locks, best effort."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock(folder: Path) -> int | None:
    """A handle that holds the folder until it is closed or its process ends; None where another holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
