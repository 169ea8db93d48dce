"""Further risks of a released model: attribute inference, class inversion, and stealing the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from testbed import judge
from testbed.core import (
    Array,
    Cell,
    Classes,
    Cohort,
    Evidence,
    Feature,
    Guesses,
    Predictor,
    Queries,
    Representatives,
    Scores,
    Substitutes,
    Unavailable,
)
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan, numbered
from testbed.findings.schema import Finding, Series
from testbed.findings.statistics import Interval
from testbed.harness.cells import Ask, Judged, planned, run, unmeasured
from testbed.harness.model.model_audit import ModelAudit
from testbed.harness.model.persons import one_each
from testbed.harness.model.plans import chosen
from testbed.harness.model.references import certain, ignorant, nearest_mean
from testbed.subjects.predictors.columns import MISSING
from testbed.subjects.predictors.subject import Subject

MOST_SECRETS = 5
"""Secrets that are tried if the user names none."""
MOST_VALUES = 20
"""Values that a named secret may have."""
FEW_VALUES = 6
"""Values that a secret may have if the user names none."""
BUDGETS = (0.03, 0.1, 0.3, 1.0)
"""Query budgets of a stealing attack, as shares of the attacker's records."""


def further(audit: ModelAudit) -> Iterator[Judged]:
    """Findings on attribute inference, and for a model with classes on class inversion and stealing. All inform."""
    classes = audit.subject.model.classes
    nothing = ignorant(classes)
    views: dict[Cell, Predictor] = {
        "blind": nothing,
        **audit.views,
        "positive": certain(audit.subject.members, nothing),
    }
    for attack in (a for a in chosen(audit) if a.claim is not Scores):
        if attack.claim is Guesses:
            for place, column in enumerate(chosen_secrets(audit.subject, audit.options.secrets)):
                plan = planned(attack.name, target=audit.subject.features[column], unit=audit.unit)
                audit.progress(f"attribute inference: {plan.target}")
                plan = replace(plan, rule=numbered(plan.rule, place))
                yield audit.remembered(attack, plan, lambda p=plan, c=column: _attribute(p, audit, views, c))
        elif not audit.subject.model.held:
            audit.progress(f"{attack.risk.replace('_', ' ')}: {attack.name}")
            if attack.claim is Representatives:
                plan = planned(attack.name, unit="class")
                yield audit.remembered(attack, plan, lambda p=plan: _classes(p, audit))
            elif attack.claim is Substitutes:
                plan = planned(attack.name, metric="fidelity")
                yield audit.remembered(attack, plan, lambda p=plan: _stolen(p, audit))


def chosen_secrets(subject: Subject, secrets: Sequence[str]) -> list[int]:
    """The places of the secrets named, or else of up to five inputs with the fewest values.

    Raises `UsageError` for an input that does not exist, or has too few or too many values.
    """
    x = np.concatenate([subject.members.x, subject.controls.x])
    values = [len(np.unique(x[:, j])) for j in range(len(subject.features))]
    if unknown := [s for s in secrets if s not in subject.features]:
        raise UsageError(
            "TB-SUBJECT-024",
            f"There is no input called {unknown[0]!r}.",
            "A secret is one of the model's inputs.",
            "Check the spelling of --secrets against the columns of --members.",
        )
    named = [subject.features.index(s) for s in secrets]
    if many := [j for j in named if not 2 <= values[j] <= MOST_VALUES]:
        raise UsageError(
            "TB-SUBJECT-036",
            f"The input {subject.features[many[0]]!r} has {values[many[0]]} values.",
            f"The attack tries each value of a secret, so a secret must have 2 to {MOST_VALUES} values.",
            "Name another input, or leave --secrets out.",
        )
    if named:
        return named
    # Whether a number is missing says less about a person than any other input.
    told = [j for j, name in enumerate(subject.features) if not name.endswith(MISSING)]
    few = [j for j in np.argsort(values, kind="stable").tolist() if j in told and 2 <= values[j] <= FEW_VALUES]
    return sorted(few[:MOST_SECRETS])


def _attribute(plan: Plan, audit: ModelAudit, views: Mapping[Cell, Predictor], column: int) -> Judged:
    """Attribute inference of one input: the same question about members and controls, in every cell."""
    pooled = audit.pooled
    truth = pooled.x[:, column].copy()
    candidates = np.unique(truth)
    hidden = pooled.x.copy()
    hidden[:, column] = candidates[0]
    question = Feature(Cohort(hidden, pooled.y, pooled.persons), column, candidates)
    cells: tuple[Cell, ...] = ("true", "blind", "positive")
    asks: dict[Cell, Ask] = {cell: Ask(views[cell], question, audit.population) for cell in cells}

    def judged(cell: Cell, claim: Guesses) -> Evidence:
        rows = judge.feature(claim, truth, audit.used, cell, pooled.persons)
        return rows if audit.unit == "record" else one_each(rows, np.ones(len(pooled), bool))

    return run(plan, asks, judged, audit.seed, audit.threat)


