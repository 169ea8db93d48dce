# pyright: strict
"""What stands in a folder of results: runs, sweeps, comparisons, exercises, and what was interrupted.

Results are read as JSON and compared with their digests; nothing is loaded or rendered.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args

from testbed.core import plain_files
from testbed.core.errors import UsageError
from testbed.findings import proof
from testbed.findings.comparison.schema import SCHEMA as COMPARISON
from testbed.findings.schema import SCHEMA as RESULT
from testbed.harness.sweep import folder as sweeps

Kind = Literal["run", "evaluate", "replay", "audit-model", "check", "sweep", "compare", "range"]
State = Literal["complete", "partial", "resumable", "running", "stopped", "altered", "unreadable"]
KINDS, STATES = get_args(Kind), get_args(State)
DEEPEST = 3
"""Levels of folders that are searched."""
RESUME = re.compile(r"\.(.+)\.resume")
"""The name of the folder in which a run keeps its finished parts for --resume."""
EXERCISE, OPEN = "instance.json", "door.json"
"""Files of an exercise: the first makes a folder one, the second is there while it runs."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the folder; `path` is relative to it. `note` says more about the state."""

    path: str
    kind: Kind | Literal["unknown"]
    subject: str
    verdict: str
    created: str
    policy: str
    state: State
    note: str = ""


def entries(folder: Path) -> list[Entry]:
    """All that stands in the folder, the newest first. Raises `UsageError` if it is no folder or cannot be read.

    Links within the folder are not followed.
    """
    folder = folder.resolve()
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise UsageError(
            "TB-RUNS-001",
            f"There is no folder {folder.name or folder} to list.",
            f"The system says: {error.strerror}.",
            "Name the folder of your results. Without --out they are in runs/ of the folder where a command ran.",
        ) from None
    found = sorted(_found(folder, folder, 0), key=lambda entry: entry.path)
    return sorted(found, key=lambda entry: entry.created, reverse=True)


def _found(folder: Path, top: Path, depth: int) -> Iterator[Entry]:
    """The entries of a folder, or of those within it. Links are not followed, and a thing is not looked into."""
    path = os.fspath(folder.relative_to(top))
    if sweeps.is_sweep(folder):
        yield _sweep(folder, path)
    elif (folder / EXERCISE).is_file():
        running = (folder / OPEN).is_file()
        yield Entry(path, "range", folder.name, "none", _changed(folder), "", "running" if running else "stopped")
        if (folder / "report").is_dir():
            yield from _found(folder / "report", top, depth + 1)
    elif (file := folder / "share" / "comparison.json").is_file():
        yield _comparison(file, path)
    elif (file := folder / "share" / "result.json").is_file():
        yield _result(file, path)
    elif (folder / "evidence" / ".written.json").is_file():
        yield _unreadable(folder, path, "share/result.json is missing")
    elif depth < DEEPEST:
        with contextlib.suppress(OSError):
            for inner in list(os.scandir(folder)):
                if not inner.is_dir(follow_symlinks=False):
                    continue
                if stored := RESUME.fullmatch(inner.name):
                    yield _interrupted(Path(inner.path), folder / stored[1], top)
                elif not inner.name.startswith("."):
                    yield from _found(Path(inner.path), top, depth + 1)


def _result(file: Path, path: str) -> Entry:
    content = _json(file)
    run = _fields(content.get("run"))
    kind = run.get("command")
    if content.get("schema") != RESULT or kind not in KINDS:
        return _unreadable(file.parent.parent, path, "share/result.json is not a result of this version")
    changed = proof.altered(content)
    partial = run.get("status") == "partial"
    return Entry(
        path,
        cast("Kind", kind),
        str(_fields(content.get("subject")).get("name", "")),
        *_decided(content),
        "altered" if changed else "partial" if partial else "complete",
        "without proof" if changed is None else ", ".join(changed),
    )


def _sweep(folder: Path, path: str) -> Entry:
    """A sweep is complete once a comparison was written after its last cell."""
    cells, file = sweeps.cells(folder), folder / "share" / "comparison.json"
    failed = sum(cell.status == "failed" for cell in cells)
    note = f"{len(cells) - failed} cells" + (f", {failed} failed" if failed else "")
    told = _comparison(file, path) if file.is_file() else None
    state: State = "running" if _locked(folder / sweeps.CELLS) else "resumable"
    if told is None or told.state == "unreadable":
        scenarios = ", ".join(sorted({cell.inputs.scenario for cell in cells}))
        return Entry(path, "sweep", scenarios, "none", _changed(folder / sweeps.CELLS), "", state, note)
    if told.state == "altered":
        return Entry(path, "sweep", told.subject, told.verdict, told.created, told.policy, "altered", told.note)
    if state == "resumable" and file.stat().st_mtime_ns >= max((cell.written for cell in cells), default=0):
        state = "complete"
    return Entry(path, "sweep", told.subject, told.verdict, told.created, told.policy, state, note)


def _comparison(file: Path, path: str) -> Entry:
    content = _json(file)
    if content.get("schema") != COMPARISON:
        return _unreadable(file.parent.parent, path, "share/comparison.json is not a comparison of this version")
    told: object = _fields(content.get("run")).get("scenarios")
    subject = ", ".join(map(str, cast("list[object]", told))) if isinstance(told, list) else ""
    changed = proof.altered(content)
    note = "without proof" if changed is None else ", ".join(changed)
    return Entry(path, "compare", subject, *_decided(content), "altered" if changed else "complete", note)


def _interrupted(store: Path, run: Path, top: Path) -> Entry:
    return Entry(
        os.fspath(run.relative_to(top)), "run", "", "none", _changed(store), "", "resumable", "give --resume to go on"
    )


def _unreadable(folder: Path, path: str, why: str) -> Entry:
    return Entry(path, "unknown", "", "none", _changed(folder), "", "unreadable", why)


def _decided(content: dict[str, Any]) -> tuple[str, str, str]:
    """The verdict, the date, and the policy's id."""
    decision, run = _fields(content.get("decision")), _fields(content.get("run"))
    policy = _fields(decision.get("policy")).get("id", "")
    return str(decision.get("verdict", "none")), str(run.get("created", "")), str(policy)


def _json(file: Path) -> dict[str, Any]:
    """The fields of a JSON file in a share/ folder; none if it cannot be read, or if a link leads to it."""
    content = plain_files.content(file.parent.parent, file.name, (file.parent.name,))
    try:
        return _fields(json.loads(content or b"", object_pairs_hook=proof.once))
    except (ValueError, RecursionError):
        return {}


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _changed(path: Path) -> str:
    """When the folder was last changed, as results write dates."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except OSError:
        return ""


def _locked(folder: Path) -> bool:
    """Whether a sweep is running there."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
