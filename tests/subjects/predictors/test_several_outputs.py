"""Models of survival times and of several labels: refused in words that fit, and the way out finds the leak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from testbed.core import Array
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options
from testbed.subjects.predictors import load, model_files

RNG = keyed_rng(0, "several outputs")
X = pd.DataFrame(RNG.normal(size=(60, 2)), columns=["a", "b"])
Y = np.column_stack([X["a"] > 0, X["b"] > 0]).astype(int)


class KernelCurves(BaseEstimator):
    """The survival curve of each person is the Kaplan-Meier curve of people weighted by how near they are (Beran 1981).

    It has the methods of scikit-survival's models: `predict` is a risk, and times are told with whether they ended.
    """

    def __init__(self, width: float = 0.1) -> None:
        self.width = width

    def fit(self, x: Any, y: Array) -> KernelCurves:
        order = np.argsort(y["time"])
        self.x_, self.ended_, self.time_ = np.asarray(x)[order], y["event"][order], y["time"][order]
        return self

    def predict_survival_function(self, x: Any, times: Array) -> Array:
        squares = ((np.asarray(x)[:, None] - self.x_[None]) ** 2).sum(2)
        weight = np.exp(-squares / (2 * self.width**2)) + 1e-6
        at_risk = weight[:, ::-1].cumsum(1)[:, ::-1]
        curve = np.cumprod(1 - self.ended_ * weight / at_risk, axis=1)
        before = np.searchsorted(self.time_, times, side="right")
        return np.concatenate([np.ones((len(curve), 1)), curve], 1)[:, before]

    def predict(self, x: Any) -> Array:
        return 1 - self.predict_survival_function(x, np.array([np.median(self.time_)]))[:, 0]


def surviving(people: int, key: str) -> tuple[Array, Array]:
    rng = keyed_rng(0, key)
    x = rng.normal(size=(people, 2))
    time, censored = rng.exponential(np.exp(-x[:, 0])), rng.exponential(3, people)
    y = np.array(
        list(zip(time <= censored, np.minimum(time, censored), strict=True)), dtype=[("event", bool), ("time", float)]
    )
    return x, y


@pytest.mark.parametrize(
    "made",
    [
        MultiOutputClassifier(LogisticRegression()),
        ClassifierChain(LogisticRegression()),
        RandomForestClassifier(3),
        DecisionTreeClassifier(),
        KNeighborsClassifier(),
        MLPClassifier((3,), max_iter=300, random_state=0),
        OneVsRestClassifier(LogisticRegression()),
        make_pipeline(StandardScaler(), RandomForestClassifier(3)),
        GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=2),
    ],
    ids=lambda made: type(made).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_model_of_several_labels_is_refused_as_one(made: Any, tmp_path: Path) -> None:
    joblib.dump(made.fit(X, Y), tmp_path / "m.joblib")
    with pytest.raises(InputError, match="TB-SUBJECT-012") as refused:
        model_files.read(tmp_path / "m.joblib", True)
    assert "several labels" in refused.value.fix
    tables = {"members": X.assign(label=Y[:, 0]), "controls": X.assign(label=Y[:, 1])}
    with pytest.raises(InputError, match="TB-SUBJECT-012"):  # as it is given to testbed.audit_model
        load.from_estimator(made, tables, "label", None)


def test_several_numbers_at_once_are_refused_with_what_to_do() -> None:
    made = KNeighborsRegressor().fit(X, X * 2)
    tables = {"members": X.assign(label=X["a"]), "controls": (X + 1).assign(label=X["b"])}
    with pytest.raises(InputError, match="TB-SUBJECT-028") as refused:
        load.from_estimator(made, tables, "label", None)
    assert "one output at a time" in refused.value.fix


def test_the_way_out_for_survival_times_finds_a_model_that_learnt_by_heart(tmp_path: Path) -> None:
    """Whether the event happened by a time, with p_1 = 1 - S(t), without people who were censored before it."""
    (x, y), (others, theirs) = surviving(300, "members"), surviving(300, "controls")
    made = KernelCurves().fit(x, y)
    joblib.dump(made, tmp_path / "m.joblib")
    with pytest.raises(InputError, match="TB-SUBJECT-012") as refused:
        model_files.read(tmp_path / "m.joblib", True)
    assert "S(t)" in refused.value.fix
    parts: list[pd.DataFrame] = []
    for arm, people, ended in (("member", x, y), ("control", others, theirs)):
        curve = made.predict_survival_function(people, np.array([0.7]))[:, 0]
        part = pd.DataFrame({"arm": arm, "label": (ended["time"] <= 0.7).astype(int), "p_0": curve, "p_1": 1 - curve})
        parts.append(part[ended["event"] | (ended["time"] > 0.7)])
    table = pd.concat(parts, ignore_index=True)
    subject = load.from_predictions(table.assign(id=np.arange(len(table))))
    decided = next(f for f in examine(subject, Options(quick=True, deciding_only=True))[0] if f.primary)
    assert isinstance(decided.excess, Estimate)
    assert decided.excess.low > 0.02
