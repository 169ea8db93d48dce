"""Attackers on answers alone beside attackers who train such models: how clearly does each see who was used?

python benchmarks/answers_alone.py
Each line is a model. The figures are d', the distance of members and others in standard deviations that an AUC stands
for, by the better attack on answers alone and by the best one with 16 shadow models. `testbed audit-model` assumes that
the second is at most `SHARPER` times the first where no such models can be trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from testbed.core import Array, Cohort, Split
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options
from testbed.harness.model.untrained import SHARPER
from testbed.subjects.predictors.estimator import SklearnRecipe, sklearn_predictor
from testbed.subjects.predictors.subject import Subject

ALONE = ("prediction_loss", "modified_entropy", "membership_classifier", "membership_regression")
TRAINED = ("rmia", "lira", "bavaria")


def binary(n: int = 1200, d: int = 100, classes: int = 10) -> tuple[Array, Array]:
    """Purchases in the shape of Purchase-100: each kind of people buys its own things, with much noise."""
    rng = keyed_rng(0, "purchases")
    kinds = rng.random((classes, d)) < 0.3
    y = rng.integers(0, classes, n)
    return np.where(rng.random((n, d)) < 0.5, rng.random((n, d)) < 0.3, kinds[y]).astype(float), y


def models() -> Iterator[tuple[str, Any, Callable[[], tuple[Array, Array]]]]:
    digits = lambda: load_digits(return_X_y=True)  # noqa: E731
    cancer = lambda: load_breast_cancer(return_X_y=True)  # noqa: E731
    for table, data in (("purchases", binary), ("digits", digits), ("breast cancer", cancer)):
        scaled = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        yield f"logistic, {table}", scaled, data
        yield f"forest, {table}", RandomForestClassifier(50, random_state=0), data
        network = MLPClassifier((32,), max_iter=100, random_state=0)
        yield f"network, {table}", make_pipeline(StandardScaler(), network), data
    yield "boosting, breast cancer", GradientBoostingClassifier(n_estimators=30, random_state=0), cancer


def subject(made: Any, x: Array, y: Array) -> Subject:
    """A model of half of these people; the others are the controls."""
    order = keyed_rng(0, "halves").permutation(len(x))
    half = len(x) // 2
    groups = [Cohort(x[rows], y[rows], rows.astype(str)) for rows in (order[:half], order[half : 2 * half])]
    made.fit(groups[0].x, groups[0].y)
    return Subject(sklearn_predictor(made), Split(groups[0], groups[1], None), SklearnRecipe(made), described=False)


def apart(area: float) -> float:
    return math.sqrt(2) * float(norm.ppf(min(max(area, 1 - area), 1 - 1e-9)))


def main() -> None:
    print(f"{'model':26} {'answers alone':>14} {'with shadows':>13} {'ratio':>6}")
    for name, made, data in models():
        options = Options(shadows=16, deciding_only=False, quick=True)
        findings, _ = examine(subject(made, *data()), options)
        areas = {
            f.attack.name: f.measure.value
            for f in findings
            if isinstance(f.measure, Estimate) and f.measure.metric == "auc"
        }
        alone, shadows = (max(apart(areas[a]) for a in names if a in areas) for names in (ALONE, TRAINED))
        print(f"{name:26} {alone:14.2f} {shadows:13.2f} {shadows / alone:6.1f}", flush=True)
    print(f"assumed at most: {SHARPER:g}")


if __name__ == "__main__":
    main()