def _classes(plan: Plan, audit: ModelAudit) -> Judged:
    """Class inversion: each class's representative is compared with the members and the controls of that class.

    The positive control is a nearest-mean model.
    """
    subject, classes = audit.subject, audit.subject.model.classes
    held = np.concatenate([subject.members.x, subject.controls.x])
    question = Classes(classes, held.min(0), held.max(0))
    seen: dict[Cell, Predictor] = {
        "true": subject.model,
        "blind": ignorant(classes),
        "positive": nearest_mean(subject.controls, classes),
    }
    asks: dict[Cell, Ask] = {cell: Ask(view, question, audit.population) for cell, view in seen.items()}

    def judged(cell: Cell, claim: Representatives) -> Evidence:
        rows = [judge.representatives(claim, subject.members, cell, "used")]
        if cell != "positive":
            rows.append(judge.representatives(claim, subject.controls, cell, "unused"))
        return Evidence.join(*rows)

    def measured(plan: Plan, rows: Evidence) -> Finding:
        finding = findings_.rates(plan, rows)
        measure, blind = finding.measure, finding.baseline
        plain = (
            f"An attacker uses the model to construct a typical record of each of its {classes} classes. This record "
            f"is most similar to the people of its own class for {findings_.percent(measure)} of the classes. Without "
            f"the model the attacker reaches {findings_.percent(blind)}. This reveals a property of the class. It is "
            "about a single person only if the class is one person."
        )
        return finding.model_copy(update={"plain": plain})

    return run(plan, asks, judged, audit.seed, audit.threat, measured)


def _stolen(plan: Plan, audit: ModelAudit) -> Judged:
    """Stealing: how often a substitute agrees with the model on people that neither was trained on, by query budget.

    The control is a substitute that never asks the model: it is trained on the true classes of the same records. The
    blind cell predicts the commonest class for everybody. The positive control steals a linear model.
    """
    try:
        pool, judged, budgets = _asked_and_judged(audit)
    except Unavailable as why:
        return unmeasured(plan, why)
    model, classes, most = audit.subject.model, audit.subject.model.classes, budgets[-1]
    simple = _linear(pool, classes)

    def models(view: Predictor, budgets: tuple[int, ...]) -> Mapping[int, Predictor]:
        return Ask(view, Queries(pool, budgets), pool).claim(plan, audit.seed, audit.threat).models

    def labels(people: Cohort) -> Array:
        return np.eye(classes)[people.y]

    answers = np.asarray(model.ask(judged), dtype=np.float64)
    usual = np.eye(classes)[np.bincount(answers.argmax(1), minlength=classes).argmax()]
    common = Predictor(lambda people: np.tile(usual, (len(people), 1)), classes)
    stolen = models(model, budgets)
    never, easy = (models(view, (most,))[most] for view in (Predictor(labels, classes), simple))
    by_budget = [judge.agreement(stolen[b], answers, judged, "true", "used") for b in budgets]
    evidence = Evidence.join(
        by_budget[-1],
        judge.agreement(never, answers, judged, "true", "unused"),
        judge.agreement(common, answers, judged, "blind", "used"),
        judge.agreement(easy, simple.ask(judged), judged, "positive", "used"),
    )
    finding = findings_.rates(plan, evidence, paired=True)
    accuracy = [float((stolen[b].ask(judged).argmax(1) == judged.y).mean()) for b in budgets]
    rates = [statistics.proportion(e.success, e.cluster) for e in by_budget]
    told = ", ".join(
        f"{b}: {100 * r.value:.0f} % ({100 * a:.0f} %)" for b, r, a in zip(budgets, rates, accuracy, strict=True)
    )
    plain = (
        f"A substitute trained on {most} answers of the model gives {findings_.percent(finding.measure)} of other "
        "people the same class as the model. A substitute that never asks the model, but is trained on the true "
        f"classes, reaches {findings_.percent(finding.control)}. Agreement (and accuracy) by number of queries: {told}."
    )
    update = {"plain": plain, "series": [_by_queries(budgets, rates)]}
    return Judged(plan, finding.model_copy(update=update), evidence)


def _asked_and_judged(audit: ModelAudit) -> tuple[Cohort, Cohort, tuple[int, ...]]:
    """The people the attacker asks about, the people on whom substitutes are judged, and the query budgets.

    Raises `Unavailable` if there are too few records to ask about, or if all have the same class.
    """
    pool, judged = audit.population, audit.subject.controls
    if pool is None:
        names, person = np.unique(judged.persons, return_inverse=True)
        half = (keyed_rng(audit.seed, "asked about").permutation(len(names)) < len(names) // 2)[person]
        pool, judged = judged.take(np.flatnonzero(half)), judged.take(np.flatnonzero(~half))
    budgets = tuple(sorted({round(share * len(pool)) for share in BUDGETS if share * len(pool) >= 10}))
    if not budgets:
        raise Unavailable("few_queries", "10 records or more that the attacker may ask about (--reference)")
    if len(np.unique(pool.y)) < 2:
        raise Unavailable("one_class", "records of more than one class to ask about")
    return pool, judged, budgets


def _linear(pool: Cohort, classes: int) -> Predictor:
    """A linear model trained on these people. It is easy to steal."""
    linear: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    linear.fit(pool.x.reshape(len(pool), -1), pool.y)

    def ask(people: Cohort) -> Array:
        said = np.zeros((len(people), classes))
        said[:, linear.classes_] = linear.predict_proba(people.x.reshape(len(people), -1))
        return said

    return Predictor(ask, classes)


def _by_queries(budgets: tuple[int, ...], rates: Sequence[Interval]) -> Series:
    return Series(
        name="Agreement of a stolen model, by queries",
        kind="lines",
        x_label="queries",
        y_label="share of people given the same class",
        x=[float(b) for b in budgets],
        y=[r.value for r in rates],
        low=[r.low for r in rates],
        high=[r.high for r in rates],
    )
