"""Models that are trained on tables as they come: words, categories, gaps and dates (heart's own columns)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from testbed.core import Regressor
from testbed.core.errors import InputError
from testbed.data.datasets import load as datasets
from testbed.data.tables import files
from testbed.findings.schema import Estimate
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options
from testbed.subjects.predictors import copies, estimator, load
from testbed.subjects.predictors.subject import Subject

WORDS = ["sex", "cp", "restecg", "slope", "thal"]
NUMBERS = ["age", "trestbps", "chol", "thalch", "oldpeak", "ca"]


@cache
def heart() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Members and controls, as a CSV file gives them."""
    frame = datasets.load_table("heart").sample(frac=1, random_state=0).reset_index(drop=True)
    frame["ill"] = np.where(frame.num > 0, "yes", "no")
    days = pd.to_timedelta(np.random.default_rng(0).integers(0, 2000, len(frame)), "D")
    frame["visit"] = (pd.Timestamp("2015-01-01") + days).strftime("%Y-%m-%d")
    frame = frame[[*WORDS, *NUMBERS, "visit", "ill"]]
    return frame[:300].reset_index(drop=True), frame[300:600].reset_index(drop=True)


def as_read(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[*WORDS, *NUMBERS]]


def with_categories(frame: pd.DataFrame) -> pd.DataFrame:
    return as_read(frame).astype(dict.fromkeys(WORDS, "category"))


def with_texts(frame: pd.DataFrame) -> pd.DataFrame:
    return as_read(frame).astype(dict.fromkeys(WORDS, str))


def with_dates(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="ill").assign(visit=pd.to_datetime(frame.visit))


def seasons(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"month": frame.visit.dt.month, "age": frame.age})


def encoded() -> Any:
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return make_column_transformer((words, WORDS), (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS))


def ordinal() -> Any:
    words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer((words, make_column_selector(dtype_include=object)), remainder="passthrough")


def xgboost() -> Any:
    return pytest.importorskip("xgboost").XGBClassifier(n_estimators=10, enable_categorical=True)


def lightgbm() -> Any:
    return pytest.importorskip("lightgbm", reason="LightGBM is not installed").LGBMClassifier(
        n_estimators=10, verbose=-1
    )


def catboost() -> Any:
    return pytest.importorskip("catboost", reason="CatBoost is not installed").CatBoostClassifier(
        iterations=10, cat_features=WORDS, verbose=0, allow_writing_files=False
    )


Form = Callable[[pd.DataFrame], pd.DataFrame]
MODELS: dict[str, tuple[Callable[[], Any], Form]] = {
    "one-hot and imputer": (lambda: make_pipeline(encoded(), LogisticRegression(max_iter=500)), as_read),
    "selector and ordinal": (lambda: make_pipeline(ordinal(), HistGradientBoostingClassifier(max_iter=10)), as_read),
    "native categories": (lambda: HistGradientBoostingClassifier(max_iter=10), with_categories),
    "dates in a function": (
        lambda: make_pipeline(FunctionTransformer(seasons), LogisticRegression(max_iter=500)),
        with_dates,
    ),
    "xgboost": (xgboost, with_categories),
    "lightgbm": (lightgbm, with_categories),
    "catboost": (catboost, with_texts),
}


def labels(frame: pd.DataFrame, made: Any) -> Any:
    return (frame.ill == "yes").astype(int) if type(made).__module__.startswith("xgboost") else frame.ill


def audited(made: Any, label: str = "ill", weights: str | None = None, **more: Any) -> Subject:
    members, controls = (frame.assign(**{label: labels(frame, made)}, **more) for frame in heart())
    return load.from_estimator(made, {"members": members, "controls": controls}, label, None, weights)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_asked_about_the_columns_of_its_training_and_trained_again_on_them(name: str) -> None:
    build, form = MODELS[name]
    members, controls = heart()
    made = build()
    made.fit(form(members), labels(members, made))
    subject = audited(made)
    expected = made.predict_proba(form(controls))
    np.testing.assert_allclose(subject.model.ask(subject.controls), expected, atol=1e-6)
    assert isinstance(subject.recipe, estimator.SklearnRecipe)
    [again] = subject.recipe.many(subject.members, np.ones((1, 300), bool), np.random.default_rng(0))
    # Trained on the same people with the same parameters it is the same model, but for CatBoost's own seed.
    np.testing.assert_allclose(again.ask(subject.controls), expected, atol=1e-6 if name != "catboost" else 0.5)
    assert np.abs(again.ask(subject.controls) - expected).mean() < 0.1


def test_attacks_that_train_models_run_on_words_and_gaps() -> None:
    build, form = MODELS["one-hot and imputer"]
    made = build().fit(form(heart()[0]), heart()[0].ill)
    findings, _ = examine(audited(made), Options(shadows=4))
    measured = {f.attack.name for f in findings if isinstance(f.measure, Estimate)}
    assert {"rmia", "lira", "bavaria", "base", "reference_models", "shadow_attack_model"} <= measured
    assert {"label_noise", "class_inversion", "model_stealing", "model_attribute_inference"} <= measured
    assert {f.target for f in findings if f.attack.name == "model_attribute_inference"} >= {"sex"}


