"""What a released model's inside gives away, before anybody attacks it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import numpy as np
from scipy import spatial as _spatial

from testbed.core import Array, Cohort, Predictor
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding
from testbed.findings.statistics import Interval
from testbed.harness.model.parts import Part, parts
from testbed.subjects.predictors.estimator import named

spatial = cast(Any, _spatial)  # SciPy ships no types

FEW = 10
"""Groups of fewer people than this are too small to hide in; the usual minimum cell."""
DISTINCT = 0.9
ROUNDING = 1e-5


def checks(model: Predictor, made: Any, members: Cohort) -> list[Finding]:
    """Does the model keep records, or groups too small to hide in, or more than it needs? These inform.

    After SACRO-ML's structural and ante-hoc checks (Preen and Smith 2025, arXiv 2502.09396): small groups with one
    prediction, small leaves, stored records, degrees of freedom that are left over, and hyper-parameters. `made` is the
    scikit-learn object itself, or a torch module, or None where only answers are at hand.
    """
    held = parts(made, members.x)
    said = np.round(np.asarray(model.ask(members), dtype=np.float64), 12)
    _, place = np.unique(said, axis=0, return_inverse=True)
    person = np.unique(members.persons, return_inverse=True)[1]
    alike = _people(place.ravel(), person)
    # A smooth model answers everybody differently, which says nothing.
    few_valued = place.max() + 1 < DISTINCT * len(said)
    found = [
        *(
            [
                _small(
                    "001",
                    "small_prediction_groups",
                    alike,
                    person,
                    f"share one prediction with fewer than {FEW} people",
                )
            ]
            if few_valued
            else []
        ),
        *(
            [
                _small(
                    "002",
                    "single_class_groups",
                    np.where((said >= 1 - 1e-9).any(1), alike, FEW),
                    person,
                    f"are among fewer than {FEW} people whose class the model states as certain",
                )
            ]
            if model.classes > 1
            else []
        ),
    ]
    leaves = _leaves(held)
    if leaves is not None:
        sizes = np.stack([_people(np.unique(c, return_inverse=True)[1], person) for c in leaves.T], 1)
        small = (sizes < FEW).mean(1)
        share = statistics.proportion(small, person)
        found.append(
            findings_.diagnostic(
                _structural("003", "small_leaves"),
                share,
                None,
                f"In the average tree {share.value:.0%} of training records lie in a leaf of fewer than {FEW} people.",
            )
        )
    stored = _stored(held)
    if stored is not None:
        share = statistics.proportion(stored.astype(float), person)
        found.append(
            findings_.diagnostic(
                _structural("004", "stored_records"),
                share,
                None,
                f"The model file holds {share.value:.0%} of its training records as they are; whoever has it has them.",
            )
        )
    return [*found, *_freedom(held, len(members)), *_hyper_parameters(held, len(members))]


def _freedom(held: list[Part], people: int) -> list[Finding]:
    """How many parameters there are for each training record; nothing is left over at one or more."""
    counts = [count for one, _ in held if (count := parameters(one)) is not None]
    if not counts or not people:
        return []
    count = sum(counts)
    share = min(count / people, 1.0)
    text = (
        "The model has as many parameters as training records, or more: it has room to keep each of them."
        if share >= 1
        else f"The model has {share:.2g} parameters for each training record."
    )
    found = Interval(share, share, share, 1.0, "closed form", people)
    return [findings_.diagnostic(_structural("005", "parameters_per_record"), found, None, text)]


def parameters(estimator: Any) -> int | None:
    """How many numbers were fitted, or None of a kind that is not known.

    Of a tree two for each split and all but one probability for each leaf.
    """
    trees = _trees(estimator)
    if trees:
        made = 0
        for tree in trees:
            leaves = int(tree.n_leaves)
            each = tree.value.shape[2] - 1 if tree.value.shape[2] > 1 else 1
            made += 2 * (int(tree.node_count) - leaves) + each * leaves
        return made
    if hasattr(estimator, "get_booster") and estimator.booster != "gblinear":
        nodes = estimator.get_booster().trees_to_dataframe()
        return int(2 * (nodes["Feature"] != "Leaf").sum() + (nodes["Feature"] == "Leaf").sum())
    if hasattr(estimator, "coefs_"):
        return sum(int(np.size(c)) for c in [*estimator.coefs_, *estimator.intercepts_])
    if hasattr(estimator, "dual_coef_"):
        return int(np.size(estimator.dual_coef_)) + int(np.size(getattr(estimator, "intercept_", ())))
    if hasattr(estimator, "coef_"):
        return int(np.size(estimator.coef_)) + int(np.size(estimator.intercept_))
    if callable(getattr(estimator, "parameters", None)):
        return sum(int(p.numel()) for p in estimator.parameters() if p.requires_grad)
    return None


def _trees(estimator: Any) -> list[Any]:
    """The trees themselves, of a tree, a forest or gradient boosting; none of anything else."""
    if hasattr(estimator, "tree_"):
        return [estimator.tree_]
    members = getattr(estimator, "estimators_", ())
    return [m.tree_ for m in np.ravel(np.asarray(members, dtype=object)) if hasattr(m, "tree_")]


SMALLEST_LEAF = 5
Rule = tuple[str, Callable[[Any, int], bool], str]
"""A parameter, whether a value of it is good for so many people, and which values are."""
LEAF: Rule = (
    "min_samples_leaf",
    lambda v, people: bool((v * people if v < 1 else v) >= SMALLEST_LEAF),
    f"{SMALLEST_LEAF} records or more",
)
RULES: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("DecisionTree", (LEAF,)),
    ("ExtraTree", (LEAF,)),
    ("RandomForest", (LEAF, ("bootstrap", lambda v, _: bool(v), "true"))),
    ("HistGradientBoosting", (LEAF,)),
    ("GradientBoosting", (LEAF,)),
    ("XGB", (("min_child_weight", lambda v, _: v is not None and v >= SMALLEST_LEAF, f"{SMALLEST_LEAF} or more"),)),
    ("KNeighbors", (("n_neighbors", lambda v, _: v >= FEW, f"{FEW} or more"),)),
)
"""By how a class's name begins, what its hyper-parameters should be; of trees after SACRO-ML's rules."""


def _hyper_parameters(held: list[Part], people: int) -> list[Finding]:
    """Which hyper-parameters let single records be kept though they need not be; of the kinds that have rules."""
    judged: dict[tuple[str, str], tuple[bool, str]] = {}
    for estimator, _ in held:
        name = type(estimator).__name__
        rules = next((rules for start, rules in RULES if name.startswith(start)), ())
        given: dict[str, Any] = estimator.get_params() if rules else {}
        for key, good, wanted in rules:
            if key in given:
                kept = judged.get((name, key), (True, wanted))[0]
                judged[name, key] = (kept and good(given[key], people), wanted)
    if not judged:
        return []
    several = len({name for name, _ in judged}) > 1
    broken = [
        f"{key}{f' of {name}' if several else ''} should be {wanted}"
        for (name, key), (good, wanted) in judged.items()
        if not good
    ]
    share = len(broken) / len(judged)
    found = Interval(share, share, share, 1.0, "closed form", len(judged))
    text = f"Hyper-parameters that let single records be kept: {'; '.join(broken) or 'none'}."
    return [findings_.diagnostic(_structural("006", "hyper_parameters"), found, None, text)]


def _structural(number: str, name: str) -> Plan:
    return Plan(
        rule=f"TB-STRUCTURE-{number}", risk="structure", attack=name, metric="rate", unit="record", primary=False
    )


def _small(number: str, name: str, sizes: Array, person: Array, what: str) -> Finding:
    share = statistics.proportion((sizes < FEW).astype(float), person)
    return findings_.diagnostic(
        _structural(number, name), share, None, f"{share.value:.0%} of training records {what}."
    )


def _people(group: Array, person: Array) -> Array:
    """How many different people (n,) are in each record's group."""
    pairs = np.unique(np.stack([group, person]), axis=1)
    return np.bincount(pairs[0])[group]


