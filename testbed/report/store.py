"""Reading a result, and writing a run's folder: past the disclosure gate, and whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from testbed.core import Evidence
from testbed.core.disclosure import People
from testbed.core.errors import InputError, UsageError
from testbed.findings.schema import Result
from testbed.report import folder, gate, html


def to_json(result: Result) -> str:
    """The text of `result.json`."""
    return json.dumps(result.dump(), indent=2, ensure_ascii=False, sort_keys=False) + "\n"


def load(path: Path) -> Result:
    """The result in a run's folder or file. Raises `UsageError` without a file, `InputError` if it is not a result."""
    file = path / "share" / "result.json" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(
            "TB-RESULT-001", "There is no result in this place.", f"{file.name} was not found.", "Name a run's folder."
        )
    try:
        return Result.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError):
        raise InputError(
            "TB-RESULT-002",
            "The file is not a result of this testbed.",
            "It does not follow the schema testbed.result/1.",
            "Check that the file is complete; testbed schema prints the schema.",
        ) from None


def write(
    out: Path,
    result: Result,
    evidence: Mapping[str, Evidence] | None = None,
    people: People | None = None,
    files: Mapping[str, bytes] | None = None,
    checked: bool = False,
) -> Path:
    """Write `share/` and `evidence/` under `out` and return it; on any error an earlier run there stays unchanged.

    `files` are written to evidence/ unchanged. An earlier run is replaced. A folder that holds anything else is
    refused (`UsageError`), unless it was `checked` before the work: files that others added since are then moved into
    the new folder or kept beside it, never deleted. Raises `DisclosureError` if the gate blocks.
    """
    share = shared(result, people)
    if not checked:
        folder.check(out)
    folder.put(out, share, packed(evidence or {}) | dict(files or {}))
    return out


def shared(result: Result, people: People | None = None) -> dict[str, bytes]:
    """The files of `share/`, past the gate. Raises `DisclosureError` if it blocks."""
    share = {"result.json": to_json(result).encode(), "report.html": html.render(result).encode()}
    gate.check(share, result, people, result.disclosure.min_cell)
    return share


def packed(evidence: Mapping[str, Evidence]) -> dict[str, bytes]:
    """The files of `evidence/`: one of each finding's rule."""
    return {f"{rule}.npz": _packed(rows) for rule, rows in evidence.items()}


def _packed(rows: Evidence) -> bytes:
    columns = {c: getattr(rows, c) for c in ("view", "group", "item", "cluster", "score", "success")}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    return buffer.getvalue()


def writable(out: Path) -> None:
    """Raises `UsageError` unless results may be written to `out`; called before hours of work begin."""
    folder.check(out)
