"""Shadow models of estimators from a cache: the same answers without a training, and never those of other models."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from testbed.core import Array, Cohort, Predictor, Regressor, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.subjects.predictors import kept
from testbed.subjects.predictors.estimator import SklearnRecipe
from testbed.subjects.predictors.fingerprint import fingerprint
from testbed.subjects.predictors.regression import Scale
from tests.conftest import ROOT

RNG = keyed_rng(0, "shadow cache")
PEOPLE = Cohort(RNG.normal(size=(80, 3)), RNG.integers(0, 2, 80), np.arange(80).astype(str))
OTHERS = Cohort(RNG.normal(size=(20, 3)), RNG.integers(0, 2, 20), np.arange(20).astype(str))
INCLUDED = np.stack([np.arange(80) % 2 == 0, np.arange(80) % 2 == 1])
FOREST = RandomForestClassifier(5, random_state=0).fit(PEOPLE.x, PEOPLE.y)


def shadows(recipe: SklearnRecipe, people: Cohort = PEOPLE, included: Array = INCLUDED, seed: int = 0) -> Any:
    return recipe.many(people, included, np.random.default_rng(seed))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever a forest is trained."""
    count: list[int] = []
    fit = RandomForestClassifier.fit

    def counted(self: Any, *given: Any, **more: Any) -> Any:
        count.append(1)
        return fit(self, *given, **more)

    monkeypatch.setattr(RandomForestClassifier, "fit", counted)
    return count


def test_a_second_run_trains_nothing_and_answers_alike(tmp_path: Path, trained: list[int]) -> None:
    without = shadows(SklearnRecipe(FOREST))
    first = shadows(SklearnRecipe(FOREST, cache=tmp_path))
    for model in first:
        model.ask(OTHERS)
    trained.clear()
    second = shadows(SklearnRecipe(FOREST, cache=tmp_path))
    for plain, one, other in zip(without, first, second, strict=True):
        for asked in (PEOPLE, OTHERS):
            assert (plain.ask(asked) == one.ask(asked)).all()
            assert (one.ask(asked) == other.ask(asked)).all()
    assert not trained


def test_a_kept_model_is_trained_when_it_is_asked_about_others(tmp_path: Path, trained: list[int]) -> None:
    shadows(SklearnRecipe(FOREST, cache=tmp_path))
    expected = [model.ask(OTHERS) for model in shadows(SklearnRecipe(FOREST))]
    trained.clear()
    one, _ = shadows(SklearnRecipe(FOREST, cache=tmp_path))
    assert (one.ask(OTHERS) == expected[0]).all()
    assert len(trained) == 1


def test_whatever_decides_what_a_model_learns_is_in_the_key(tmp_path: Path, trained: list[int]) -> None:
    shadows(SklearnRecipe(FOREST, cache=tmp_path))
    moved = Cohort(PEOPLE.x + 1e-9, PEOPLE.y, PEOPLE.persons)
    other = Cohort(PEOPLE.x, np.roll(PEOPLE.y, 1), PEOPLE.persons)
    deeper = RandomForestClassifier(6, random_state=0).fit(PEOPLE.x, PEOPLE.y)
    recipe = SklearnRecipe(FOREST, cache=tmp_path)
    changed: list[tuple[SklearnRecipe, Cohort, Array, int]] = [
        (recipe, moved, INCLUDED, 0),
        (recipe, other, INCLUDED, 0),
        (recipe, PEOPLE, np.roll(INCLUDED, 1, axis=1), 0),
        (recipe, PEOPLE, INCLUDED, 1),
        (SklearnRecipe(deeper, cache=tmp_path), PEOPLE, INCLUDED, 0),
        (SklearnRecipe(FOREST, cache=tmp_path, weighs=True), PEOPLE, INCLUDED, 0),
    ]
    for number, (again, people, included, seed) in enumerate(changed):
        trained.clear()
        try:
            shadows(again, people, included, seed)
        except Unavailable:  # negative weights
            assert again.weighs
        assert trained, number


