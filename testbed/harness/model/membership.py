"""Membership in a model's training data: every attack in every cell, and the one that decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from testbed import judge
from testbed.attacks.model.range_membership import roughly
from testbed.attacks.model.shadows import Shadows
from testbed.attacks.registry import Attack
from testbed.core import Cell, Evidence, Predictor, Records, Scores, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.findings import measures
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding
from testbed.harness.cells import Ask, Judged, attempt, evidence, unmeasured
from testbed.harness.model import deciding, records_at_risk, untrained
from testbed.harness.model.model_audit import ModelAudit
from testbed.harness.model.plans import may_decide, membership_plans
from testbed.harness.model.references import certain_nearby
from testbed.subjects.predictors.kept import kept

ELSE = (
    "Only labels could be compared here: controls of another year or place, or several rows of one person under "
    "several ids, would look the same."
)
WORSE = 0.02
"""By how much the probability of the true class must be lower for members than for others' copies."""


def membership(audit: ModelAudit) -> Iterator[Judged]:
    """The deciding finding, each attack's findings, then findings by group of people, and records at risk."""
    tried = list(attempted(audit))
    judged = [one for _, one in tried]
    candidates = [(attack, one) for attack, one in tried if may_decide(attack, audit) and one.plan.target != "offline"]
    if audit.options.attack is not None:
        yield from judged
        return
    audit.progress("membership: which attack decides")
    decided = decision(candidates, audit)
    if audit.subject.recipe is None:
        decided = untrained.bounded(decided, [one for _, one in candidates], audit)
        judged += untrained.strongest(audit)
    elif worse_than_copies(audit):
        decided = decided.flagged("worse_than_copies")
    yield decided if audit.subject.described else _of_answers_alone(decided)
    yield from judged
    if decided.evidence is not None:
        audit.progress("groups of people, and records at risk")
        yield from records_at_risk.by_group(
            decided.plan.attack,
            decided.evidence,
            audit.pooled,
            audit.used,
            audit.subject.described,
            audit.options.min_cell,
            deciding.CROSSED,
        )
    if audit.subject.recipe is not None:
        yield recognised(audit)


def _of_answers_alone(decided: Judged) -> Judged:
    """The deciding finding; one that is surely above 0 says what else may explain it where no records were given."""
    excess = decided.finding.excess
    if not isinstance(excess, Estimate) or excess.low <= 0:
        return decided
    plain = f"{decided.finding.plain} {ELSE}"
    return replace(decided, finding=decided.finding.model_copy(update={"plain": plain}))


def attempted(audit: ModelAudit) -> Iterator[tuple[Attack, Judged]]:
    """Each attack of this audit with its finding, in the order of their plans."""
    for attack, plan in membership_plans(audit):
        audit.progress(f"membership: {plan.attack}")
        yield attack, audit.remembered(attack, plan, lambda a=attack, p=plan: attacked(a, p, audit))


def attacked(attack: Attack, plan: Plan, audit: ModelAudit) -> Judged:
    """One attack in every cell: its TPR and AUC, or the rates of an attack that says yes or no."""
    crosses = "some_memberships" in attack.needs
    design, part = (deciding.TAUGHT, audit.halves.first) if crosses else (1.0, None)

    def measured(plan: Plan, rows: Evidence) -> Finding:
        if plan.metric == "rate":
            return measures.rates(plan, rows)
        return measures.membership(plan, rows, design=design, part=part)

    one = attempt(plan, lambda: _crossed(attack, plan, audit) if crosses else _asked(attack, plan, audit), measured)
    if one.evidence is None or plan.metric == "rate":
        return one
    return replace(one, also=(measures.area_under_curve(plan.area(), one.evidence, design),))


def _asked(attack: Attack, plan: Plan, audit: ModelAudit) -> Evidence:
    """Evidence of all cells: the same question is asked to the model of each cell. One row for each person: the mean
    of the scores of the person's rows."""
    people, recipes = audit.pooled, audit.naive if plan.unaware else audit.recipes
    views: dict[Cell, Predictor] = {**audit.views}
    if (asks := attack.traits.get("asks")) is not None:
        # This attack asks about changed copies of people, so the positive control must know copies too.
        draws = asks == "copies"
        views["positive"] = kept(
            audit.put(certain_nearby(people, audit.used, audit.subject.model.classes, draws=draws))
        )
    if asks == "rough" and audit.population is not None:
        rng = keyed_rng(audit.seed, "rough")
        people = roughly(people, audit.population, float(plan.params["width"]), rng)
    asked: dict[Cell, Ask] = {
        cell: Ask(view, Records(people), audit.population, recipes[cell]) for cell, view in views.items()
    }

    def judged(cell: Cell, claim: Scores) -> Evidence:
        return judge.scores(claim, audit.used, cell, people.persons)

    rows = audit.by_person(evidence(plan, asked, judged, audit.seed, audit.threat))
    return replace(rows, success=rows.score) if plan.metric == "rate" else rows


