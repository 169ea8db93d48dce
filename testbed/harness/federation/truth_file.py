"""The truth behind a recording as a file, so a transcript can be attacked and judged again later.

The file is an `.npz` without pickles: arrays and a JSON header. The transcripts of the other cells are in the same
folder, named after their cells. A cell without its transcript is unmeasured.
"""

from __future__ import annotations

import filecmp
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from testbed.core import Array, Cell, Cohort, Threat
from testbed.core.defence import Defence
from testbed.core.errors import InputError, UsageError
from testbed.defences import named
from testbed.findings.plan import Plan
from testbed.harness.federation.recorded import Pooled, Recorded, Truth
from testbed.subjects.federation import transcript

FORMAT = "testbed.truth/1"
FILE = "truth.npz"
DAMAGED = (zipfile.BadZipFile, zlib.error)
CELLS: tuple[Cell, ...] = ("true", "blind", "positive")


def files(recorded: Recorded, subject: Mapping[str, Any]) -> dict[str, bytes]:
    """The files for evidence/: a transcript for each cell, and the truth."""
    made = {f"{cell}.transcript": transcript.to_bytes(view) for cell, view in recorded.views.items()}
    return {**made, FILE: to_bytes(recorded.truth, subject)}


def to_bytes(truth: Truth, subject: Mapping[str, Any]) -> bytes:
    """The contents of a truth file."""
    arrays: dict[str, Array] = {}

    def keep(name: str, people: Cohort) -> None:
        for part in ("x", "y", "persons"):
            values = getattr(people, part)
            arrays[f"{name}.{part}"] = values if part != "persons" else values.astype(str)

    keep("auxiliary", truth.auxiliary)
    if truth.decoys is not None:
        keep("decoys", truth.decoys)
    for cell, held in truth.batches.items():
        for (round_, client), people in held.items():
            keep(f"batch.{cell}.{round_}.{client}", people)
    for cell, pooled in truth.pooled.items():
        keep(f"pooled.{cell}", pooled.people)
        arrays[f"pooled.{cell}.used"] = pooled.used
        arrays[f"pooled.{cell}.suspected"] = pooled.suspected
    threat = asdict(truth.threat) | {"knows": sorted(truth.threat.knows)}
    header = {
        "format": FORMAT,
        "seed": truth.seed,
        "classes": truth.classes,
        "threat": threat,
        "plans": [asdict(replace(p, params=dict(p.params))) for p in truth.plans],
        "subject": dict(subject),
        "columns": [list(c) for c in truth.columns],
        "defences": named.text_of(truth.defences),
    }
    arrays["header"] = np.array(json.dumps(header, sort_keys=True))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **cast(Any, arrays))
    return buffer.getvalue()


def read(path: Path) -> tuple[Truth, dict[str, Any]]:
    """The truth, and the descriptions of the subject and the threat.

    Raises `UsageError` if there is no file, and `InputError` if it is damaged or of another kind.
    """
    if not path.is_file():
        raise UsageError("TB-TRUTH-002", "The truth file does not exist.", f"Nothing is at {path}.", "Check the path.")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
        header: dict[str, Any] = json.loads(str(arrays["header"]))
        if header["format"] != FORMAT:
            raise KeyError("format")

        def people(name: str) -> Cohort:
            return Cohort(arrays[f"{name}.x"], arrays[f"{name}.y"], arrays[f"{name}.persons"])

        batches: dict[str, dict[tuple[int, int], Cohort]] = {}
        pooled: dict[str, Pooled] = {}
        for name in arrays:
            parts = name.split(".")
            if parts[0] == "batch" and parts[-1] == "x":
                cell, round_, client = parts[1], int(parts[2]), int(parts[3])
                batches.setdefault(cell, {})[round_, client] = people(f"batch.{cell}.{round_}.{client}")
            elif parts[0] == "pooled" and parts[-1] == "used":
                group = f"pooled.{parts[1]}"
                pooled[parts[1]] = Pooled(people(group), arrays[name].astype(bool), arrays[f"{group}.suspected"])
        threat, told = header["threat"], header["subject"]
        if not all(isinstance(told[part], dict) for part in ("subject", "threat")):
            raise TypeError("subject")
        truth = Truth(
            tuple(Plan(**p) for p in header["plans"]),
            threat_of(threat),
            people("auxiliary"),
            header["seed"],
            header["classes"],
            batches,
            people("decoys") if "decoys.x" in arrays else None,
            pooled,
            tuple((str(name), int(width)) for name, width in header.get("columns", [])),
            _defences(str(header.get("defences", named.NONE))),
        )
    except (OSError, LookupError, TypeError, ValueError, EOFError, AttributeError, RecursionError, *DAMAGED):
        raise InputError(
            "TB-TRUTH-001",
            "The truth file cannot be read.",
            "It is damaged, cut off, or not a truth file of this testbed.",
            "Use the truth.npz that the run left in evidence/, or see docs/transcript.md to make one.",
        ) from None
    return truth, told


def _defences(text: str) -> tuple[Defence, ...]:
    """The defences of the run. Raises `UsageError` if one is a user's own that is not loaded here."""
    try:
        return named.configured(text)
    except UsageError:
        raise UsageError(
            "TB-TRUTH-004",
            "A defence of this run is not known here.",
            "The attacker of the run knows its defences, and the file holds their names without their code.",
            "Name the folder or file with your own code: testbed --code PATH replay ..., or set TESTBED_CODE.",
        ) from None


def beside(path: Path, view: transcript.Transcript, truth_path: Path) -> dict[Cell, transcript.Transcript]:
    """The views by cell: the transcript is the true view; the other cells' transcripts are beside the truth file.

    Raises `UsageError` if the transcript is one of another cell, because the truth describes the true cell.
    """
    views: dict[Cell, transcript.Transcript] = {"true": view}
    for cell in CELLS[1:]:
        other = truth_path.with_name(f"{cell}.transcript")
        if other.is_file() and filecmp.cmp(other, path, shallow=False):
            raise UsageError(
                "TB-TRUTH-003",
                f"This is the transcript of the {cell} cell.",
                "The truth file describes the records behind the true cell, so it cannot judge this transcript.",
                "Give true.transcript from the same folder.",
            )
        if other.is_file():
            views[cell] = transcript.read(other)
    return views


def threat_of(told: dict[str, Any]) -> Threat:
    """The threat as it stands in the file; files of older versions have no turns."""
    turns = told.get("turns")
    made: dict[str, Any] = {**told, "knows": frozenset(told["knows"]), "nodes": tuple(told["nodes"])}
    made["turns"] = None if turns is None else tuple(turns)
    return Threat(**made)
