# pyright: strict
"""Which of several attacks decides: chosen on one half of the people, judged on the other half, both ways round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from testbed.core import Array, Evidence
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding

CROSSED = 1.36
"""Design effect of cross-fitting: if both halves pick the same attack, their results are correlated; n guesses then
count as n / 1.36 (for k unrelated attacks of equal worth 1 + E[max]^2 / (k - 1), largest at three or four)."""


def chosen(
    plans: Sequence[Plan], evidence_by_rule: Mapping[str, Evidence], seed: int
) -> tuple[Plan, Evidence, float] | None:
    """The attack that decides, its evidence and its design effect; None where no plan has evidence.

    Half of the people, members and controls alike, chooses by the lower bound of the excess; the choice is judged on
    the other half. Every cell of a half is that of its attack. Scores of different attacks have no common scale: a
    score becomes the share of controls of the same cell and half that lie below it, ties half, so that thresholds are
    those of a half. With too few controls for a choice the first plan decides.
    """
    measured = [p for p in plans if p.key in evidence_by_rule]
    if not measured:
        return None
    rows = [evidence_by_rule[p.key] for p in measured]
    for other in rows[1:]:
        if not all(np.array_equal(getattr(rows[0], c), getattr(other, c)) for c in ("view", "group", "cluster")):
            raise ValueError("attacks can be chosen between only where they were asked about the same people")
    first = _half(rows[0], seed)
    picks = [_best(measured, rows, half) for half in (~first, first)]  # what each half is judged by
    score = np.empty(len(first))
    for half, pick in zip((first, ~first), picks, strict=True):
        score[half] = _levels(rows[pick].where(half))
    names = " or ".join(dict.fromkeys(measured[i].attack for i in picks))
    one = measured[picks[0]]
    plan = one if picks[0] == picks[1] else replace(measured[0], attack=names, params=dict[str, Any]())
    return plan, replace(rows[0], score=score), CROSSED if len(measured) > 1 else 1.0


def _half(evidence: Evidence, seed: int) -> Array:
    """Half of the people of each cell (n,) bool; all rows of a person fall on one side."""
    half = np.zeros(len(evidence), bool)
    for view in np.unique(evidence.view):
        for group in np.unique(evidence.group):
            cell = (evidence.view == view) & (evidence.group == group)
            people = np.unique(evidence.cluster[cell])
            drawn = keyed_rng(seed, "halves of people", str(group)).permutation(people)[: len(people) // 2]
            half |= cell & np.isin(evidence.cluster, drawn)
    return half


def _best(plans: Sequence[Plan], rows: Sequence[Evidence], half: Array) -> int:
    """The number of the plan whose excess on this half is surely the largest; the first where none is measured."""
    asked = half & (rows[0].view == "true")
    controls = len(np.unique(rows[0].cluster[asked & (rows[0].group == "unused")]))
    fpr = statistics.resolvable_fpr(controls)
    if fpr is None:
        return 0
    made = [findings_.membership(replace(p, fpr=fpr), e.where(asked)).excess for p, e in zip(plans, rows, strict=True)]
    low = [e.low if isinstance(e, Estimate) else -np.inf for e in made]
    return int(np.argmax(np.round(low, 9)))


def _levels(evidence: Evidence) -> Array:
    """Each score as the share of its view's controls that lie below it, ties half; as it is where there are none."""
    level = evidence.score.copy()
    for view in np.unique(evidence.view):
        mine = evidence.view == view
        controls = np.sort(evidence.score[mine & (evidence.group == "unused")])
        if len(controls):
            sides = [np.searchsorted(controls, evidence.score[mine], side) for side in ("left", "right")]
            level[mine] = (sides[0] + sides[1]) / (2 * len(controls))
    return level


@dataclass(frozen=True, slots=True)
class Decided:
    """The finding that decides, its evidence, and the other findings, which now inform."""

    finding: Finding
    evidence: Evidence
    others: list[Finding]


def decide(
    plans: Sequence[Plan], evidence_by_rule: Mapping[str, Evidence], found: Sequence[Finding], rule: str, seed: int
) -> Decided | None:
    """The best of these membership plans as the finding `rule`, primary; None where none of them was measured.

    A position that sees all that a weaker one sees can make its attacks too; its figure is the best of all.
    """
    asked = [p for p in plans if p.metric == "tpr_at_fpr"]
    best = chosen(asked, evidence_by_rule, seed)
    if best is None:
        return None
    plan, rows, design = best
    plan = replace(plan, rule=rule, primary=True)
    finding = findings_.membership(plan, rows, design=design)
    measured = ", ".join(dict.fromkeys(p.attack for p in asked if p.key in evidence_by_rule))
    told = f" This is the best of the attacks that this position can make ({measured})"
    how = ", chosen on one half of the people and judged on the other half."
    finding = finding.model_copy(update={"plain": finding.plain + told + how})
    return Decided(finding, rows, [f.model_copy(update={"primary": False}) for f in found])
