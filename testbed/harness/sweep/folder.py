# pyright: strict
"""The folder of a sweep: its finished cells, which are its only state.

    DIR/cells/NAME/cell.json    what the cell depends on, and whether it is done or failed
    DIR/cells/NAME/share/       the cell's result and report, as of any run
    DIR/cells/NAME/evidence/    what must not be shared
    DIR/code/DIGEST.json        the modules behind a digest of code
    DIR/places.json             where the user's own files lie
    DIR/share/                  the comparison

A cell is written under another name and renamed when it is whole. A killed sweep therefore leaves whole cells only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from testbed.core.errors import UsageError
from testbed.harness.sweep.inputs import Inputs, digest

SCHEMA = "testbed.cell/1"
CELLS, CODE, PLACES, SHARE = "cells", "code", "places.json", "share"
CELL = "cell.json"
RESULT = f"{SHARE}/result.json"
STAGED = (".new-", ".old-")
Status = Literal["done", "failed"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A finished cell of the folder. `ran` holds the digests of the attacks that it ran, `error` why it failed."""

    path: Path
    inputs: Inputs
    status: Status
    error: Mapping[str, str]
    ran: Mapping[str, str]
    seconds: float
    result: str
    """The SHA-256 of its result.json; empty if it failed."""
    written: int = 0
    """When cell.json was written, in nanoseconds."""

    def result_text(self) -> bytes | None:
        """The text of its result, or None if the file is gone or is not the one that was written."""
        try:
            content = (self.path / RESULT).read_bytes()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == self.result else None


def is_sweep(folder: Path) -> bool:
    """Does the folder hold cells of a sweep?"""
    return (folder / CELLS).is_dir()


def check(folder: Path) -> None:
    """Raises `UsageError` unless the folder is new, empty, or holds a sweep."""
    if folder.exists() and not is_sweep(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "TB-SWEEP-007",
            f"{folder.name} exists and holds no sweep.",
            "The cells would be mixed with the files that are there.",
            "Name another folder with --out.",
        )


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Makes the folder and locks it, until the context or the process ends. Raises `UsageError` if another has it."""
    try:
        (folder / CELLS).mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / CODE).mkdir(exist_ok=True)
        handle = os.open(folder / CELLS, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "TB-SWEEP-008",
                f"Another sweep is running in {folder.name}.",
                "Two sweeps in one folder would run the same cells twice.",
                "Wait for it or stop it, or name another folder with --out.",
            ) from None
        for left in (folder / CELLS).iterdir():
            if left.name.startswith(STAGED):
                shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(handle)


def _unwritable(error: OSError) -> UsageError:
    return UsageError(
        "TB-SWEEP-009",
        "The sweep's folder cannot be written.",
        f"The system says: {error.strerror}.",
        "Choose a writable folder with --out, and check the free space. Finished cells are kept.",
    )


def cells(folder: Path) -> list[Kept]:
    """The finished cells, ordered by name. A folder without a readable cell.json is no finished cell."""
    with contextlib.suppress(FileNotFoundError):
        entries = sorted(os.scandir(folder / CELLS), key=lambda entry: entry.name)
        found = (_read(entry.path) for entry in entries if not entry.name.startswith("."))
        return [kept for kept in found if kept is not None]
    return []


def _read(path: str) -> Kept | None:
    try:
        with open(f"{path}/{CELL}", "rb") as file:  # noqa: PTH123 - thousands of cells are read
            told: Any = json.loads(file.read())
            written = os.fstat(file.fileno()).st_mtime_ns
        given = told["inputs"]
        inputs = Inputs(**{name: given[name] for name in Inputs.__slots__})
        error, ran = cast("dict[str, str]", told.get("error") or {}), cast("dict[str, str]", told["ran"])
        seconds, result = float(told["seconds"]), told.get("result", "")
        made = Kept(Path(path), inputs, told["status"], error, ran, seconds, result, written)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return made if told.get("schema") == SCHEMA and made.status in ("done", "failed") else None


def put(folder: Path, inputs: Inputs, files: Mapping[str, bytes], told: Mapping[str, Any]) -> Path:
    """Write a cell: its files, and cell.json with its inputs and what else is `told`. A reader sees all or nothing."""
    cell = {"schema": SCHEMA, "inputs": inputs.dump(), **told}
    if RESULT in files:
        cell["result"] = hashlib.sha256(files[RESULT]).hexdigest()
    target = folder / CELLS / inputs.name
    staged = target.with_name(f"{STAGED[0]}{uuid.uuid4().hex[:12]}")
    try:
        staged.mkdir(mode=0o700)
        for name, content in {**files, CELL: _json(cell)}.items():
            (staged / name).parent.mkdir(exist_ok=True, mode=0o700)
            (staged / name).write_bytes(content)
        if target.exists():
            aside = target.with_name(f"{STAGED[1]}{uuid.uuid4().hex[:12]}")
            target.rename(aside)
            staged.rename(target)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            staged.rename(target)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise _unwritable(error) from None
    return target


def put_code(folder: Path, modules: Mapping[str, str]) -> None:
    """Write the modules behind a digest of code, once."""
    file = folder / CODE / f"{digest(dict(modules))}.json"
    if not file.exists():
        _replace(file, _json(modules))


def code(folder: Path, name: str) -> dict[str, str]:
    """The modules behind a digest of code, each with its own; empty if they are not known."""
    return _mapping(folder / CODE / f"{name}.json")


def put_places(folder: Path, places: Mapping[str, str]) -> None:
    """Remember where the user's own files lie, beside those remembered before."""
    if places:
        _replace(folder / PLACES, _json({**read_places(folder), **places}))


def read_places(folder: Path) -> dict[str, str]:
    """The paths of the user's own files, by module or by name."""
    return _mapping(folder / PLACES)


def put_share(folder: Path, artefacts: Mapping[str, bytes]) -> None:
    """Write files into `share/`, each whole or not at all."""
    try:
        (folder / SHARE).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error) from None
    for name, content in artefacts.items():
        _replace(folder / SHARE / name, content)


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(value), indent=1, sort_keys=True) + "\n").encode()


def _mapping(file: Path) -> dict[str, str]:
    try:
        told: object = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, str]", told) if isinstance(told, dict) else {}


def _replace(file: Path, content: bytes) -> None:
    staged = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    try:
        staged.write_bytes(content)
        staged.replace(file)
    except OSError as error:
        raise _unwritable(error) from None
