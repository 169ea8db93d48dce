"""A released model: membership by whoever may ask it, by whoever can also train such models, and what it stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

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
from testbed.data.subjects import named
from testbed.findings import Plan
from testbed.harness.generator import Remembered
from testbed.report.schema import Finding, Unmeasured

FEW = 10
"""Groups of fewer people than this are too small to hide in; the usual minimum cell."""
CERTAIN = 0.999


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


def audit(
    subject: Subject, shadows: int, seed: int, progress: Callable[[str], None]
) -> tuple[list[Finding], dict[str, Evidence]]:
    """Findings and their evidence. RMIA decides where such models can be trained, else the plain loss does.

    The blind cell is a model of the same recipe, trained on other people, where both are at hand. The positive
    control is a model that is certain of its training data, and else says what the audited one says.
    """
    pooled, used = _pool(subject, seed)
    threat = Threat("recipient", knows=_knowledge(subject), access="score")
    views: dict[Cell, Predictor] = {"true": subject.model}
    recipes: dict[Cell, Recipe | None] = {"true": None, "blind": None, "positive": None}
    if subject.recipe is not None:
        recipes["true"] = recipes["blind"] = Remembered(subject.recipe, seed)
        if subject.others is not None and len(subject.others) >= len(subject.members):
            progress("a model of other people")
            blind = subject.recipe(subject.others.take(np.arange(len(subject.members))), keyed_rng(seed, "blind"))
            assert isinstance(blind, Predictor)
            views["blind"] = blind
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
                # The blind model was trained on the first of the others; the rest stay the attacker's population.
                others = subject.others
                if others is not None and "blind" in views:
                    others = others.take(np.arange(len(subject.members), len(others)))
                claim = find(plan.attack).run(
                    view, Records(pooled), others, seed, threat, dict(plan.params), recipes[cell]
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
        area = Plan(plan.rule[:-3] + f"4{plan.rule[-2:]}", "membership", plan.attack, "auc", "record", False)
        found.append(findings_.area_under_curve(area, evidence))
    return [*found, *structure(subject)], kept


def _knowledge(subject: Subject) -> frozenset[str]:
    knows = {"target_records"}
    knows |= {"auxiliary"} if subject.others is not None else set()
    knows |= {"recipe"} if subject.recipe is not None else set()
    return frozenset(knows)


def _plans(subject: Subject, shadows: int) -> list[Plan]:
    named: list[tuple[str, dict[str, Any]]] = [("prediction_loss", {}), ("modified_entropy", {}), ("label_gap", {})]
    if subject.others is not None:
        named.append(("population", {}))
    if subject.recipe is not None:
        trained = {"shadows": shadows}
        named = [
            ("rmia", trained),
            ("rmia", {**trained, "online": False}),
            ("lira", trained),
            ("lira", {**trained, "online": False}),
            ("reference_models", trained),
            *named,
        ]
    return [
        Plan(
            f"TB-MEMBERSHIP-3{number:02d}",
            "membership",
            name,
            "rate" if find(name).access == "label" else "tpr_at_fpr",
            "record",
            number == 1,
            find(name).configured(params),
            target=None if params.get("online", True) else "offline",
        )
        for number, (name, params) in enumerate(named, 1)
    ]


def _pool(subject: Subject, seed: int) -> tuple[Cohort, Array]:
    groups = (subject.members, subject.controls)
    pooled = Cohort(*(np.concatenate([getattr(g, f) for g in groups]) for f in ("x", "y", "persons")))
    used = np.arange(len(pooled)) < len(subject.members)
    order = keyed_rng(seed, "pool").permutation(len(pooled))
    return pooled.take(order), used[order]


def certain(people: Cohort, otherwise: Predictor) -> Predictor:
    """A model that gives its people's classes with certainty, and of all others says what another model says."""
    held = {row.tobytes() for row in people.x}

    def ask(asked: Cohort) -> Array:
        said = np.array(otherwise.ask(asked), dtype=np.float64)
        mine = np.array([row.tobytes() in held for row in asked.x], dtype=bool)
        sure = np.full((len(asked), otherwise.classes), (1 - CERTAIN) / max(1, otherwise.classes - 1))
        sure[np.arange(len(asked)), asked.y] = CERTAIN
        return np.where(mine[:, None], sure, np.minimum(said, 0.99))

    return Predictor(ask, otherwise.classes)


# --- what the model's inside gives away -----------------------------------------------------------------


def structure(subject: Subject) -> list[Finding]:
    """Does the model keep records, or groups too small to hide in? From its inside alone; these inform.

    After SACRO-ML's structural checks: small groups with one prediction, small leaves, and stored records.
    """
    members = subject.members
    said = np.round(np.asarray(subject.model.ask(members), dtype=np.float64), 12)
    _, place, count = np.unique(said, axis=0, return_inverse=True, return_counts=True)
    alike = count[place.ravel()]
    found = [
        _small("001", "small_prediction_groups", alike, "share one prediction with fewer than ten people in all"),
        _small(
            "002",
            "single_class_groups",
            np.where((said >= 1 - 1e-9).any(1), alike, FEW),
            f"are among fewer than {FEW} people whose class the model states as certain",
        ),
    ]
    leaves = _leaves(subject.estimator, members.x)
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
    stored = _stored(subject.estimator, members.x)
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
    tables = [np.asarray(t, dtype=np.float32) for t in kept if isinstance(t, np.ndarray) and t.shape[1:] == x.shape[1:]]
    if not tables:
        return None
    held = {row.tobytes() for table in tables for row in np.ascontiguousarray(table)}
    return np.array([row.tobytes() in held for row in np.ascontiguousarray(x, dtype=np.float32)], dtype=bool)
