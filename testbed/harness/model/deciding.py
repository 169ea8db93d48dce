"""The choice of the deciding membership attack: each half of the people chooses it, and the other half is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack
from testbed.core import Array, Cohort, Evidence, Known, Predictor, Records, Scores, Threat
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.harness.cells import Judged
from testbed.harness.model.persons import as_many_rows, one_each

RULE = "TB-MEMBERSHIP-300"
PLAN = Plan(rule=RULE, risk="membership", attack="none", metric="tpr_at_fpr", primary=True)
"""The plan of a decision, before its attacks are chosen."""
REHEARSALS = 2
"""Parts of each half on which an attack that knows some memberships rehearses."""
CROSSED = 1.36
"""Design effect of choosing crosswise. If both halves choose the same attack, their results are correlated; n guesses
then count as n / 1.36 (as for secrets, `harness.release.attribute_inference`). Over null tables the coverage is at
least its level (`tests/harness/model/test_deciding.py`), the classifier's own correlation included."""
TAUGHT = 2.0
"""Design effect of teaching crosswise: the largest that two halves can have. Each half learns the same resemblance to
the other half, so their AUCs are correlated. At a low false-positive rate the effect is smaller."""
UNRUN = "strongest_unmeasured"
"""The flag of a decision for which a possible attack did not run."""


@dataclass(frozen=True, slots=True)
class Halves:
    """Two halves of the people asked about: `first` (n,) bool. `part` (n,) divides each half for rehearsals.

    `counted` (n,) bool says which rows count in the mean of a person's scores; None if nobody has several rows.
    """

    first: Array
    part: Array
    counted: Array | None = None

    @staticmethod
    def of(persons: Array, used: Array, seed: int) -> Halves:
        """Halves and parts, by person. All have the same numbers of members and of controls, up to rounding."""
        names, person = np.unique(persons, return_inverse=True)
        member = np.zeros(len(names), bool)
        member[person] = used
        place = np.empty(len(names), int)
        rng = keyed_rng(seed, "halves of the people in doubt")
        for side in (member, ~member):
            place[rng.permutation(np.flatnonzero(side))] = np.arange(side.sum())
        counted = as_many_rows(persons, used, seed) if len(names) < len(persons) else None
        return Halves((place % 2 == 0)[person], (place // 2 % REHEARSALS)[person], counted)


def taught(
    attack: Attack,
    view: Predictor,
    pooled: Cohort,
    used: Array,
    part: Array,
    seed: int,
    threat: Threat,
    params: Mapping[str, Any] | None = None,
    among: Array | None = None,
) -> Scores:
    """Scores of an attack that knows some memberships. It scores the people of each part and knows the other parts.

    An attack is never given the membership of people whom it scores. People who are not `among` those asked about are
    neither scored nor known; their score is 0. Its parameters are those of an attack's call, and the people whose
    membership it is told.
    """
    among = np.ones(len(pooled), bool) if among is None else among
    scores = np.zeros(len(pooled))
    for number in np.unique(part[among]):
        asked, rest = (np.flatnonzero(among & here) for here in (part == number, part != number))
        question = Records(pooled.take(asked), known=Known(pooled.take(rest), used[rest]))
        scores[asked] = attack.run(view, question, None, seed, threat, dict(params or {})).values
    return Scores(scores)


def rehearsed(
    attack: Attack,
    view: Predictor,
    pooled: Cohort,
    used: Array,
    halves: Halves,
    seed: int,
    threat: Threat,
    params: Mapping[str, Any] | None = None,
) -> Evidence:
    """Evidence as by `taught`, but within each half, so the choice on one half uses no membership of the other half."""
    rows: list[Evidence] = []
    for half in (halves.first, ~halves.first):
        claim = taught(attack, view, pooled, used, halves.part, seed, threat, params, half)
        rows.append(_of(judge.scores(claim, used, "true", pooled.persons), half))
    return on_one_scale(one_each(Evidence.join(*rows), halves.counted), halves.part + REHEARSALS * halves.first)


def on_one_scale(evidence: Evidence, part: Array) -> Evidence:
    """The evidence with each score replaced by the share of controls of its view and part below it; ties count half.

    `part` (n,) is the part of each item. Each part may have been scored by another classifier or attack, on another
    scale. After this, one threshold means the same in each part. Within a part the order of members and controls does
    not change.
    """
    scores_ = evidence.score.copy()
    parts = part[evidence.item.astype(int)]
    for view in np.unique(evidence.view):
        for number in np.unique(parts):
            mine = (evidence.view == view) & (parts == number)
            controls = np.sort(evidence.score[mine & (evidence.group == "unused")])
            if len(controls):
                ranks = [np.searchsorted(controls, evidence.score[mine], side) for side in ("left", "right")]
                scores_[mine] = (ranks[0] + ranks[1]) / (2 * len(controls))
    return replace(evidence, score=scores_)


def decide(
    candidates: Mapping[str, Evidence],
    rehearsals: Mapping[str, Evidence],
    first: Array,
    possible: Sequence[str],
    params: Mapping[str, Mapping[str, Any]],
    plan: Plan = PLAN,
) -> Judged:
    """The deciding finding with its evidence: each half of the people is judged by the attack chosen on the other half.

    `candidates` is each attack's evidence in all cells. `rehearsals` is the evidence that chooses an attack which knows
    some memberships. `possible` names all attacks that fit. If one of them did not run, the finding is flagged and
    never passes, because that attack may be stronger. `plan` gives the rule, the unit and perhaps the target.
    """
    controls = next(iter(candidates.values())).cell("true", "unused")
    fpr = findings_.false_positive_rate(len(np.unique(controls.cluster)))
    chosen = [
        max(candidates, key=lambda name: _strength(_of(rehearsals.get(name, candidates[name]), half), fpr))
        for half in (first, ~first)
    ]
    rows = [_of(candidates[name], half) for name, half in zip(chosen, (~first, first), strict=True)]
    evidence = on_one_scale(Evidence.join(*rows), first.astype(int))
    everybody = int((evidence.view == "true").sum())
    evidence = replace(evidence, requested=everybody, performed=everybody)
    names = list(dict.fromkeys(chosen))
    target = plan.target or f"chosen among {', '.join(candidates)} on the other half of the people"
    params_ = dict(params[names[0]]) if len(names) == 1 else {}
    plan = replace(plan, attack=" or ".join(names), params=params_, target=target)
    finding = findings_.membership(plan, evidence, design=CROSSED, part=first)
    if set(possible) - set(candidates):
        finding = findings_.flagged(finding, UNRUN)
    return Judged(plan, finding, evidence)


def _of(evidence: Evidence, people: Array) -> Evidence:
    """The rows of these `people` (n,) bool, in all cells."""
    return evidence.where(people[evidence.item.astype(int)])


def _strength(evidence: Evidence, fpr: float) -> tuple[float, float]:
    """The lower bound of the excess of TPR over FPR, at least 0, and the lower bound of the AUC.

    With lower bounds a noisy attack is not taken for the strongest. If no excess is surely above 0, the AUC decides: it
    uses all thresholds and shows which attack detects a weak leak.
    """
    used, unused = (evidence.cell("true", g) for g in ("used", "unused"))
    if not len(used) or not len(unused):
        return -1.0, 0.0
    (measure, _), (control, _) = findings_.at_threshold(used, unused, fpr)
    slope = statistics.roc_slope(fpr, used.score, unused.score)
    sure = statistics.excess(measure, control, slope=slope).low
    return max(0.0, sure), statistics.auc(used.score, unused.score, clusters=(used.cluster, unused.cluster)).low
