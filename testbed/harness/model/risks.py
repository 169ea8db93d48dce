"""What else a released model gives away: a person's hidden attribute, what its classes look like, and itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from testbed import judge
from testbed.attacks.registry import find
from testbed.core import Array, Cell, Classes, Cohort, Evidence, Feature, Predictor, Queries, Threat, Unavailable
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Series, Unmeasured
from testbed.harness.model.references import certain, ignorant, nearest_mean

if TYPE_CHECKING:
    from testbed.subjects.predictors.subject import Subject

MOST_SECRETS = 5
MOST_VALUES = 20
FEW_VALUES = 6
BUDGETS = (0.03, 0.1, 0.3, 1.0)
"""Of the attacker's records, the shares that are asked about."""
KNOWS = frozenset({"auxiliary", "known_columns", "target_records"})
ASKING = Threat("recipient", knows=KNOWS, access="score")
Progress = Callable[[str], None]


def further(
    subject: Subject,
    views: Mapping[Cell, Predictor],
    population: Cohort | None,
    pooled: Cohort,
    used: Array,
    seed: int,
    secrets: Sequence[str],
    progress: Progress,
) -> tuple[list[Finding], dict[str, Evidence]]:
    """Attribute inference, and of a model with classes class inversion and stealing, all of which inform."""
    nothing = ignorant(subject.model.classes)
    views = {"blind": nothing, **views, "positive": certain(subject.members, nothing)}
    found: list[Finding] = []
    kept: dict[str, Evidence] = {}
    jobs: list[tuple[Plan, Callable[[Plan], tuple[Evidence, Finding]]]] = []
    for number, column in enumerate(chosen_secrets(subject, secrets), 301):
        rule, attack, name = f"TB-ATTRIBUTE_INFERENCE-{number}", "model_attribute_inference", subject.features[column]
        plan = Plan(rule, "attribute_inference", attack, "rate", "record", False, target=name)
        jobs.append((plan, lambda p, c=column: _attribute(p, subject, views, population, pooled, used, seed, c)))
    if subject.model.numbers is None:
        attacks = ["class_inversion", *(["generative_inversion"] if population is not None else [])]
        for number, attack in enumerate(attacks, 301):
            plan = Plan(f"TB-CLASS_INVERSION-{number}", "class_inversion", attack, "rate", "class", False)
            jobs.append((plan, lambda p: _classes(p, subject, views, population, seed)))
        plan = Plan("TB-EXTRACTION-301", "extraction", "model_stealing", "fidelity", "record", False)
        jobs.append((plan, lambda p: _stolen(p, subject, population, seed)))
    for plan, job in jobs:
        progress(f"{plan.risk.replace('_', ' ')}: {plan.target or plan.attack}")
        try:
            kept[plan.rule], finding = job(plan)
        except Unavailable as why:
            finding = findings_.unmeasured(plan, Unmeasured(unmeasured=why.code, needs=why.needs))
        found.append(finding)
    return found, kept


