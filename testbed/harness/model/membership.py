"""A released model: membership by whoever may ask it, by whoever can also train such models, and what it stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from testbed import judge
from testbed.attacks.model.range_membership import roughly
from testbed.attacks.model.shadows import Shadows
from testbed.attacks.registry import find
from testbed.core import Act, Array, Cell, Cohort, Evidence, Predictor, Recipe, Records, Threat, Unavailable
from testbed.core.disclosure import MIN_CELL
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Unmeasured
from testbed.harness.model import deciding, records_at_risk, risks, structure
from testbed.harness.model.plans import NOISY, ROUGH, plans
from testbed.harness.model.references import certain, certain_nearby
from testbed.harness.recipes import Remembered
from testbed.subjects.predictors.regression import inputs_and_truth
from testbed.subjects.predictors.subject import Subject


@dataclass(frozen=True, slots=True)
class Doubt:
    """Who is in doubt and what is asked about them: a view, and perhaps a recipe, for each cell."""

    pooled: Cohort
    used: Array
    halves: deciding.Halves
    population: Cohort | None
    views: Mapping[Cell, Predictor]
    recipes: Mapping[Cell, Recipe | None]
    seed: int
    threat: Threat


def audit(
    subject: Subject,
    shadows: int,
    seed: int,
    progress: Callable[[str], None],
    secrets: Sequence[str] = (),
    min_cell: int = MIN_CELL,
    deciding_only: bool = False,
) -> tuple[list[Finding], dict[str, Evidence]]:
    """Findings and their evidence. What decides on membership is chosen on half of the people, judged on the rest.

    Candidates are the attacks that train such models, where they can be trained, or else those on the answers alone;
    a classifier that knows some memberships is always one (`harness.deciding`). All attacks on membership that can run
    do, or with `deciding_only` the candidates alone. The blind cell is a model of the same recipe, trained on other
    people, where both are at hand. The positive control is a model that is certain of its training data, and else says
    what the audited one says.
    """
    risks.chosen_secrets(subject, secrets)  # a misspelt one stops here, before anything is asked or trained
    pooled, used = _pool(subject, seed)
    with suppress(Unavailable):  # where a budget of queries does not cover them
        subject.model.ask(pooled)
    subject = replace(subject, model=_for_inventions(subject.model))
    doubt = _doubt(subject, pooled, used, seed, progress)
    planned = [p for p in plans(subject, shadows) if not deciding_only or _candidate(p, subject)]
    found: list[Finding] = []
    kept: dict[str, Evidence] = {}

    def attacked(plan: Plan) -> None:
        progress(f"membership: {plan.attack}")
        told, rows = _membership(plan, _dressed(doubt, plan, subject.model.classes))
        found.extend(told)
        kept.update(rows)

    for plan in planned:
        if plan.attack != NOISY:
            attacked(plan)
    candidates = [p for p in planned if _candidate(p, subject)]
    progress("membership: which attack decides")
    decision, rows = _decision(candidates, kept, doubt)
    found.insert(0, decision)
    kept |= rows
    if deciding.RULE in kept:
        progress("groups of people, and records at risk")
        told, rows = records_at_risk.by_group(
            decision.attack.name, kept[deciding.RULE], pooled, used, subject.described, min_cell, deciding.CROSSED
        )
        found += told
        kept |= rows
    if subject.recipe is not None:
        often, rows = _often(doubt, shadows)
        found.append(often)
        kept |= rows
    if subject.described:
        views, population = doubt.views, doubt.population
        further, rows = risks.further(subject, views, population, pooled, used, seed, secrets, progress)
        found += further
        kept |= rows
    for plan in planned:
        if plan.attack == NOISY:  # it asks about many records, and may spend a budget of queries
            attacked(plan)
    if not comparable(subject, seed):
        found = [findings_.flagged(f, "split_differs") for f in found]
    with suppress(Unavailable):  # where a budget of queries is spent
        found += structure.checks(*_bare(subject))
    return found, kept


def _doubt(subject: Subject, pooled: Cohort, used: Array, seed: int, progress: Callable[[str], None]) -> Doubt:
    """The views of all cells. The population is without those whom the blind model is trained on."""
    views: dict[Cell, Predictor] = {"true": subject.model}
    population = subject.others
    recipes: dict[Cell, Recipe | None] = {"true": None, "blind": None, "positive": None}
    if subject.recipe is not None:
        recipes["true"] = recipes["blind"] = Remembered(subject.recipe, seed)
        if subject.others is not None and len(subject.others) >= len(subject.members):
            progress("a model of other people")
            blind, population = _blind(subject, subject.recipe, subject.others, pooled, seed)
            views |= {"blind": blind} if blind is not None else {}
    views["positive"] = certain(subject.members, subject.model)

    def memorising(people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return certain(people, subject.model)

    recipes["positive"] = Remembered(memorising, seed) if subject.recipe is not None else None
    halves = deciding.Halves.of(pooled.persons, used, seed)
    threat = Threat("recipient", knows=knowledge(subject), access="score")
    return Doubt(pooled, used, halves, population, views, recipes, seed, threat)


def _blind(
    subject: Subject, recipe: Recipe, others: Cohort, pooled: Cohort, seed: int
) -> tuple[Predictor | None, Cohort]:
    """A model of other people, or None where none can be trained, and the population that is left."""
    _, person = np.unique(others.persons, return_inverse=True)
    place = keyed_rng(seed, "blind people").permutation(person.max() + 1)[person]
    shuffled = np.argsort(place, kind="stable")
    behind, rest = shuffled[: len(subject.members)], shuffled[len(subject.members) :]
    blind: Predictor | None = None
    try:
        made = recipe(others.take(behind), keyed_rng(seed, "blind"))
        assert isinstance(made, Predictor)
        made.ask(pooled)
        blind = made
    except Unavailable:
        rest = shuffled
    return blind, others.take(rest) if len(rest) > 1 else others


def _dressed(doubt: Doubt, plan: Plan, classes: int) -> Doubt:
    """What one attack is asked: some have another positive control, which knows its people and none of their copies."""
    pooled, used = doubt.pooled, doubt.used
    if plan.attack == NOISY:
        return replace(doubt, views={**doubt.views, "positive": certain_nearby(pooled, used, classes)})
    if plan.attack == ROUGH and doubt.population is not None:
        nearby = certain_nearby(pooled, used, classes, draws=False)
        people = roughly(pooled, doubt.population, float(plan.params["width"]), keyed_rng(doubt.seed, "rough"))
        return replace(doubt, views={**doubt.views, "positive": nearby}, pooled=people)
    return doubt


def _decision(
    candidates: Sequence[Plan], kept: Mapping[str, Evidence], doubt: Doubt
) -> tuple[Finding, dict[str, Evidence]]:
    """The deciding finding; unmeasured where no candidate could run."""
    ran = {p.attack: kept[p.rule] for p in candidates if p.rule in kept}
    params = {p.attack: p.params for p in candidates}
    if not ran:
        plan = Plan(deciding.RULE, "membership", "none", "tpr_at_fpr", "record")
        why = Unmeasured(unmeasured="nothing_ran", needs="an attack that can be run on this model")
        return findings_.unmeasured(plan, why), {}
    rehearsals: dict[str, Evidence] = {}
    for name in ran:
        if "some_memberships" in find(name).needs:
            view = doubt.views["true"]
            rehearsals[name] = deciding.rehearsed(
                find(name), view, doubt.pooled, doubt.used, doubt.halves, doubt.seed, doubt.threat, params[name]
            )
    finding, evidence = deciding.decide(ran, rehearsals, doubt.halves.first, list(params), params)
    return finding, {deciding.RULE: evidence}


def _often(doubt: Doubt, shadows: int) -> tuple[Finding, dict[str, Evidence]]:
    """How many records are recognised by many shadow models, which are the same as the attacks'."""
    pooled, rng = doubt.pooled, keyed_rng(doubt.seed, "recipe")
    view, recipe = doubt.views["true"], doubt.recipes["true"]
    try:
        made = Shadows.trained(view, Records(pooled), doubt.population, rng, recipe, shadows)
        return records_at_risk.records_at_risk(made, pooled, doubt.used, doubt.seed)
    except Unavailable as why:
        return findings_.unmeasured(records_at_risk.OFTEN_PLAN, Unmeasured(unmeasured=why.code, needs=why.needs)), {}


