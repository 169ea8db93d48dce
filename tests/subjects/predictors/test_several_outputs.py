"""Models of several labels are asked about all of them; several numbers are refused in words that fit."""

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
from testbed.findings.schema import Estimate
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options
from testbed.subjects.predictors import load, model_files

RNG = keyed_rng(0, "several outputs")
X = pd.DataFrame(RNG.normal(size=(60, 2)), columns=["a", "b"])
PLAIN = LogisticRegression(C=0.1)
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
def test_a_model_of_several_labels_is_asked_about_all_of_them(made: Any, tmp_path: Path) -> None:
    """One column alone is refused; with one for each label, the likelihood is the mean of the labels' losses."""
    joblib.dump(made.fit(X, Y), tmp_path / "m.joblib")
    assert model_files.read(tmp_path / "m.joblib", True).made is not None
    tables = {"members": X.assign(u=Y[:, 0], v=Y[:, 1]), "controls": (X + 0.01).assign(u=Y[:, 0], v=Y[:, 1])}
    with pytest.raises(InputError, match="TB-SUBJECT-075"):
        load.from_estimator(made, tables, "u", None)
    with pytest.raises(InputError, match="TB-SUBJECT-074"):
        load.from_estimator(made, {r: t.assign(w=0) for r, t in tables.items()}, ("u", "v", "w"), None)
    subject = load.from_estimator(made, tables, ("u", "v"), None)
    said = made.predict_proba(X)
    chances = [p[np.arange(60), Y[:, j]] for j, p in enumerate(said)] if isinstance(said, list) else None
    each = np.column_stack(chances) if chances else np.where(Y == 1, said, 1 - np.asarray(said))
    losses = -np.log(np.clip(each, 1e-6, 1)).sum(1)
    assert -2 * np.log(subject.model.ask(subject.members)[:, 1]) == pytest.approx(losses)


def test_labels_learnt_by_heart_are_found_and_none_in_a_plain_model() -> None:
    rng = keyed_rng(1, "labels")
    tables = {
        role: pd.DataFrame(rng.normal(size=(200, 3)), columns=pd.Index(list("abc"))).assign(
            u=rng.integers(0, 2, 200), v=rng.integers(0, 2, 200)
        )
        for role in ("members", "controls")
    }
    x, y = tables["members"][list("abc")], tables["members"][["u", "v"]]
    for made, leaks in ((RandomForestClassifier(20, random_state=0), True), (MultiOutputClassifier(PLAIN), False)):
        subject = load.from_estimator(made.fit(x, y), tables, ("u", "v"), None)
        found, _ = examine(subject, Options(shadows=4, quick=True, deciding_only=True))
        decided = next(f for f in found if f.primary).excess
        assert isinstance(decided, Estimate)
        assert (decided.low > 0.1) == leaks
        assert leaks or decided.low <= 0.02


def test_several_numbers_at_once_are_refused_with_what_to_do() -> None:
    made = KNeighborsRegressor().fit(X, X * 2)
    tables = {"members": X.assign(label=X["a"]), "controls": (X + 1).assign(label=X["b"])}
    with pytest.raises(InputError, match="TB-SUBJECT-028") as refused:
        load.from_estimator(made, tables, "label", None)
    assert "one output at a time" in refused.value.fix
