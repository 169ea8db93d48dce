"""Models of several labels or of several numbers are refused in words that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
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

from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.subjects.predictors import load, model_files

RNG = keyed_rng(0, "several outputs")
X = pd.DataFrame(RNG.normal(size=(60, 2)), columns=["a", "b"])
Y = np.column_stack([X["a"] > 0, X["b"] > 0]).astype(int)


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