REFUSES = Unavailable("refuses_records", "a model that also answers about records that nobody has")


def _for_inventions(model: Predictor) -> Predictor:
    """The model, known to answer about the people, where an attack asks about others whom it may refuse."""
    predict, signed = model.numbers, model.errors

    def ask(people: Cohort) -> Array:
        try:
            return model.ask(people)
        except InputError:
            raise REFUSES from None

    def numbers(x: Array) -> Array:
        assert predict is not None
        try:
            return predict(x)
        except InputError:
            raise REFUSES from None

    def errors(people: Cohort) -> Array:
        assert signed is not None
        try:
            return signed(people)
        except InputError:
            raise REFUSES from None

    return Predictor(ask, model.classes, None if predict is None else numbers, None if signed is None else errors)


def _bare(subject: Subject) -> tuple[Predictor, Any, Cohort]:
    """The model's own answers, its inside, and its people without the number that it predicts, if it predicts one."""
    predict = subject.model.numbers
    if predict is None:
        return subject.model, subject.estimator, subject.members
    members = subject.members
    x, _ = inputs_and_truth(members)
    return Predictor(lambda p: predict(p.x)[:, None], 1), subject.estimator, Cohort(x, members.y, members.persons)


def _membership(plan: Plan, doubt: Doubt) -> tuple[list[Finding], dict[str, Evidence]]:
    """One attack in every cell: its TPR and AUC, or of an attack that says yes or no its rates."""
    attack, pooled, used = find(plan.attack), doubt.pooled, doubt.used
    crosses = "some_memberships" in attack.needs
    parts: list[Evidence] = []
    try:
        for cell, view in doubt.views.items():
            if crosses:
                half = doubt.halves.first.astype(int)
                claim = deciding.taught(attack, view, pooled, used, half, doubt.seed, doubt.threat, plan.params)
            else:
                recipe, params = doubt.recipes[cell], dict(plan.params)
                question = Records(pooled)
                claim = attack.run(view, question, doubt.population, doubt.seed, doubt.threat, params, recipe)
            parts.append(judge.scores(claim, used, cell, pooled.persons))
    except Unavailable as why:
        return [findings_.unmeasured(plan, Unmeasured(unmeasured=why.code, needs=why.needs))], {}
    evidence = Evidence.join(*parts)
    if plan.metric == "rate":
        # The attack says yes or no, so that there is no threshold to choose.
        evidence = replace(evidence, success=evidence.score)
        return [findings_.rates(plan, evidence)], {plan.rule: evidence}
    if crosses:
        evidence = deciding.on_one_scale(evidence, doubt.halves.first.astype(int))
    rule = plan.rule[:-3] + f"4{plan.rule[-2:]}"
    area = replace(plan, rule=rule, metric="auc", primary=False)
    if crosses:
        rate = findings_.membership(plan, evidence, design=deciding.TAUGHT, part=doubt.halves.first)
        return [rate, findings_.area_under_curve(area, evidence, deciding.TAUGHT)], {plan.rule: evidence}
    return [findings_.membership(plan, evidence), findings_.area_under_curve(area, evidence)], {plan.rule: evidence}


