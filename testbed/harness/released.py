"""A released model: membership by whoever may ask it, by whoever can also train such models, and what it stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from testbed import findings as findings_
from testbed import judge, stats
from testbed.attacks.kit import find, keyed_rng
from testbed.attacks.released.ranges import roughly
from testbed.attacks.released.shadow_models import Shadows
from testbed.core import (
    Act,
    Array,
    Cell,
    Cohort,
    Evidence,
    Predictor,
    Recipe,
    Records,
    Threat,
    Unavailable,
)
from testbed.data.regression import inputs_and_truth
from testbed.errors import InputError
from testbed.findings import Plan
from testbed.harness import at_risk, model_risks, structure
from testbed.harness.generator import Remembered
from testbed.harness.model_risks import certain
from testbed.report.gate import MIN_CELL
from testbed.report.schema import Finding, Unmeasured

NOISY, ROUGH = "label_noise", "range_membership"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, who was in its training data, who was not, and others; `recipe` trains such a model on a cohort.

    `estimator` is the scikit-learn object itself, where there is one, whose inside is looked at.
    """

    model: Predictor
    members: Cohort
    controls: Cohort
    others: Cohort | None = None
    recipe: Recipe | None = None
    estimator: Any = None
    features: tuple[str, ...] = ()
    """The inputs' names, where attributes may be asked about."""
    asked: Callable[[], int] | None = None
    """Of a model behind a counter: how many records it was asked about so far."""
    described: bool = True
    """Do the records say what people are like? Those of a table of predictions are row numbers."""


