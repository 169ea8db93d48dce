"""A released model: membership by whoever may ask it, by whoever can also train such models, and what it stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from scipy import spatial as _spatial
from sklearn.ensemble import RandomForestClassifier

from testbed import findings as findings_
from testbed import judge, stats
from testbed.attacks.kit import find, keyed_rng
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
from testbed.data.trained import named
from testbed.findings import Plan
from testbed.harness import model_risks
from testbed.harness.generator import Remembered
from testbed.harness.model_risks import certain
from testbed.report.schema import Finding, Unmeasured

spatial = cast(Any, _spatial)  # SciPy ships no types

FEW = 10
"""Groups of fewer people than this are too small to hide in; the usual minimum cell."""
DISTINCT = 0.9
ROUNDING = 1e-5


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
    described: bool = True
    """Do the records say what people are like? Those of a table of predictions are row numbers."""


def audit(
    subject: Subject,
    shadows: int,
    seed: int,
    progress: Callable[[str], None],
    secrets: Sequence[str] = (),
) -> tuple[list[Finding], dict[str, Evidence]]:
    """Findings and their evidence. RMIA decides where such models can be trained, else the plain loss does.

    The blind cell is a model of the same recipe, trained on other people, where both are at hand. The positive
    control is a model that is certain of its training data, and else says what the audited one says.
    """
    pooled, used = _pool(subject, seed)
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
    for plan in _plans(subject, shadows):
        progress(f"membership: {plan.attack}")
        try:
            parts: list[Evidence] = []
            for cell, view in views.items():
                claim = find(plan.attack).run(
                    view, Records(pooled), population, seed, threat, dict(plan.params), recipes[cell]
                )
                parts.append(judge.scores(claim, used, cell, pooled.persons))
            evidence = Evidence.join(*parts)
            if plan.metric == "rate":
                # The attack says yes or no, so that there is no threshold to choose.
                kept[plan.rule] = replace(evidence, success=evidence.score)
                found.append(findings_.rates(plan, kept[plan.rule]))
                continue
        except Unavailable as why:
            found.append(findings_.unmeasured(plan, Unmeasured(unmeasured=why.code, needs=why.needs)))
            continue
        kept[plan.rule] = evidence
        found.append(findings_.membership(plan, evidence))
        rule = plan.rule[:-3] + f"4{plan.rule[-2:]}"
        area = replace(plan, rule=rule, metric="auc", primary=False)
        found.append(findings_.area_under_curve(area, evidence))
    if subject.described:
        further, rows = model_risks.further(subject, views, population, pooled, used, seed, secrets, progress)
        found += further
        kept |= rows
    if not comparable(subject, seed):
        found = [f if "split_differs" in f.validity.flags else _flagged(f, "split_differs") for f in found]
    return [*found, *structure(subject)], kept


def comparable(subject: Subject, seed: int) -> bool:
    """Can members and controls not be told apart without the model? By a forest's out-of-fold AUC, at 99 %.

    Of a table of predictions only the classes are compared.
    """
    groups = (subject.members, subject.controls)
    classes = np.concatenate([np.eye(subject.model.classes)[g.y] for g in groups])
    x = np.concatenate([g.x.reshape(len(g), -1) for g in groups])
    features = np.concatenate([x, classes], 1) if subject.described else classes
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
        ("modified_entropy", {}, True),
        ("label_gap", {}, True),
        ("population", {}, subject.others is not None),
        ("quantile_regression", {}, subject.others is not None and subject.described),
    )
    plans: list[Plan] = []
    for number, (name, params, possible) in enumerate(every, 1):
        if possible:
            plans.append(
                Plan(
                    f"TB-MEMBERSHIP-3{number:02d}",
                    "membership",
                    name,
                    "rate" if find(name).access == "label" else "tpr_at_fpr",
                    "record",
                    not plans,
                    find(name).configured(params),
                    target=None if params.get("online", True) else "offline",
                )
            )
    return plans


def _pool(subject: Subject, seed: int) -> tuple[Cohort, Array]:
    groups = (subject.members, subject.controls)
    pooled = Cohort(*(np.concatenate([getattr(g, f) for g in groups]) for f in ("x", "y", "persons")))
    used = np.arange(len(pooled)) < len(subject.members)
    order = keyed_rng(seed, "pool").permutation(len(pooled))
    return pooled.take(order), used[order]


# --- what the model's inside gives away -----------------------------------------------------------------


def structure(subject: Subject) -> list[Finding]:
    """Does the model keep records, or groups too small to hide in? From its inside alone; these inform.

    After SACRO-ML's structural checks: small groups with one prediction, small leaves, and stored records.
    """
    members = subject.members
    estimator, x = inside(subject.estimator, members.x)
    said = np.round(np.asarray(subject.model.ask(members), dtype=np.float64), 12)
    _, place, count = np.unique(said, axis=0, return_inverse=True, return_counts=True)
    alike = count[place.ravel()]
    # A smooth model answers everybody differently, which says nothing.
    few_valued = len(count) < DISTINCT * len(said)
    found = [
        *(
            [_small("001", "small_prediction_groups", alike, f"share one prediction with fewer than {FEW} in all")]
            if few_valued
            else []
        ),
        _small(
            "002",
            "single_class_groups",
            np.where((said >= 1 - 1e-9).any(1), alike, FEW),
            f"are among fewer than {FEW} records whose class the model states as certain",
        ),
    ]
    leaves = _leaves(estimator, x)
    if leaves is not None:
        sizes = np.stack([np.bincount(column)[column] for column in leaves.T], 1)
        small = (sizes < FEW).mean(1)
        share = stats.proportion(small)
        found.append(
            findings_.diagnostic(
                _structural("003", "small_leaves"),
                share,
                None,
                f"In the average tree {share.value:.0%} of training records lie in a leaf with fewer than {FEW}.",
            )
        )
    stored = _stored(estimator, x)
    if stored is not None:
        share = stats.proportion(stored.astype(float))
        found.append(
            findings_.diagnostic(
                _structural("004", "stored_records"),
                share,
                None,
                f"The model file holds {share.value:.0%} of its training records as they are; whoever has it has them.",
            )
        )
    return found


def inside(estimator: Any, x: Array) -> tuple[Any, Array]:
    """The estimator at the end of a pipeline or a search, and the records as they reach it."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not hasattr(estimator, "steps"):
        return estimator, x
    reached: Any = estimator[:-1].transform(named(estimator, x)) if len(estimator.steps) > 1 else x
    dense: Any = reached.toarray() if hasattr(reached, "toarray") else reached
    return estimator[-1], np.asarray(dense)


