# pyright: strict
"""Batches: the runs that differ by nothing but the seed, joined into one set of findings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from testbed.findings import replicates
from testbed.findings.measures import MEASURES
from testbed.findings.plan import FEWEST_RUNS
from testbed.findings.policy import Policy, decide
from testbed.findings.schema import Defence, Estimate, Finding, Measure, Result, Unmeasured, Utility, Verdict
from testbed.findings.statistics import Interval
from testbed.findings.waivers import waived

FEW_RUNS = Unmeasured(unmeasured="few_runs", needs=f"1 run, or {FEWEST_RUNS} or more, of the setting")
Question = tuple[str, str, str | None]


OWN = re.compile(r"(?P<what>.+?), (?P<how>without a defence|with .+)")
"""The name of a figure that a result gives with its defence and without one."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A finished run: its seed, its result, and how long it took."""

    seed: int
    result: Result
    seconds: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Runs with these parameters, loaded when they are needed. `label` names runs that parameters do not tell apart."""

    scenario: str
    params: Mapping[str, Any]
    load: Callable[[], Sequence[Loaded]]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """A batch's findings, decided by the policy, and what pairs need: each figure by seed."""

    findings: Sequence[Finding]
    verdict: Verdict
    reasons: Sequence[str]
    defences: Sequence[Defence]
    utility: Mapping[str, Measure]
    excess_by_seed: Mapping[Question, Mapping[int, Interval]]
    utility_by_seed: Mapping[str, Mapping[int, Interval]]
    seeds: Sequence[int]
    seconds: float
    first: Result = field(repr=False)


def own_utility(told: Sequence[Utility]) -> list[Utility]:
    """The figures of utility of a result's own setting: with its defence where it has one. Names are without it."""
    found: dict[str, Utility] = {}
    for use in told:
        match = OWN.fullmatch(use.name)
        name = match["what"] if match else use.name
        if match is None or match["how"] != "without a defence" or name not in found:
            found[name] = use.model_copy(update={"name": name})
    return list(found.values())


def question(finding: Finding) -> Question:
    """What a finding answers, over all runs: a deciding one's target may differ between them."""
    return (finding.rule, finding.attack.name, None if finding.primary else finding.target)


def interval(measure: Measure) -> Interval | None:
    """The interval of a measure, or None if it is unmeasured."""
    if not isinstance(measure, Estimate):
        return None
    m = measure
    return Interval(m.value, m.low, m.high, m.level, m.method, m.n)


def joined(loaded: Sequence[Loaded], policy: Policy | None) -> Joined:
    """The findings of runs that differ by nothing but the seed: of one run its own, of five or more their means.

    Two to four runs are neither, and their measures are unmeasured. Raises `ValueError` without a run.
    """
    by_seed = {one.seed: one.result for one in sorted(loaded, key=lambda one: one.seed)}
    results = list(by_seed.values())
    if not results:
        raise ValueError("a batch needs a run")
    judged, decision = decide(_over([r.findings for r in results]), policy)
    decision = waived(decision, judged, policy.waivers if policy else (), datetime.now(UTC).date())
    excesses: dict[Question, dict[int, Interval]] = {}
    uses: dict[str, dict[int, Interval]] = {}
    for seed, result in by_seed.items():
        for finding in result.findings:
            if (found := interval(finding.excess)) is not None:
                excesses.setdefault(question(finding), {})[seed] = found
        for use in own_utility(result.utility):
            if (found := interval(use.measure)) is not None:
                uses.setdefault(use.name, {})[seed] = found
    return Joined(
        [f.model_copy(update={"series": [], "taxonomy": []}) for f in judged],
        decision.verdict,
        [r.text for r in decision.reasons if r.verdict != "pass"],
        results[0].defences,
        _utility([own_utility(r.utility) for r in results]),
        excesses,
        uses,
        list(by_seed),
        sum(one.seconds for one in loaded) / len(loaded),
        results[0],
    )


def _over(runs: list[list[Finding]]) -> list[Finding]:
    if len(runs) == 1:
        return runs[0]
    if len(runs) >= FEWEST_RUNS:
        return replicates.over_runs(runs)
    return [f.model_copy(update=dict.fromkeys(MEASURES, FEW_RUNS)) for f in runs[0]]


def _utility(runs: list[list[Utility]]) -> dict[str, Measure]:
    """Each figure of utility over all runs that have it; unmeasured if some lack it."""
    names = dict.fromkeys(use.name for run in runs for use in run)
    found: dict[str, Measure] = {}
    for name in names:
        measures = [use.measure for run in runs for use in run if use.name == name]
        if len(measures) < len(runs):
            found[name] = replicates.NOT_IN_EVERY_RUN
        elif len(runs) == 1:
            found[name] = measures[0]
        else:
            found[name] = replicates.mean_over_runs(measures) if len(runs) >= FEWEST_RUNS else FEW_RUNS
    return found