def test_a_new_version_of_a_library_is_another_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    before = fingerprint(RandomForestClassifier())
    told = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "99" if name == "scikit-learn" else told(name))
    assert before is not None
    assert fingerprint(RandomForestClassifier()) not in (before, None)


def test_a_fingerprint_is_the_same_in_another_process() -> None:
    """Not so with Python's own hashes of texts."""
    code = (
        "from testbed.subjects.predictors.fingerprint import fingerprint as f\n"
        "from sklearn.ensemble import RandomForestClassifier as R\n"
        "import pandas as pd\n"
        "from testbed.subjects.predictors.columns import Coding\n"
        "t = pd.DataFrame({'a': ['x', 'y', None], 'b': [1, 2, 3]})\n"
        "print(f(R(5, class_weight={'a': 1, 'b': 2}), Coding.of({'members': t}, ['a', 'b']).given))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hashed},
        ).stdout.strip()
        for hashed in ("1", "2")
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 32


class Own(ClassifierMixin, BaseEstimator):
    """A user's own estimator, whose code may change between two runs."""

    def fit(self, x: Array, y: Array) -> Own:
        self.tree_ = DecisionTreeClassifier(random_state=0).fit(x, y)
        self.classes_ = self.tree_.classes_
        return self

    def predict_proba(self, x: Array) -> Array:
        return np.asarray(self.tree_.predict_proba(x))


def own_function(x: Array) -> Array:
    return x**2


@pytest.mark.parametrize(
    "made",
    [Own(), make_pipeline(FunctionTransformer(own_function), LogisticRegression())],
    ids=["estimator", "function"],
)
def test_models_of_code_that_may_change_are_trained_anew(made: Any, tmp_path: Path) -> None:
    made.fit(PEOPLE.x, PEOPLE.y)
    first = shadows(SklearnRecipe(made, cache=tmp_path))
    assert first[0].ask(PEOPLE).shape == (80, 2)
    assert not list(tmp_path.iterdir())
    assert fingerprint(made) is None


@pytest.mark.parametrize(
    "made", [make_pipeline(StandardScaler(), LogisticRegression()), HistGradientBoostingClassifier()]
)
def test_models_of_installed_packages_are_kept(made: Any) -> None:
    assert fingerprint(made) is not None


def test_errors_of_a_predicted_number_are_kept_too(tmp_path: Path) -> None:
    x = np.column_stack([PEOPLE.x, PEOPLE.x.sum(1)])
    people = Cohort(x, np.ones(80, np.int64), PEOPLE.persons)
    made = DecisionTreeRegressor(random_state=0, max_depth=3).fit(PEOPLE.x, x[:, -1])
    recipe = SklearnRecipe(made, scale=Scale(0.0, 1.0, 1.0), cache=tmp_path)
    first = [m for m in shadows(recipe, people) if isinstance(m, Regressor)]
    expected = [model.errors(people) for model in first]
    second = [m for m in shadows(recipe, people) if isinstance(m, Regressor)]
    assert len(second) == 2
    for model, errors in zip(second, expected, strict=True):
        assert (model.errors(people) == errors).all()


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    recipe = SklearnRecipe(FOREST, cache=tmp_path)
    expected = [model.ask(PEOPLE) for model in shadows(recipe)]
    for file in tmp_path.rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:-100])
    assert all((m.ask(PEOPLE) == e).all() for m, e in zip(shadows(recipe), expected, strict=True))


def test_a_model_is_asked_once_about_the_same_records() -> None:
    asked: list[int] = []

    def ask(people: Cohort) -> Array:
        asked.append(len(people))
        return np.tile(people.x[:, :1], 2)

    model = kept.kept(Predictor(ask, 2))
    for _ in range(3):
        assert (model.ask(PEOPLE)[:, 0] == PEOPLE.x[:, 0]).all()
        assert len(model.ask(PEOPLE.take(np.arange(5)))) == 5
        assert (model.ask(replace(PEOPLE, y=1 - PEOPLE.y))[:, 0] == PEOPLE.x[:, 0]).all()  # a model may look at them
    assert sorted(asked) == [5, 80, 80]