def audit(
    subject: Subject,
    shadows: int,
    seed: int,
    progress: Callable[[str], None],
    secrets: Sequence[str] = (),
    min_cell: int = MIN_CELL,
    deciding_only: bool = False,
) -> tuple[list[Finding], dict[str, Evidence]]:
    """Findings and their evidence. RMIA decides where such models can be trained, else the plain loss does.

    Of the attacks on membership all that can run do, or with `deciding_only` the one that decides. The blind cell is a
    model of the same recipe, trained on other people, where both are at hand. The positive control is a model that is
    certain of its training data, and else says what the audited one says.
    """
    model_risks.chosen_secrets(subject, secrets)  # a misspelt one stops here, before anything is asked or trained
    pooled, used = _pool(subject, seed)
    with suppress(Unavailable):  # where a budget of queries does not cover them
        subject.model.ask(pooled)
    subject = replace(subject, model=_for_inventions(subject.model))
    threat = Threat("recipient", knows=_knowledge(subject), access="score")
    views: dict[Cell, Predictor] = {"true": subject.model}
    population = subject.others  # less those whom the blind model is trained on, where enough are left
    recipes: dict[Cell, Recipe | None] = {"true": None, "blind": None, "positive": None}
    if subject.recipe is not None:
        recipes["true"] = recipes["blind"] = Remembered(subject.recipe, seed)
        if subject.others is not None and len(subject.others) >= len(subject.members):
            progress("a model of other people")
            _, person = np.unique(subject.others.persons, return_inverse=True)
            place = keyed_rng(seed, "blind people").permutation(person.max() + 1)[person]
            shuffled = np.argsort(place, kind="stable")
            behind, rest = shuffled[: len(subject.members)], shuffled[len(subject.members) :]
            try:
                blind = subject.recipe(subject.others.take(behind), keyed_rng(seed, "blind"))
                assert isinstance(blind, Predictor)
                blind.ask(pooled)
                views["blind"] = blind
            except Unavailable:
                rest = shuffled
            if len(rest) > 1:
                population = subject.others.take(rest)
    views["positive"] = certain(subject.members, subject.model)

    def memorising(people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return certain(people, subject.model)

    recipes["positive"] = Remembered(memorising, seed) if subject.recipe is not None else None
    found: list[Finding] = []
    kept: dict[str, Evidence] = {}
    plans = _plans(subject, shadows)[: 1 if deciding_only else None]
    last = [p for p in plans if p.attack == NOISY]  # it asks about many records, and may spend a budget of queries

    def attacked(plan: Plan) -> None:
        progress(f"membership: {plan.attack}")
        own = dict(views)
        if plan.attack == NOISY:  # the other positive control knows its people alone, and none of their copies
            own["positive"] = model_risks.certain_nearby(pooled, used, subject.model.classes)
        people = pooled
        if plan.attack == ROUGH and population is not None:
            own["positive"] = model_risks.certain_nearby(pooled, used, subject.model.classes, draws=False)
            people = roughly(pooled, population, float(plan.params["width"]), keyed_rng(seed, "rough"))
        told, rows = _membership(plan, own, recipes, people, used, population, seed, threat)
        found.extend(told)
        kept.update(rows)

    for plan in plans:
        if plan not in last:
            attacked(plan)
    decides = plans[0]
    if decides.rule in kept:
        progress("groups of people, and records at risk")
        told, rows = at_risk.by_group(decides.attack, kept[decides.rule], pooled, used, subject.described, min_cell)
        found += told
        kept |= rows
    if subject.recipe is not None:
        rng = keyed_rng(seed, "recipe")  # as for the attacks, so that the shadows are the same
        try:
            made = Shadows.trained(subject.model, Records(pooled), population, rng, recipes["true"], shadows)
            often, rows = at_risk.records_at_risk(made, pooled, used, seed)
            kept |= rows
        except Unavailable as why:
            often = findings_.unmeasured(at_risk.OFTEN_PLAN, Unmeasured(unmeasured=why.code, needs=why.needs))
        found.append(often)
    if subject.described:
        further, rows = model_risks.further(subject, views, population, pooled, used, seed, secrets, progress)
        found += further
        kept |= rows
    for plan in last:
        attacked(plan)
    if not comparable(subject, seed):
        found = [f if "split_differs" in f.validity.flags else _flagged(f, "split_differs") for f in found]
    with suppress(Unavailable):  # where a budget of queries is spent
        found += structure.checks(*_bare(subject))
    return found, kept


REFUSES = Unavailable("refuses_records", "a model that also answers about records that nobody has")


def _for_inventions(model: Predictor) -> Predictor:
    """The model, known to answer about the people, where an attack asks about others whom it may refuse."""
    predict = model.numbers

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

    return Predictor(ask, model.classes, None if predict is None else numbers)


def _bare(subject: Subject) -> tuple[Predictor, Any, Cohort]:
    """The model's own answers, its inside, and its people without the number that it predicts, if it predicts one."""
    predict = subject.model.numbers
    if predict is None:
        return subject.model, subject.estimator, subject.members
    members = subject.members
    x, _ = inputs_and_truth(members)
    return Predictor(lambda p: predict(p.x)[:, None], 1), subject.estimator, Cohort(x, members.y, members.persons)


def _membership(
    plan: Plan,
    views: Mapping[Cell, Predictor],
    recipes: Mapping[Cell, Recipe | None],
    pooled: Cohort,
    used: Array,
    population: Cohort | None,
    seed: int,
    threat: Threat,
) -> tuple[list[Finding], dict[str, Evidence]]:
    """One attack in every cell: its TPR and AUC, or of an attack that says yes or no its rates."""
    parts: list[Evidence] = []
    try:
        for cell, view in views.items():
            claim = find(plan.attack).run(
                view, Records(pooled), population, seed, threat, dict(plan.params), recipes[cell]
            )
            parts.append(judge.scores(claim, used, cell, pooled.persons))
    except Unavailable as why:
        return [findings_.unmeasured(plan, Unmeasured(unmeasured=why.code, needs=why.needs))], {}
    evidence = Evidence.join(*parts)
    if plan.metric == "rate":
        # The attack says yes or no, so that there is no threshold to choose.
        evidence = replace(evidence, success=evidence.score)
        return [findings_.rates(plan, evidence)], {plan.rule: evidence}
    rule = plan.rule[:-3] + f"4{plan.rule[-2:]}"
    area = replace(plan, rule=rule, metric="auc", primary=False)
    found = [findings_.membership(plan, evidence), findings_.area_under_curve(area, evidence)]
    return found, {plan.rule: evidence}


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
    found = stats.auc(scores[used], scores[~used], level=0.99)
    return found.low <= 0.5


def _flagged(finding: Finding, flag: str) -> Finding:
    flags = sorted({*finding.validity.flags, flag})
    return finding.model_copy(update={"validity": finding.validity.model_copy(update={"ok": False, "flags": flags})})


def _knowledge(subject: Subject) -> frozenset[str]:
    knows = {"target_records"}
    knows |= {"auxiliary"} if subject.others is not None else set()
    knows |= {"recipe"} if subject.recipe is not None else set()
    return frozenset(knows)


def _plans(subject: Subject, shadows: int) -> list[Plan]:
    trained = {"shadows": shadows}
    classifies = subject.model.numbers is None
    taught = subject.recipe is not None and subject.others is not None and subject.described
    every: tuple[tuple[str, dict[str, Any], bool], ...] = (
        ("rmia", trained, subject.recipe is not None),
        ("rmia", {**trained, "online": False}, subject.recipe is not None),
        ("lira", trained, subject.recipe is not None),
        ("lira", {**trained, "online": False}, subject.recipe is not None),
        ("reference_models", trained, subject.recipe is not None),
        ("shadow_attack_model", trained, subject.recipe is not None),
        ("base", trained, subject.recipe is not None),
        ("bavaria", trained, subject.recipe is not None),
        ("prediction_loss", {}, True),
        ("modified_entropy", {}, classifies),  # of a number it orders people as the loss does
        ("label_gap", {}, True),
        ("population", {}, subject.others is not None),
        ("quantile_regression", {}, subject.others is not None and subject.described),
        ("label_noise", {}, subject.described and classifies),
        ("loss_trajectory", trained, taught and classifies),
        (ROUGH, {}, taught and classifies),
    )
    plans: list[Plan] = []
    for number, (name, params, possible) in enumerate(every, 1):
        offline = None if params.get("online", True) else "offline"
        if possible:
            plans.append(
                Plan(
                    f"TB-MEMBERSHIP-3{number:02d}",
                    "membership",
                    name,
                    "rate" if name == "label_gap" else "tpr_at_fpr",
                    "record",
                    not plans,
                    find(name).configured(params),
                    target="people who are roughly known" if name == ROUGH else offline,
                )
            )
    return plans


def _pool(subject: Subject, seed: int) -> tuple[Cohort, Array]:
    groups = (subject.members, subject.controls)
    pooled = Cohort(*(np.concatenate([getattr(g, f) for g in groups]) for f in ("x", "y", "persons")))
    used = np.arange(len(pooled)) < len(subject.members)
    order = keyed_rng(seed, "pool").permutation(len(pooled))
    return pooled.take(order), used[order]
