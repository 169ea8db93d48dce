"""Reading a result, and writing a run's folder: past the disclosure gate, and whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from testbed.core import Evidence
from testbed.core.disclosure import People
from testbed.core.errors import InputError, UsageError
from testbed.data import fingerprints
from testbed.findings import proof
from testbed.findings.schema import Result
from testbed.report import folder, gate, html

ALTERED = "TB-RESULT-003"
"""The id of the error for a result that was altered after it was made."""


def to_json(result: Result) -> str:
    """The text of `result.json`."""
    return json.dumps(result.dump(), indent=2, ensure_ascii=False, sort_keys=False) + "\n"


def load(path: Path) -> Result:
    """The result in a run's folder or file.

    Raises `UsageError` without a file, and `InputError` if it is not a result or was altered after it was made. A
    result of an earlier version has no digests; its `proof` is None.
    """
    file = path / "share" / "result.json" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(
            "TB-RESULT-001", "There is no result in this place.", f"{file.name} was not found.", "Name a run's folder."
        )
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise _no_result("It cannot be read as text in UTF-8.") from None
    return parse(text)


def parse(text: str) -> Result:
    """The result that is this text. Raises `InputError` if it is none, or if it was altered after it was made."""
    try:
        content: Any = json.loads(text, object_pairs_hook=proof.once)
        result = Result.model_validate(content)
    except (ValidationError, ValueError, RecursionError):
        raise _no_result("It does not follow the schema testbed.result/1.") from None
    if changed := proof.altered(content):
        raise InputError(
            ALTERED,
            f"This result was altered after it was made: {changed[0]}.",
            "Its digests do not fit its content, so neither its numbers nor its verdict can be relied on.",
            "Ask for the original file, or run the command again; testbed verify says what holds.",
        )
    return result


def _no_result(why: str) -> InputError:
    return InputError(
        "TB-RESULT-002",
        "The file is not a result of this testbed.",
        why,
        "Check that the file is complete; testbed schema prints the schema.",
    )


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
    """The files of `evidence/`: one of each finding's rule. Raises `TypeError` for a column of Python objects."""
    return {f"{rule}.npz": _packed(rows) for rule, rows in evidence.items()}


def _packed(rows: Evidence) -> bytes:
    columns = {c: getattr(rows, c) for c in ("view", "group", "item", "cluster", "score", "success")}
    if any(values.dtype.hasobject for values in columns.values()):
        raise TypeError("columns of evidence must be numbers or texts: NumPy would write objects as a pickle")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    return buffer.getvalue()


def writable(out: Path) -> None:
    """Raises `UsageError` unless results may be written to `out`, and inputs digested; called before hours of work."""
    folder.check(out)
    fingerprints.site_key()
