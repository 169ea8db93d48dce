# pyright: strict
"""The choice of the deciding attack: each half of the people chooses it, and the other half is judged by it."""

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
from testbed.harness.federation import naive

CROSSED = 1.36
"""Design effect of cross-fitting: if both halves pick the same attack, their results are correlated; n guesses then
count as n / 1.36 (for k unrelated attacks of equal worth 1 + E[max]^2 / (k - 1), largest at three or four)."""


def chosen(
    plans: Sequence[Plan], evidence_by_rule: Mapping[str, Evidence], seed: int
) -> tuple[Plan, Evidence, float] | None:
    """The plan of the deciding attack, its evidence and its design effect. None if no plan has evidence.

    One half of the people, members and controls alike, chooses the attack with the highest lower bound of the excess.
    The other half is judged by this attack, in every cell. Different attacks score on different scales. Each score is
    therefore replaced by the share of controls of the same cell and half below it; ties count half. With too few
    controls for a choice, the first plan decides.
    """
    measured = [p for p in plans if p.key in evidence_by_rule]
    if not measured:
        return None
    rows = [evidence_by_rule[p.key] for p in measured]
    for other in rows[1:]:
        if not all(np.array_equal(getattr(rows[0], c), getattr(other, c)) for c in ("view", "group", "cluster")):
            raise ValueError("a choice between attacks needs attacks that were asked about the same people")
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
    """Which rows (n,) bool are in the first half, by person: half of the people of each cell."""
    half = np.zeros(len(evidence), bool)
    for view in np.unique(evidence.view):
        for group in np.unique(evidence.group):
            cell = (evidence.view == view) & (evidence.group == group)
            people = np.unique(evidence.cluster[cell])
            drawn = keyed_rng(seed, "halves of people", str(group)).permutation(people)[: len(people) // 2]
            half |= cell & np.isin(evidence.cluster, drawn)
    return half


def _best(plans: Sequence[Plan], rows: Sequence[Evidence], half: Array) -> int:
    """The index of the plan with the highest lower bound of the excess on this half; 0 if none can be measured."""
    asked = half & (rows[0].view == "true")
    controls = len(np.unique(rows[0].cluster[asked & (rows[0].group == "unused")]))
    fpr = statistics.resolvable_fpr(controls)
    if fpr is None:
        return 0
    made = [findings_.membership(replace(p, fpr=fpr), e.where(asked)).excess for p, e in zip(plans, rows, strict=True)]
    low = [e.low if isinstance(e, Estimate) else -np.inf for e in made]
    return int(np.argmax(np.round(low, 9)))


def _levels(evidence: Evidence) -> Array:
    """Each score as the share of its view's controls below it; ties count half. Unchanged if there are no controls."""
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
    """The deciding finding, its evidence, and the other findings, which then only inform."""

    finding: Finding
    evidence: Evidence
    others: list[Finding]


def decide(
    plans: Sequence[Plan], evidence_by_rule: Mapping[str, Evidence], found: Sequence[Finding], rule: str, seed: int
) -> Decided | None:
    """The best of these membership plans as the primary finding `rule`. None if none of them was measured.

    A position that sees everything that a weaker position sees can also make that position's attacks. So its figure is
    that of the best attack of all.
    """
    asked = [p for p in plans if p.metric == "tpr_at_fpr"]
    best = chosen(asked, evidence_by_rule, seed)
    if best is None:
        return None
    plan, rows, design = best
    plan = replace(plan, rule=rule, primary=True)
    finding = findings_.membership(plan, rows, design=design)
    measured = ", ".join(dict.fromkeys(p.attack for p in asked if p.key in evidence_by_rule))
    one_of = [f for f in found if f.rule in {p.rule for p in asked}]
    if one_of and all(naive.FLAG in f.validity.flags for f in one_of):
        finding = findings_.flagged(finding, naive.FLAG)
    told = f" This is the best of the attacks that this position can make ({measured})."
    how = " It was chosen on one half of the people and judged on the other half."
    finding = finding.model_copy(update={"plain": finding.plain + told + how})
    return Decided(finding, rows, [f.model_copy(update={"primary": False}) for f in found])
