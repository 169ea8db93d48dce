"""Assembling a result, and writing a run's folder: whole or not at all, and past the gate."""

from __future__ import annotations

import io
import json
import os
import platform
import resource
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import ValidationError

from testbed.core import Evidence
from testbed.errors import InputError, UsageError
from testbed.policy import Policy, decide
from testbed.report import folder, gate, html
from testbed.report.schema import (
    DataClass,
    Defence,
    Disclosure,
    Environment,
    Finding,
    Picture,
    Result,
    Run,
    Subject,
    ThreatModel,
    Tool,
    Utility,
)

PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn", "torch", "flwr", "sdv", "anonymeter")
WITHHELD = [
    "records, row numbers and identifiers of the original",
    "per-record scores and guesses",
    "predicates, links and reconstructions",
    "seeds of generators",
]


def environment() -> Environment:
    """The machine in words: never its name, its user or a path."""
    packages: dict[str, str] = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        packages=packages,
        cpu_seconds=sum(u.ru_utime + u.ru_stime for u in usage),
    )


def size_band(rows: int) -> str:
    """A coarse count of rows: the exact one is nobody's business."""
    edges = [100, 1_000, 10_000, 100_000, 1_000_000]
    below = next((e for e in edges if rows < e), None)
    return f"fewer than {below:,} rows" if below else "1,000,000 rows or more"


def version() -> str:
    return metadata.version("leakage-testbed")


def assemble(
    *,
    command: Literal["run", "evaluate", "replay", "audit-model"],
    scenario: str,
    question: str,
    engine: str,
    seed: int,
    params: Mapping[str, Any],
    started: float,
    subject: Subject,
    threat: ThreatModel,
    findings: list[Finding],
    policy: Policy | None,
    defences: Sequence[Defence] = (),
    utility: Sequence[Utility] = (),
    pictures: Sequence[Picture] = (),
) -> Result:
    """A result with its decision. `started` is the `time.monotonic()` at which the run began."""
    judged, decision = decide(findings, policy)
    return Result(
        schema="testbed.result/1",
        run=Run(
            id=uuid.uuid4().hex[:12],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            duration_s=time.monotonic() - started,
            environment=environment(),
            tool=Tool(version=version()),
            command=command,
            scenario=scenario,
            question=question,
            engine=engine,
            seed=seed,
            params=dict(params),
        ),
        subject=subject,
        threat=threat,
        defences=list(defences),
        findings=judged,
        utility=list(utility),
        decision=decision,
        disclosure=Disclosure(
            min_cell=policy.min_cell if policy else gate.MIN_CELL, withheld=WITHHELD, pictures=list(pictures)
        ),
    )


def data_class(name: str) -> DataClass:
    if name not in get_args(DataClass):
        raise UsageError(
            "TB-DATA-061",
            f"There is no data class {name!r}.",
            "It decides what may be shown.",
            f"Use one of: {', '.join(get_args(DataClass))}; what is unknown is real.",
        )
    return name  # type: ignore[return-value]


def to_json(result: Result) -> str:
    return json.dumps(result.dump(), indent=2, ensure_ascii=False, sort_keys=False) + "\n"


def load(path: Path) -> Result:
    """The result in a run's folder or file. Raises `InputError` where it is not one."""
    file = path / "share" / "result.json" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(
            "TB-RESULT-001", "There is no result there.", f"{file.name} was not found.", "Name a run's folder."
        )
    try:
        return Result.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError):
        raise InputError(
            "TB-RESULT-002",
            "The file is no result of this testbed.",
            "It does not follow the schema testbed.result/1.",
            "See testbed schema, and check that the file is whole.",
        ) from None


def write(
    out: Path,
    result: Result,
    evidence: Mapping[str, Evidence] | None = None,
    people: gate.People | None = None,
    files: Mapping[str, bytes] | None = None,
    checked: bool = False,
) -> Path:
    """Write `share/` and `evidence/` under `out`; on any error an earlier run there stays as it is.

    `files` go to evidence/ as they are. An earlier run is replaced; a folder that holds anything else is refused,
    unless it was `checked` before the work: what others put there since is moved back or kept beside, not deleted.
    """
    min_cell = result.disclosure.min_cell
    share = {"result.json": to_json(result).encode(), "report.html": html.render(result).encode()}
    gate.check(share, result, people, min_cell)
    if not checked:
        folder.check(out)
    folder.put(
        out, share, {f"{rule}.npz": _packed(rows) for rule, rows in (evidence or {}).items()} | dict(files or {})
    )
    return out


def _packed(rows: Evidence) -> bytes:
    columns = {c: getattr(rows, c) for c in ("view", "group", "item", "cluster", "score", "success")}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    return buffer.getvalue()


def writable(out: Path) -> None:
    """Raises `UsageError` unless results may go to `out`: called before hours of work."""
    folder.check(out)
