"""An estimator under rules: what breaks them, what was changed after fit, and the request for its release."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import testbed as tb
from testbed.core.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 4))
Y = (X[:, 0] + RNG.normal(size=240) > 0).astype(int)
QUIET: dict[str, Any] = {"data_class": "synthetic", "shadows": 4}

SACRO: list[tuple[Any, list[str]]] = [
    # What SACRO-ML's SafeDecisionTreeClassifier and SafeRandomForestClassifier call disclosive, and what they do not.
    (DecisionTreeClassifier(), ["min_samples_leaf"]),
    (DecisionTreeClassifier(min_samples_leaf=1), ["min_samples_leaf"]),
    (DecisionTreeClassifier(min_samples_leaf=5), []),
    (DecisionTreeClassifier(min_samples_leaf=10), []),
    (RandomForestClassifier(), ["min_samples_leaf"]),
    (RandomForestClassifier(bootstrap=False), ["min_samples_leaf", "bootstrap"]),
    (RandomForestClassifier(bootstrap=False, min_samples_leaf=5), ["bootstrap"]),
    (RandomForestClassifier(bootstrap=True, min_samples_leaf=10), []),
]
OWN: list[tuple[Any, list[str]]] = [
    (LogisticRegression(), []),
    (KNeighborsClassifier(3), ["n_neighbors"]),
    (KNeighborsRegressor(10), []),
    (make_pipeline(StandardScaler(), DecisionTreeClassifier()), ["decisiontreeclassifier__min_samples_leaf"]),
    (VotingClassifier([("a", RandomForestClassifier(min_samples_leaf=2))]), ["a__min_samples_leaf"]),
    (GridSearchCV(DecisionTreeClassifier(), {"max_depth": [2, 3]}), ["estimator__min_samples_leaf"]),
]


@pytest.mark.parametrize(("made", "names"), [*SACRO, *OWN], ids=str)
def test_rules_are_those_of_every_model_inside(made: Any, names: list[str]) -> None:
    assert [b.name for b in tb.safe(made).broken()] == names


def test_a_share_of_the_records_counts_as_their_number() -> None:
    tree = tb.safe(DecisionTreeClassifier(min_samples_leaf=0.02))
    assert [b.name for b in tree.broken(100)] == ["min_samples_leaf"]
    assert tree.broken(1000) == []


def test_fit_warns_or_changes_what_breaks_a_rule_and_leaves_the_estimator_given_as_it_was() -> None:
    given = make_pipeline(StandardScaler(), RandomForestClassifier(5, bootstrap=False, random_state=0))
    with pytest.warns(UserWarning, match=r"min_samples_leaf is 1 and should be 5 records or more; .*stored"):
        warned = tb.safe(given).fit(X, Y)
    assert len(warned.broken()) == 2
    with pytest.warns(UserWarning, match="They were changed"):
        tightened = tb.safe(given, tighten=True).fit(X, Y)
    assert tightened.broken() == []
    assert tightened.estimator_.get_params()["randomforestclassifier__min_samples_leaf"] == 5
    assert given.get_params()["randomforestclassifier__bootstrap"] is False


def test_it_is_an_estimator_in_all_that_scikit_learn_asks() -> None:
    made = tb.safe(DecisionTreeClassifier(min_samples_leaf=5, random_state=0))
    search = GridSearchCV(made, {"estimator__max_depth": [1, 3]}, cv=2).fit(X, Y)
    assert search.best_score_ > 0.5
    fitted = clone(made).fit(X, Y)
    np.testing.assert_array_equal(fitted.predict_proba(X), fitted.estimator_.predict_proba(X))
    assert fitted.classes_.tolist() == [0, 1]
    assert fitted.n_features_in_ == 4
    assert not hasattr(tb.safe(KNeighborsRegressor(10)), "predict_proba")
    assert pickle.loads(pickle.dumps(fitted)).changed() == []
    with pytest.raises(InputError, match="TB-SAFE-001"):
        made.predict(X)


def _tampered(made: Any) -> None:
    made.estimator_.tree_.value[0] += 0.25


CHANGES: dict[str, Any] = {
    "a parameter": (DecisionTreeClassifier, lambda m: m.estimator_.set_params(min_samples_leaf=7), "min_samples_leaf"),
    "a leaf": (DecisionTreeClassifier, _tampered, "what the model learnt"),
    "fitted again": (DecisionTreeClassifier, lambda m: m.estimator_.fit(X[:50], Y[:50]), "what the model learnt"),
    "a weight": (LogisticRegression, lambda m: m.estimator_.coef_.__setitem__((0, 0), 9.0), "what the model learnt"),
    "one tree": (GradientBoostingClassifier, lambda m: m.estimator_.estimators_.__setitem__((0, 0), None), "learnt"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_after_fit_is_noticed_and_ends_the_request(name: str) -> None:
    kind, change, told = CHANGES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = tb.safe(kind(random_state=0)).fit(X, Y)
    made.predict(X)
    assert made.changed() == []
    change(made)
    assert told in made.changed()[0]
    with pytest.raises(InputError, match=r"TB-SAFE-002.*fit it again"):
        made.request(pd.DataFrame(), pd.DataFrame())


def test_the_request_is_the_audit_of_the_model_and_names_the_broken_rule(tmp_path: Any) -> None:
    frame = pd.DataFrame(X, columns=[*"abcd"]).assign(label=Y)
    with pytest.warns(UserWarning, match="min_samples_leaf"):
        made = tb.safe(RandomForestClassifier(10, random_state=0)).fit(frame[:120][[*"abcd"]], Y[:120])
    done = made.request(frame[:120], frame[120:], **QUIET)
    told = next(f for f in done.result.findings if f.attack.name == "hyper_parameters")
    assert "min_samples_leaf should be 5 records or more" in told.plain
    done.write(tmp_path / "request")
    assert (tmp_path / "request" / "share" / "report.html").is_file()
