"""Which attack on membership decides: chosen on one half of the people, judged on the other, both ways round."""

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

RULE = "TB-MEMBERSHIP-300"
REHEARSALS = 2
CROSSED = 1.36
"""Design effect of choosing crosswise. If both halves choose the same attack, their results are correlated; n guesses
then count as n / 1.36 (as for secrets, `harness.release.attribute_inference`). Over null tables the coverage is no
less than its level (`tests/harness/model/test_deciding.py`), the classifier's own correlation included."""
TAUGHT = 2.0
"""Design effect of teaching crosswise, the largest that two halves can have. Each finds in the other the likeness that
the other finds in it, so that their AUCs go together; at a low false-positive rate this shows less."""
UNRUN = "strongest_unmeasured"


@dataclass(frozen=True, slots=True)
class Halves:
    """The people in doubt in two halves, `first` (n,) bool, and each half in parts on which an attack rehearses."""

    first: Array
    part: Array

    @staticmethod
    def of(persons: Array, used: Array, seed: int) -> Halves:
        """By person; each half, and each part of it, has as many members and as many controls as the others."""
        names, person = np.unique(persons, return_inverse=True)
        member = np.zeros(len(names), bool)
        member[person] = used
        place = np.empty(len(names), int)
        rng = keyed_rng(seed, "halves of the people in doubt")
        for side in (member, ~member):
            place[rng.permutation(np.flatnonzero(side))] = np.arange(side.sum())
        return Halves((place % 2 == 0)[person], (place // 2 % REHEARSALS)[person])


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
    """The scores of an attack that knows some memberships: of each part's people by one who knows the other parts'.

    Nothing is known of people who are not `among` those asked about; their score is 0. The membership of
    those whom an attack scores is never handed to it.
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
    """As `taught`, within each half alone: what is chosen by it on one half owes nothing to the other's memberships."""
    rows: list[Evidence] = []
    for half in (halves.first, ~halves.first):
        claim = taught(attack, view, pooled, used, halves.part, seed, threat, params, half)
        rows.append(_of(judge.scores(claim, used, "true", pooled.persons), half))
    return on_one_scale(Evidence.join(*rows), halves.part + REHEARSALS * halves.first)


def on_one_scale(evidence: Evidence, part: Array) -> Evidence:
    """Scores as the share of the controls of the same view and part that lie below them, ties half.

    `part` (n,) numbers the parts of the people by item, as where each half of them was scored by a classifier, or an
    attack, of its own. One threshold then is about each part's own; between members and controls of a part nothing
    changes order.
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
) -> Judged:
    """The deciding finding with its evidence: each half's people judged by what is chosen on the other half.

    `candidates` is each attack's evidence, all cells; `rehearsals` has, for an attack that knows some memberships,
    that by which it is chosen. `possible` names all that might have been run: where one of them could not, the
    finding is flagged and never passes, since what did not run may be the stronger.
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
    target = f"chosen among {', '.join(candidates)} on the other half of the people"
    params_ = dict(params[names[0]]) if len(names) == 1 else {}
    plan = Plan(
        rule=RULE,
        risk="membership",
        attack=" or ".join(names),
        metric="tpr_at_fpr",
        unit="record",
        primary=True,
        params=params_,
        target=target,
    )
    finding = findings_.membership(plan, evidence, design=CROSSED, part=first)
    if set(possible) - set(candidates):
        finding = findings_.flagged(finding, UNRUN)
    return Judged(plan, finding, evidence)


def _of(evidence: Evidence, people: Array) -> Evidence:
    """The rows of those `people` (n,) bool, all cells."""
    return evidence.where(people[evidence.item.astype(int)])


def _strength(evidence: Evidence, fpr: float) -> tuple[float, float]:
    """The lower bound of the excess of TPR over FPR, or 0 where it is not sure; then the lower bound of the AUC.

    A bound does not let a noisy attack pass for the strongest. Where none is surely above 0 at so low a false-positive
    rate, all thresholds together still show which attack sees a weak leak.
    """
    used, unused = (evidence.cell("true", g) for g in ("used", "unused"))
    if not len(used) or not len(unused):
        return -1.0, 0.0
    (measure, _), (control, _) = findings_.at_threshold(used, unused, fpr)
    slope = statistics.roc_slope(fpr, used.score, unused.score)
    sure = statistics.excess(measure, control, slope=slope).low
    return max(0.0, sure), statistics.auc(used.score, unused.score, clusters=(used.cluster, unused.cluster)).low
