"""Forests answer tree by tree as their own `predict_proba` does, to the bit; everything else is left to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier

from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.subjects.predictors.estimator import sklearn_predictor
from testbed.subjects.predictors.forests import forest_probabilities

RNG = keyed_rng(0, "forests")
X, Y = RNG.normal(size=(300, 6)), RNG.integers(0, 4, 300)
NAMED = pd.DataFrame(X, columns=pd.Index(list("abcdef"))).assign(f=RNG.integers(0, 9, 300))


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
@pytest.mark.parametrize("table", [X, X.astype(np.float32), np.asfortranarray(X), NAMED])
@pytest.mark.parametrize("jobs", [None, 1])
def test_the_answers_are_those_of_the_forest_to_the_bit(kind: Any, table: Any, jobs: int | None) -> None:
    made = kind(25, random_state=0, n_jobs=jobs).fit(table, np.array(list("wxyz"))[Y])
    said = forest_probabilities(made, table)
    assert said is not None
    assert said.tobytes() == made.predict_proba(table).tobytes()


def test_models_and_tables_that_scikit_learn_should_check_are_left_to_it() -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(NAMED, Y)
    gaps = NAMED.assign(a=np.nan)
    for table in (X, NAMED[list("fedcba")], gaps, NAMED.assign(a="word"), NAMED.iloc[:0], NAMED.assign(a=1e300)):
        assert forest_probabilities(forest, table) is None
    assert forest_probabilities(RandomForestRegressor(5).fit(X, Y), X) is None
    assert forest_probabilities(DecisionTreeClassifier().fit(X, Y), X) is None
    assert forest_probabilities(RandomForestClassifier(5).fit(X, np.column_stack([Y, Y])), X) is None


def test_records_of_another_width_are_refused_as_before() -> None:
    from testbed.core import Cohort

    model = sklearn_predictor(RandomForestClassifier(5, random_state=0).fit(X, Y))
    narrow = Cohort(X[:, :4], Y, np.arange(len(Y)).astype(str))
    with pytest.raises(InputError, match="trained on 6 columns"):
        model.ask(narrow)