def test_a_search_is_trained_again_with_the_parameters_that_it_found() -> None:
    search = GridSearchCV(make_pipeline(encoded(), LogisticRegression(max_iter=500)), {"logisticregression__C": [0.01]})
    members, _ = heart()
    subject = audited(search.fit(as_read(members), members.ill))
    assert isinstance(subject.recipe, estimator.SklearnRecipe)
    assert not isinstance(subject.recipe.estimator, GridSearchCV)
    assert subject.recipe.estimator.get_params()["logisticregression__C"] == 0.01


def test_a_transformed_target_is_predicted_from_words_and_gaps() -> None:
    members, controls = heart()
    inner = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["sex", "cp"]), (SimpleImputer(), ["chol"])),
        RandomForestRegressor(5, random_state=0),
    )
    made = TransformedTargetRegressor(inner, func=np.log, inverse_func=np.exp)
    made.fit(members[["sex", "cp", "chol"]], members.age)
    frames = {"members": members, "controls": controls}
    subject = load.from_estimator(made, frames, "age", None)
    assert subject.features == ("sex", "cp", "chol", "chol is missing")
    expected = made.predict(controls)
    assert isinstance(subject.model, Regressor)
    assert subject.model.numbers is not None
    np.testing.assert_allclose(subject.model.numbers(subject.controls.x[:, :-1]), expected)


def test_weights_of_training_are_given_to_the_models_that_are_trained_again() -> None:
    members, _ = heart()
    weight = np.where(members.sex == "Male", 20.0, 0.1)
    made = make_pipeline(encoded(), LogisticRegression(max_iter=500))
    made.fit(as_read(members), members.ill, logisticregression__sample_weight=weight)
    subject = audited(made, weights="weight", weight=weight)
    assert isinstance(subject.recipe, estimator.SklearnRecipe)
    [again] = subject.recipe.many(subject.members, np.ones((1, 300), bool), np.random.default_rng(0))
    np.testing.assert_allclose(again.ask(subject.controls), subject.model.ask(subject.controls), atol=1e-6)


class Copying(ClassifierMixin, BaseEstimator):
    """A classifier that copies a parameter, so that scikit-learn's clone refuses it (as it does CatBoost)."""

    def __init__(self, columns: list[int] | None = None) -> None:
        self.columns = list(columns or [])

    def fit(self, x: Any, y: Any) -> Copying:
        self.tree_ = DecisionTreeClassifier(random_state=0).fit(np.asarray(x)[:, self.columns], y)
        self.classes_ = self.tree_.classes_
        return self

    def predict_proba(self, x: Any) -> Any:
        return self.tree_.predict_proba(np.asarray(x)[:, self.columns])


class Knowing(Copying):
    """A classifier whose copies have learnt what the first one learnt."""

    def __init__(self, columns: list[int] | None = None) -> None:
        super().__init__(columns)
        self.__dict__.update(KNOWN)


KNOWN: dict[str, Any] = {}


def coin() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(100, 3)), rng.integers(0, 2, 100)


def test_a_model_that_clone_refuses_is_made_anew_from_its_parameters() -> None:
    x, y = coin()
    made = Copying([0, 2]).fit(x, y)
    assert copies.retrainable(made, x)
    assert copies.untrained(made).columns == [0, 2]


def test_a_model_whose_copies_answer_before_training_is_not_trained_again() -> None:
    x, y = coin()
    made = Knowing([0, 2]).fit(x, y)
    KNOWN.update(made.__dict__)
    assert not copies.retrainable(made, x)
    KNOWN.clear()


def test_what_a_model_says_of_itself_is_not_believed() -> None:
    """CatBoost, read from a file, says that it was trained on no column."""
    x, y = coin()
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(label=y)
    made = Copying([0, 1, 2]).fit(x, y)
    for own in ({"n_features_in_": 0}, {"feature_names_": ["0", "1", "2"]}):
        made.__dict__.update(own)
        subject = load.from_estimator(made, {"members": frame[:50], "controls": frame[50:]}, "label", None)
        assert subject.model.ask(subject.members).shape == (50, 2)
    made.classes_ = np.arange(3)
    with pytest.raises(InputError, match="TB-SUBJECT-040"):
        load.from_estimator(made, {"members": frame[:50], "controls": frame[50:]}, "label", None)


def test_labels_that_are_empty_or_unknown_are_told_apart_and_their_column_is_named() -> None:
    x, y = coin()
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(outcome=y.astype(float))
    made = Copying([0, 1, 2]).fit(x, y)
    for written, told in ((np.nan, "column outcome, are empty"), (7.0, "column outcome, are not among")):
        controls = frame[50:].reset_index(drop=True)
        controls.loc[3, "outcome"] = written
        with pytest.raises(InputError, match=told):
            load.from_estimator(made, {"members": frame[:50], "controls": controls}, "outcome", None)