def comparable(subject: Subject, seed: int) -> bool:
    """Can members and controls not be told apart without the model? By a forest's out-of-fold AUC, at 99 %.

    Of a table of predictions only the classes, or the true numbers, are compared.
    """
    groups = (subject.members, subject.controls)
    classes = np.concatenate([np.eye(subject.model.classes)[g.y] for g in groups])
    x = np.concatenate([g.x.reshape(len(g), -1) for g in groups])
    if subject.described:
        features = np.concatenate([x, classes], 1)
    else:
        features = classes if subject.model.numbers is None else x[:, -1:]
    used = np.arange(len(features)) < len(subject.members)
    persons = np.unique(np.concatenate([g.persons for g in groups]), return_inverse=True)[1]
    fold = keyed_rng(seed, "folds").permutation(persons.max() + 1)[persons] % 2
    scores = np.empty(len(features))
    for part in (0, 1):
        train = fold != part
        if len(np.unique(used[train])) < 2:
            return True
        forest = RandomForestClassifier(100, min_samples_leaf=5, random_state=0).fit(features[train], used[train])
        said = forest.predict_proba(features[~train])[:, 1]
        scores[~train] = said - said.mean()
    found = statistics.auc(scores[used], scores[~used], level=0.99)
    return found.low <= 0.5


def knowledge(subject: Subject) -> frozenset[str]:
    """What the attackers on a subject know beforehand, as a threat states it."""
    knows = {"target_records", "some_memberships"}
    knows |= {"auxiliary"} if subject.others is not None else set()
    knows |= {"recipe"} if subject.recipe is not None else set()
    return frozenset(knows)


def _candidate(plan: Plan, subject: Subject) -> bool:
    """May this attack decide? Those that train models where they can be trained, each once and online."""
    names = deciding.ASKING if subject.recipe is None else deciding.TRAINING
    return plan.attack in (*names, *deciding.TAUGHT_BY_OTHERS) and plan.params.get("online", True) is True


def _pool(subject: Subject, seed: int) -> tuple[Cohort, Array]:
    groups = (subject.members, subject.controls)
    pooled = Cohort(*(np.concatenate([getattr(g, f) for g in groups]) for f in ("x", "y", "persons")))
    used = np.arange(len(pooled)) < len(subject.members)
    order = keyed_rng(seed, "pool").permutation(len(pooled))
    return pooled.take(order), used[order]
