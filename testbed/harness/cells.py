"""The 2 x 2 as one function: an attack is asked in every cell, its claims are judged, and a finding is computed.

A check says what to ask in each cell (`Ask`) and how to judge a claim. `run` does the rest. If an attack cannot form
its claim, the finding is unmeasured, with the reason and with what the attack needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from testbed.attacks.registry import find
from testbed.core import Cell, Evidence, Recipe, Reconstruction, Scores, Threat, Unavailable
from testbed.findings import measures
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Metric, Risk, Unit, Unmeasured

Judge = Callable[[Cell, Any], Evidence]
"""A function from a cell and the attack's claim there to that cell's evidence rows."""
Measure = Callable[[Plan, Evidence], Finding]
MEASURES: dict[str, Measure] = {"tpr_at_fpr": measures.membership, "auc": measures.area_under_curve}
"""The function that computes a finding, by metric. Every other metric is a rate of successes (`measures.rates`)."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask in one cell: a view, a question, and what else the attack may be given.

    `attack` and `params` replace the plan's, if another attack fills the blind cell: for example one that predicts the
    commonest value for everybody. `silent` is the claim if clients refused and left the attack nothing to read; None
    if none did.
    """

    view: Any
    question: Any
    auxiliary: Any = None
    recipe: Recipe | None = None
    attack: str | None = None
    params: Mapping[str, Any] | None = None
    silent: Any = None

    def claim(self, plan: Plan, seed: int, threat: Threat) -> Any:
        """The attack's claim. Raises `Unavailable` if the attack cannot form one."""
        params = plan.params if self.params is None else self.params
        attack = find(self.attack or plan.attack)
        try:
            return attack.run(self.view, self.question, self.auxiliary, seed, threat, dict(params), self.recipe)
        except Unavailable:
            if self.silent is None:
                raise
            return self.silent


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding with its evidence, or with None if nothing was measured.

    `also` are further findings from the same evidence.
    """

    plan: Plan
    finding: Finding
    evidence: Evidence | None = None
    also: tuple[Finding, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        return [self.finding, *self.also]

    def flagged(self, flag: str) -> Judged:
        """The same findings, each with one more flag."""
        return replace(
            self,
            finding=measures.flagged(self.finding, flag),
            also=tuple(measures.flagged(f, flag) for f in self.also),
        )


def planned(
    name: str,
    *,
    metric: Metric | None = None,
    unit: Unit = "record",
    primary: bool = False,
    params: Mapping[str, Any] | None = None,
    target: str | None = None,
    variant: str = "",
) -> Plan:
    """The plan of one attack: its rule and risk, all its parameters, and its metric.

    The metric is the one given, else the attack's own, else the usual one for its kind of claim.
    """
    attack = find(name)
    usual: dict[type[Any], Metric] = {Scores: "tpr_at_fpr", Reconstruction: "line_up_top1"}
    chosen = metric or cast(Metric | None, attack.metric) or usual.get(attack.claim, "rate")
    return Plan(
        rule=attack.rule,
        risk=cast(Risk, attack.risk),
        attack=name,
        metric=chosen,
        unit=unit,
        primary=primary,
        params=attack.configured(dict(params or {})),
        target=target,
        variant=variant,
    )


def run(
    plan: Plan,
    asks: Mapping[Cell, Ask],
    judge: Judge,
    seed: int,
    threat: Threat,
    measure: Measure | None = None,
) -> Judged:
    """The finding of one plan: the attack is asked and judged in every cell, and the evidence is measured."""
    return attempt(plan, lambda: evidence(plan, asks, judge, seed, threat), measure)


def evidence(plan: Plan, asks: Mapping[Cell, Ask], judge: Judge, seed: int, threat: Threat) -> Evidence:
    """The evidence rows of all cells. Raises `Unavailable` if the attack cannot form a claim."""
    return Evidence.join(*(judge(cell, ask.claim(plan, seed, threat)) for cell, ask in asks.items()))


def attempt(plan: Plan, work: Callable[[], Evidence], measure: Measure | None = None) -> Judged:
    """The finding from the evidence that `work` returns, or an unmeasured one if `work` raises `Unavailable`."""
    try:
        rows = work()
    except Unavailable as why:
        return unmeasured(plan, why)
    return Judged(plan, (measure or MEASURES.get(plan.metric, measures.rates))(plan, rows), rows)


def unmeasured(plan: Plan, why: Unavailable) -> Judged:
    """An unmeasured finding, with the reason and with what is needed to measure it."""
    return Judged(plan, measures.unmeasured(plan, Unmeasured(unmeasured=why.code, needs=why.needs)))


def findings(judged: Iterable[Judged]) -> list[Finding]:
    """All findings, in order."""
    return [finding for one in judged for finding in one.findings]


def evidence_by_key(judged: Iterable[Judged]) -> dict[str, Evidence]:
    """The evidence of all findings that were measured, by their plan's key."""
    return {one.plan.key: one.evidence for one in judged if one.evidence is not None}
