"""A result assembled from findings: the run, the subject, the decision and what is withheld."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from importlib import metadata
from typing import Any, Literal, get_args

from testbed.core.disclosure import MIN_CELL
from testbed.core.errors import UsageError
from testbed.findings import small_cells
from testbed.findings.policy import Policy, decide
from testbed.findings.proof import sealed
from testbed.findings.remedies import advised
from testbed.findings.schema import (
    DataClass,
    Decision,
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
    Traffic,
    Utility,
    four_digits,
)
from testbed.findings.waivers import waived

PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn", "torch", "flwr", "sdv", "anonymeter")
"""Packages whose versions stand in a result, where they are installed."""

WITHHELD = [
    "records, row numbers and identifiers of the original",
    "per-record scores and guesses",
    "predicates, links and reconstructions",
    "seeds of generators",
]
"""What no result holds, as its report says."""


def environment() -> Environment:
    """The machine's Python, system, cores, packages and CPU seconds; never its name, its user or a path."""
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
    """A number of rows as a band, such as 'fewer than 1,000 rows': the exact number is not disclosed."""
    edges = [100, 1_000, 10_000, 100_000, 1_000_000]
    below = next((e for e in edges if rows < e), None)
    return f"fewer than {below:,} rows" if below else "1,000,000 rows or more"


def version() -> str:
    """The installed version of the testbed."""
    return metadata.version("leakage-testbed")


def assemble(
    *,
    command: Literal["run", "evaluate", "replay", "audit-model", "range"],
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
    traffic: Traffic | None = None,
    client_round: Mapping[str, float] | None = None,
    summary: Sequence[str] = (),
) -> Result:
    """A result with its decision and its digests. `started` is the `time.monotonic()` at which the run began.

    Its parameters are the parts of a result, each named once, where all commands meet.
    """
    now = datetime.now(UTC)
    judged, decision = decided(findings, policy, subject, now.date())
    min_cell = policy.min_cell if policy else MIN_CELL
    if small_cells.holds(subject):
        utility = small_cells.usefulness(utility, min_cell)
    timed = {k: four_digits(v) for k, v in client_round.items()} if client_round else None
    result = Result(
        schema="testbed.result/1",
        run=Run(
            id="",
            created=now.isoformat(timespec="seconds"),
            duration_s=time.monotonic() - started,
            environment=environment().model_copy(update={"client_round": timed}),
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
        traffic=traffic,
        decision=decision,
        summary=list(summary) or None,
        disclosure=Disclosure(min_cell=min_cell, withheld=WITHHELD, pictures=list(pictures)),
    )
    return sealed(result)


def decided(
    findings: list[Finding], policy: Policy | None, subject: Subject, on: date | None = None
) -> tuple[list[Finding], Decision]:
    """The findings with their verdicts, and the decision under the policy's waivers on a day (today, if not given).

    About real people, rates over fewer than `min_cell` are no longer in the findings.

    The decision on a synthetic table also names columns to change.
    """
    judged, decision = decide(findings, policy)
    if small_cells.holds(subject):  # after the verdict, so that nothing that was found is lost
        limits = policy.limits if policy else {}
        judged, decision = decide(small_cells.without(judged, policy.min_cell if policy else MIN_CELL, limits), policy)
    if subject.type == "synthetic_table":
        decision = advised(decision, judged, subject.table)
    waivers = policy.waivers if policy else ()
    return judged, waived(decision, judged, waivers, on or datetime.now(UTC).date())


def as_data_class(name: str) -> DataClass:
    """The data class of that name. Raises `UsageError` for any other name."""
    if name not in get_args(DataClass):
        raise UsageError(
            "TB-DATA-061",
            f"There is no data class {name!r}.",
            "It decides what may be shown.",
            f"Use one of: {', '.join(get_args(DataClass))}. Where it is unknown, use real.",
        )
    return name  # type: ignore[return-value]