def _crossed(attack: Attack, plan: Plan, audit: ModelAudit) -> Evidence:
    """Evidence of an attack that knows some memberships: it scores each half of the people and knows the other half.
    One row for each person, as by `_asked`."""
    half = audit.halves.first.astype(int)

    def scored(view: Predictor) -> Scores:
        return deciding.taught(attack, view, audit.pooled, audit.used, half, audit.seed, audit.threat, plan.params)

    rows = [judge.scores(scored(v), audit.used, c, audit.pooled.persons) for c, v in audit.views.items()]
    return deciding.on_one_scale(audit.by_person(Evidence.join(*rows)), half)


def decision(
    candidates: Sequence[tuple[Attack, Judged]], audit: ModelAudit, rule: str = deciding.RULE, target: str | None = None
) -> Judged:
    """The deciding finding: chosen on one half of the people, judged on the other. Unmeasured if no attack ran.

    By default its target says among which attacks it was chosen. An attacker who knows a defence may also attack as if
    there were none, so both ways are candidates.
    """
    ran = {_candidate(one.plan): one.evidence for _, one in candidates if one.evidence is not None}
    params = {_candidate(one.plan): one.plan.params for _, one in candidates}
    plan = replace(deciding.PLAN, rule=rule, target=target, unit=audit.unit)
    if not ran:
        return unmeasured(plan, Unavailable("nothing_ran", "an attack that can be run on this model"))
    view = audit.views["true"]
    rehearsals = {
        attack.name: deciding.rehearsed(
            attack,
            view,
            audit.pooled,
            audit.used,
            audit.halves,
            audit.seed,
            audit.threat,
            params[attack.name],
        )
        for attack, one in candidates
        if one.evidence is not None and "some_memberships" in attack.needs
    }
    return deciding.decide(ran, rehearsals, audit.halves.first, list(params), params, plan)


def _candidate(plan: Plan) -> str:
    return f"{plan.attack} as if there were no defence" if plan.unaware else plan.attack


def _shadows(audit: ModelAudit) -> Shadows:
    """The shadow models of the attacks. Raises `Unavailable` if none can be trained."""
    rng = keyed_rng(audit.seed, "recipe")
    recipe, view = audit.recipes["true"], audit.views["true"]
    return Shadows.trained(view, Records(audit.pooled), audit.population, rng, recipe, audit.options.shadows)


def worse_than_copies(audit: ModelAudit) -> bool:
    """Does the model know its own members surely less than copies of it know people whom they were not trained on?

    By the probability of the true class, over members: the mean difference and five standard errors are below
    -`WORSE`. No model of these records does that; one that was trained on scaled records and is asked about raw ones
    does. False if no copies can be trained.
    """
    try:
        made = _shadows(audit)
    except Unavailable:
        return False
    others = np.where(made.included, np.nan, made.shadow)[:, audit.used[made.order]]
    asked = ~np.isnan(others).all(0)
    apart = made.own[audit.used[made.order]][asked] - np.nanmean(others[:, asked], 0)
    persons = np.unique(audit.pooled.persons[made.order][audit.used[made.order]][asked], return_inverse=True)[1]
    if len(apart) > len(np.unique(persons)):
        apart = np.bincount(persons, apart) / np.bincount(persons)
    if len(apart) < 2:
        return False
    return float(apart.mean() + 5 * apart.std(ddof=1) / np.sqrt(len(apart))) < -WORSE


def recognised(audit: ModelAudit) -> Judged:
    """The finding on records that many shadow models recognise. It uses the shadow models of the attacks."""
    try:
        made = _shadows(audit)
        if len(made.included) % 2 or not (made.included[::2] ^ made.included[1::2]).all():
            raise Unavailable("unpaired_shadows", "shadow models in pairs, each pair on two halves of all people")
        return records_at_risk.records_at_risk(made, audit.pooled, audit.used, audit.seed)
    except Unavailable as why:
        return unmeasured(records_at_risk.OFTEN_PLAN, why)
