"""Structural checks of a released model: what its file and its parameters reveal without any attack."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import numpy as np
import pandas as pd
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
"""A group of fewer people does not protect its people. It is the usual minimum cell size."""
DISTINCT = 0.9
"""Share of distinct predictions from which a model is smooth, and groups of equal predictions say nothing."""
ROUNDING = 1e-5
"""Relative difference that still counts as equal, because a model may store numbers in 32 bits."""


def checks(model: Predictor, made: Any, members: Cohort, given: Callable[[Array], Any] | None = None) -> list[Finding]:
    """Findings on the structure of a model: does it store records, small groups, or more than it needs? They inform.

    The checks follow SACRO-ML's structural and ante-hoc checks (Preen and Smith 2025, arXiv 2502.09396): small groups
    with the same prediction, small leaves, stored records, parameters per record, and hyper-parameters. `made` is the
    scikit-learn object itself, or a torch module, or None if only answers are available. It is `given` the members'
    records, or by default their numbers.
    """
    held = parts(made, members.x if given is None else given(members.x))
    said = np.round(np.asarray(model.ask(members), dtype=np.float64), 12)
    _, place = np.unique(said, axis=0, return_inverse=True)
    person = np.unique(members.persons, return_inverse=True)[1]
    alike = _people(place.ravel(), person)
    # A smooth model predicts something else for nearly everybody. Groups of one then say nothing.
    few_valued = place.max() + 1 < DISTINCT * len(said)
    found = [
        *(
            [
                _small(
                    "001",
                    "small_prediction_groups",
                    alike,
                    person,
                    f"have a prediction that fewer than {FEW} people share",
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
                    f"have a class that the model gives as certain, and fewer than {FEW} people share this prediction",
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
                f"In an average tree, {share.value:.0%} of training records are in a leaf of fewer than {FEW} people.",
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
                f"The model file holds {share.value:.0%} of its training records. Whoever has the file can read them.",
            )
        )
    return [*found, *_freedom(held, len(members)), *_hyper_parameters(held, len(members))]


def _freedom(held: list[Part], people: int) -> list[Finding]:
    """The finding on parameters per training record, capped at 1. At 1 the model has room to store every record."""
    counts = [count for one, _ in held if (count := parameters(one)) is not None]
    if not counts or not people:
        return []
    count = sum(counts)
    share = min(count / people, 1.0)
    text = (
        "The model has at least as many parameters as training records, so it has room to store each of them."
        if share >= 1
        else f"The model has {share:.2g} parameters for each training record."
    )
    found = Interval(share, share, share, 1.0, "closed form", people)
    return [findings_.diagnostic(_structural("005", "parameters_per_record"), found, None, text)]


def parameters(estimator: Any) -> int | None:
    """The number of fitted parameters, or None for an unknown kind of model.

    A tree has two parameters for each split, and for each leaf all class probabilities but one.
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
        return int(np.size(estimator.coef_)) + int(np.size(getattr(estimator, "intercept_", ())))
    if callable(getattr(estimator, "parameters", None)):
        return sum(int(p.numel()) for p in estimator.parameters() if p.requires_grad)
    return None


def _trees(estimator: Any) -> list[Any]:
    """The trees of a tree, a forest or gradient boosting. The list is empty for any other model."""
    if hasattr(estimator, "tree_"):
        return [estimator.tree_]
    members = getattr(estimator, "estimators_", ())
    return [m.tree_ for m in np.ravel(np.asarray(members, dtype=object)) if hasattr(m, "tree_")]


SMALLEST_LEAF = 5
"""Records that a leaf should have at least."""
Rule = tuple[str, Callable[[Any, int], bool], str]
"""A hyper-parameter, a test of its value given the number of people, and the recommended values in words."""
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
"""Rules for hyper-parameters, by the beginning of the class's name. Those for trees follow SACRO-ML."""
ALLOWED: dict[str, Any] = {
    "min_samples_leaf": SMALLEST_LEAF,
    "bootstrap": True,
    "min_child_weight": SMALLEST_LEAF,
    "n_neighbors": FEW,
}
"""The nearest value of each of these hyper-parameters that no rule is against."""


def rules_of(estimator: Any) -> tuple[Rule, ...]:
    """The rules of an estimator's kind."""
    name = type(estimator).__name__
    return next((rules for start, rules in RULES if name.startswith(start)), ())


def _hyper_parameters(held: list[Part], people: int) -> list[Finding]:
    """The finding on hyper-parameters that let the model store single records, for models that have rules."""
    judged: dict[tuple[str, str], tuple[bool, str]] = {}
    for estimator, _ in held:
        name = type(estimator).__name__
        rules = rules_of(estimator)
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
    text = f"Hyper-parameters that let the model store single records: {'; '.join(broken) or 'none'}."
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
    """The number (n,) of different people in each record's group."""
    pairs = np.unique(np.stack([group, person]), axis=1)
    return np.bincount(pairs[0])[group]


def _leaves(held: list[Part]) -> Array | None:
    """The leaf (n, trees) of each record in each tree, for trees, forests and gradient boosting. Else None."""
    found: list[Array] = []
    for estimator, x in held:
        # A torch module has another method `apply`, and a booster of linear models raises an error in it.
        if hasattr(estimator, "apply") and hasattr(estimator, "fit"):
            with suppress(Exception):
                leaves = np.asarray(
                    estimator.apply(x if isinstance(x, pd.DataFrame) else named(estimator, x)), dtype=np.int64
                )
                found.append(leaves.reshape(len(x), -1))
    return np.concatenate(found, 1) if found else None


TABLES = ("support_vectors_", "_fit_X", "X_fit_", "X_train_", "X_")
"""Attributes in which scikit-learn models store training records."""


def _stored(held: list[Part]) -> Array | None:
    """Which records (n,) bool the model stores: as support vectors, or in a neighbour or kernel model's table."""
    found: Array | None = None
    for estimator, x in held:
        for name in TABLES:
            table = getattr(estimator, name, None)
            table = cast(Any, table).toarray() if hasattr(table, "toarray") else table
            if isinstance(table, np.ndarray) and table.shape[1:] == x.shape[1:] and len(table):
                try:
                    there = _among(np.asarray(table, dtype=float), np.asarray(x, dtype=float))
                except (ValueError, TypeError):  # a table of words
                    continue
                found = there if found is None else found | there
    return found


def _among(table: Array, asked: Array) -> Array:
    """Which rows (n,) bool are in a table, up to rounding in 32 bits. Missing values count as zero."""
    table, asked = np.nan_to_num(table), np.nan_to_num(asked)
    # Each column has its own scale, so a column of large numbers does not hide the others.
    spread = np.where(asked.std(0) > 0, asked.std(0), 1)
    nearest = table[spatial.cKDTree(table / spread).query(asked / spread)[1]]
    return (np.abs(nearest - asked) <= ROUNDING * (spread + np.abs(asked))).all(1)