def chosen_secrets(subject: Subject, secrets: Sequence[str]) -> list[int]:
    """The places of the secrets named, or of up to five inputs with the fewest values.

    Raises `UsageError` for an input that does not exist or takes more values than can be tried.
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
            f"Each value that a secret might have is tried; from 2 to {MOST_VALUES} can be.",
            "Name another input, or leave --secrets out.",
        )
    if named:
        return named
    few = [j for j in np.argsort(values, kind="stable").tolist() if 2 <= values[j] <= FEW_VALUES]
    return sorted(few[:MOST_SECRETS])


def _attribute(
    plan: Plan,
    subject: Subject,
    views: Mapping[Cell, Predictor],
    population: Cohort | None,
    pooled: Cohort,
    used: Array,
    seed: int,
    column: int,
) -> tuple[Evidence, Finding]:
    """The same question about members and controls, asked of the model and of one that was made of other people."""
    truth = pooled.x[:, column].copy()
    candidates = np.unique(truth)
    hidden = pooled.x.copy()
    hidden[:, column] = candidates[0]
    question = Feature(Cohort(hidden, pooled.y, pooled.persons), column, candidates)
    parts: list[Evidence] = []
    for cell in ("true", "blind", "positive"):
        claim = find(plan.attack).run(views[cell], question, population, seed, ASKING)
        parts.append(judge.feature(claim, truth, used, cell, pooled.persons))
    evidence = Evidence.join(*parts)
    return evidence, findings_.rates(plan, evidence)


def _classes(
    plan: Plan, subject: Subject, views: Mapping[Cell, Predictor], population: Cohort | None, seed: int
) -> tuple[Evidence, Finding]:
    """Representatives judged against members' and controls' classes; the positive control is a nearest-mean model."""
    held = np.concatenate([subject.members.x, subject.controls.x])
    question = Classes(subject.model.classes, held.min(0), held.max(0))
    seen: dict[Cell, Predictor] = {
        "true": subject.model,
        "blind": ignorant(subject.model.classes),
        "positive": nearest_mean(subject.controls, subject.model.classes),
    }
    parts: list[Evidence] = []
    for cell, view in seen.items():
        claim = find(plan.attack).run(view, question, population, seed, ASKING)
        parts.append(judge.representatives(claim, subject.members, cell, "used"))
        if cell != "positive":
            parts.append(judge.representatives(claim, subject.controls, cell, "unused"))
    evidence = Evidence.join(*parts)
    finding = findings_.rates(plan, evidence)
    measure, blind = finding.measure, finding.baseline
    plain = (
        f"Of the model's {subject.model.classes} classes, what one asked for a typical record of looks most like the "
        f"people of that class in {findings_.percent(measure)}; without the model, in {findings_.percent(blind)}. "
        "It is a property of the class, and of single people only where a class is one person."
    )
    return evidence, finding.model_copy(update={"plain": plain})


def _stolen(plan: Plan, subject: Subject, population: Cohort | None, seed: int) -> tuple[Evidence, Finding]:
    """How often a substitute agrees with the model on people that neither was trained on, by queries spent.

    The control is a substitute trained on the true classes of the same records, which never asked the model; the
    positive control steals a linear model.
    """
    pool, judged = population, subject.controls
    if pool is None:
        names, person = np.unique(judged.persons, return_inverse=True)
        half = (keyed_rng(seed, "asked about").permutation(len(names)) < len(names) // 2)[person]
        pool, judged = judged.take(np.flatnonzero(half)), judged.take(np.flatnonzero(~half))
    attack = find(plan.attack)
    budgets = tuple(sorted({round(share * len(pool)) for share in BUDGETS if share * len(pool) >= 10}))
    if not budgets:
        raise Unavailable("few_queries", "10 records or more that the attacker may ask about (--reference)")
    classes = subject.model.classes
    if len(np.unique(pool.y)) < 2:
        raise Unavailable("one_class", "records of more than one class to ask about")
    linear: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    linear.fit(pool.x.reshape(len(pool), -1), pool.y)

    def simple(people: Cohort) -> Array:
        said = np.zeros((len(people), classes))
        said[:, linear.classes_] = linear.predict_proba(people.x.reshape(len(people), -1))
        return said

    def labels(people: Cohort) -> Array:
        return np.eye(classes)[people.y]

    most = budgets[-1]
    question, single = Queries(pool, budgets), Queries(pool, (most,))
    stolen = attack.run(subject.model, question, pool, seed, ASKING).models
    never = attack.run(Predictor(labels, classes), single, pool, seed, ASKING).models[most]
    easy = attack.run(Predictor(simple, classes), single, pool, seed, ASKING).models[most]
    answers = np.asarray(subject.model.ask(judged), dtype=np.float64)
    usual = np.eye(classes)[np.bincount(answers.argmax(1), minlength=classes).argmax()]
    common = Predictor(lambda people: np.tile(usual, (len(people), 1)), classes)
    by_budget = [judge.agreement(stolen[b], answers, judged, "true", "used") for b in budgets]
    evidence = Evidence.join(
        by_budget[-1],
        judge.agreement(never, answers, judged, "true", "unused"),
        judge.agreement(common, answers, judged, "blind", "used"),
        judge.agreement(easy, simple(judged), judged, "positive", "used"),
    )
    finding = findings_.rates(plan, evidence, paired=True)
    right = [float((stolen[b].ask(judged).argmax(1) == judged.y).mean()) for b in budgets]
    rates = [statistics.proportion(e.success, e.cluster) for e in by_budget]
    curve = Series(
        name="Agreement of a stolen model, by queries",
        kind="lines",
        x_label="queries",
        y_label="share of people given the same class",
        x=[float(b) for b in budgets],
        y=[r.value for r in rates],
        low=[r.low for r in rates],
        high=[r.high for r in rates],
    )
    told = ", ".join(
        f"{b}: {100 * r.value:.0f} % ({100 * a:.0f} %)" for b, r, a in zip(budgets, rates, right, strict=True)
    )
    plain = (
        f"A substitute trained on {most} answers gives {findings_.percent(finding.measure)} of other people the same "
        f"class as the model; one trained on the true classes, without asking, {findings_.percent(finding.control)}. "
        f"By queries, agreement (and accuracy): {told}."
    )
    return evidence, finding.model_copy(update={"plain": plain, "series": [curve]})