def _leaves(held: list[Part]) -> Array | None:
    """The leaf (n, trees) of each record in each tree, of trees, forests and gradient boosting."""
    found: list[Array] = []
    for estimator, x in held:
        # A torch module has an `apply` of its own, and a booster of linear models has one that it refuses.
        if hasattr(estimator, "apply") and hasattr(estimator, "fit"):
            with suppress(Exception):
                leaves = np.asarray(estimator.apply(named(estimator, x)), dtype=np.int64)
                found.append(leaves.reshape(len(x), -1))
    return np.concatenate(found, 1) if found else None


TABLES = ("support_vectors_", "_fit_X", "X_fit_", "X_train_", "X_")


def _stored(held: list[Part]) -> Array | None:
    """Which records (n,) bool stand in the model itself: support vectors, or a neighbour or kernel model's table."""
    found: Array | None = None
    for estimator, x in held:
        for name in TABLES:
            table = getattr(estimator, name, None)
            table = cast(Any, table).toarray() if hasattr(table, "toarray") else table
            if isinstance(table, np.ndarray) and table.shape[1:] == x.shape[1:] and len(table):
                there = _among(table.astype(float), x.astype(float))
                found = there if found is None else found | there
    return found


def _among(table: Array, asked: Array) -> Array:
    """Which rows (n,) bool stand in a table, gaps and roundings of float32 aside."""
    table, asked = np.nan_to_num(table), np.nan_to_num(asked)
    # On each column's own scale, so that one of large numbers does not hide the others.
    spread = np.where(asked.std(0) > 0, asked.std(0), 1)
    nearest = table[spatial.cKDTree(table / spread).query(asked / spread)[1]]
    return (np.abs(nearest - asked) <= ROUNDING * (spread + np.abs(asked))).all(1)
