# pyright: strict
"""A comparison of finished runs: one value that says everything the page, the table and the JSON file show."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from testbed.core.disclosure import MIN_CELL
from testbed.core.errors import UsageError
from testbed.findings import assemble
from testbed.findings.comparison.batches import Batch
from testbed.findings.comparison.recommend import recommended
from testbed.findings.comparison.schema import Comparison, ComparisonRun, LeftOut, Times
from testbed.findings.comparison.settings import Group, compared, entries, groups, main_utility
from testbed.findings.policy import Policy
from testbed.findings.schema import Disclosure, Model, Tool

Described = TypeVar("Described", bound=Model)
MOST_SUBJECTS = 20
"""Different subjects and threats that a comparison describes at most."""


def compare(batches: Iterable[Batch], left_out: Sequence[LeftOut], policy: Policy | None, started: float) -> Comparison:
    """The comparison of these runs. `started` is the `time.monotonic()` at which the work began.

    Without a policy nothing is recommended. Raises `UsageError` if there is no run.
    """
    made, varied = groups(batches, policy)
    if not made:
        raise UsageError(
            "TB-COMPARE-001",
            "There is no finished run to compare.",
            f"{len(left_out)} groups of runs do not count." if left_out else "The places named hold none.",
            "Run testbed sweep first. Cells of other code count with --accept-stale.",
        )
    settings, differences = compared(made, len(made))
    use = main_utility(made)
    recommendation, decision = recommended(settings, policy, use)
    firsts = [b.first for g in made for b in g.batches]
    return Comparison(
        schema="testbed.comparison/1",
        run=_run(made, varied, started),
        subjects=_distinct([r.subject for r in firsts]),
        threats=_distinct([r.threat for r in firsts]),
        main_utility=use,
        settings=settings,
        matrix=[entry for g in made for entry in entries(g)],
        differences=differences,
        left_out=list(left_out),
        decision=decision,
        recommendation=recommendation,
        disclosure=Disclosure(
            min_cell=max([policy.min_cell if policy else MIN_CELL, *(r.disclosure.min_cell for r in firsts)]),
            withheld=assemble.WITHHELD,
        ),
    )


def _run(made: Sequence[Group], varied: Sequence[str], started: float) -> ComparisonRun:
    firsts = [b.first.run for g in made for b in g.batches]
    seconds = {g.name: sum(b.seconds for b in g.batches) / len(g.batches) for g in made}
    told = {g.name: g.batches[0].first.run.environment.client_round for g in made}
    rounds = {name: seconds for name, seconds in told.items() if seconds}
    return ComparisonRun(
        id=uuid.uuid4().hex[:12],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        duration_s=time.monotonic() - started,
        environment=Times(**assemble.environment().model_dump(), seconds=seconds, client_rounds=rounds),
        tool=Tool(version=assemble.version()),
        scenarios=list(dict.fromkeys(r.scenario for r in firsts)),
        questions=list(dict.fromkeys(r.question for r in firsts))[:MOST_SUBJECTS],
        varied=list(varied),
        runs=sum(len(b.seeds) for g in made for b in g.batches),
    )


def _distinct(values: Sequence[Described]) -> list[Described]:
    by_text = {v.model_dump_json(): v for v in values}
    return list(by_text.values())[:MOST_SUBJECTS]