def _structural(number: str, name: str) -> Plan:
    return Plan(f"TB-STRUCTURE-{number}", "structure", name, "rate", "record", primary=False)


def _small(number: str, name: str, sizes: Array, what: str) -> Finding:
    share = stats.proportion((sizes < FEW).astype(float))
    return findings_.diagnostic(
        _structural(number, name), share, None, f"{share.value:.0%} of training records {what}."
    )


def _leaves(estimator: Any, x: Array) -> Array | None:
    """The leaf (n, trees) of each record in each tree, of trees, forests and gradient boosting."""
    if estimator is None or not hasattr(estimator, "apply"):
        return None
    leaves = np.asarray(estimator.apply(named(estimator, x)), dtype=np.int64)
    return leaves.reshape(len(x), -1)


def _stored(estimator: Any, x: Array) -> Array | None:
    """Which records (n,) bool stand in the model itself: support vectors, or a neighbour model's table."""
    kept = [getattr(estimator, name, None) for name in ("support_vectors_", "_fit_X")]
    tables = [np.asarray(t, float) for t in kept if isinstance(t, np.ndarray) and t.shape[1:] == x.shape[1:]]
    if not tables:
        return None
    asked = np.asarray(x, dtype=np.float64)
    near = np.min([spatial.cKDTree(table).query(asked)[0] for table in tables if len(table)], axis=0)
    return near <= ROUNDING * (1 + np.linalg.norm(asked, axis=1))