def test_a_model_that_cannot_read_words_has_their_columns_named() -> None:
    members, controls = heart()
    made = LogisticRegression(max_iter=500).fit(members[NUMBERS].fillna(0), members.ill)
    made.feature_names_in_ = np.array([*NUMBERS, *WORDS])
    made.n_features_in_ = len(made.feature_names_in_)
    with pytest.raises(InputError, match=f"words, dates or categories: {WORDS[0]}, "):
        load.from_estimator(made, {"members": members, "controls": controls}, "ill", None)


def questionnaire(n: int, seed: int) -> pd.DataFrame:
    """Answers "1" to "5" as texts, with a gap, beside a count that is a number."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"q{i}": rng.integers(1, 6, n).astype(str).astype(object) for i in range(4)})
    frame.loc[:4, "q0"] = np.nan
    return frame.assign(visits=rng.integers(0, 5, n), ill=rng.integers(0, 2, n))


@pytest.mark.parametrize("from_csv", [True, False])
def test_digits_that_were_texts_in_training_are_given_as_texts(from_csv: bool, tmp_path: Path) -> None:
    """A CSV file does not say it, and Parquet does; the encoder knows it in both cases."""
    members, controls = questionnaire(200, 1), questionnaire(200, 2)
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    made = make_pipeline(
        make_column_transformer((words, [f"q{i}" for i in range(4)]), remainder="passthrough"),
        RandomForestClassifier(10, random_state=0),
    ).fit(members.drop(columns="ill"), members.ill)
    expected = made.predict_proba(controls.drop(columns="ill"))
    frames = {"members": members, "controls": controls}
    if from_csv:
        for role, frame in frames.items():
            frame.to_csv(tmp_path / f"{role}.csv", index=False)
        frames = {role: files.read_file(tmp_path / f"{role}.csv", role, None) for role in frames}
    subject = load.from_estimator(made, frames, "ill", None)
    np.testing.assert_allclose(subject.model.ask(subject.controls), expected)
    assert isinstance(subject.recipe, estimator.SklearnRecipe)
    [again] = subject.recipe.many(subject.members, np.ones((1, 200), bool), np.random.default_rng(0))
    assert again.ask(subject.controls).shape == (200, 2)


def test_the_form_of_a_model_that_learnt_by_heart_is_found() -> None:
    """It is sure of wrong classes of controls. Words as categories that it does not know would give half and half."""

    def table(seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        codes = {f"code{i}": [f"0{c}" for c in rng.integers(1, 9, 200)] for i in range(4)}
        return pd.DataFrame(codes).astype(object).assign(ill=rng.integers(0, 2, 200))

    members, controls = table(1), table(2)
    made = make_pipeline(OneHotEncoder(handle_unknown="ignore"), DecisionTreeClassifier(random_state=0))
    made.fit(members.drop(columns="ill"), members.ill)
    subject = load.from_estimator(made, {"members": members, "controls": controls}, "ill", None)
    np.testing.assert_allclose(subject.model.ask(subject.controls), made.predict_proba(controls.drop(columns="ill")))


def test_a_label_that_was_in_the_table_given_to_fit_is_ignored_if_the_model_ignores_it() -> None:
    """`fit(frame, frame.ill)` with a transformer that picks columns: scikit-learn names all of them as inputs."""
    members, controls = heart()
    picked = make_column_transformer((SimpleImputer(), NUMBERS))
    made = make_pipeline(picked, RandomForestClassifier(5, random_state=0)).fit(members, members.ill)
    frames = {"members": members, "controls": controls}
    subject = load.from_estimator(made, frames, "ill", None)
    np.testing.assert_allclose(subject.model.ask(subject.controls), made.predict_proba(controls))
    assert isinstance(subject.recipe, estimator.SklearnRecipe)
    [again] = subject.recipe.many(subject.members, np.ones((1, 300), bool), np.random.default_rng(0))
    assert again.ask(subject.controls).shape == (300, 2)
    with pytest.raises(InputError, match="TB-SUBJECT-031"):
        load.from_estimator(made, frames, "age", None)


def test_a_model_of_one_column_of_texts_gets_the_column_itself() -> None:
    def notes(seed: int) -> pd.DataFrame:
        words = np.random.default_rng(seed).choice(["pain", "fever", "cough", "well", "tired"], (80, 3))
        return pd.DataFrame({"note": [" ".join(w) for w in words], "ill": words[:, 0] == "pain"})

    members, controls = notes(1), notes(2)
    made = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(members.note, members.ill)
    subject = load.from_estimator(made, {"members": members, "controls": controls}, "ill", None)
    np.testing.assert_allclose(subject.model.ask(subject.controls), made.predict_proba(controls.note))
    assert subject.notes["given_as"] == "a column of texts"
    assert isinstance(subject.recipe, estimator.SklearnRecipe)
    [again] = subject.recipe.many(subject.members, np.ones((1, 80), bool), np.random.default_rng(0))
    np.testing.assert_allclose(again.ask(subject.controls), made.predict_proba(controls.note), atol=1e-6)
