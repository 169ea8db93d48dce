"""scikit-learn estimators under audit: asked for predictions, and trained again."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from testbed.core import Act, Array, Cohort, Predictor, Regressor, Unavailable
from testbed.core.errors import InputError, UsageError
from testbed.core.threads import one_thread
from testbed.subjects.predictors.columns import Given
from testbed.subjects.predictors.copies import quiet, unstopped, untrained, weighted
from testbed.subjects.predictors.fingerprint import fingerprint
from testbed.subjects.predictors.forests import forest_probabilities
from testbed.subjects.predictors.kept import digest_of, is_kept, kept
from testbed.subjects.predictors.outcomes import Outcome
from testbed.subjects.predictors.people import probabilities
from testbed.subjects.predictors.regression import CLASSES, Predict, Scale, as_regressor, inputs_and_truth, one_each


def existing(path: Path, what: str) -> None:
    """Raises `UsageError` if there is no file at this path."""
    if not path.is_file():
        raise UsageError(
            "TB-SUBJECT-032", f"The {what} file does not exist.", f"{path} was not found.", "Check the path."
        )


def classifies(made: Any) -> bool:
    """Whether it gives the probabilities of one set of classes, as scikit-learn's classifiers do."""
    known = getattr(made, "classes_", None)
    return hasattr(made, "predict_proba") and known is not None and not any(np.ndim(c) for c in known)


def regresses(made: Any) -> bool:
    """Whether it predicts a number, as scikit-learn's regressors do."""
    from sklearn.base import is_regressor

    try:
        return bool(is_regressor(made))
    except (AttributeError, TypeError):  # not an estimator at all
        return False


def input_names(made: Any, columns: Sequence[str]) -> list[str] | None:
    """The names of the model's inputs, if it says so and a table with these columns has at least one of them.

    CatBoost and LightGBM name the columns of arrays by numbers, so names are not believed that no table has.
    """
    for attribute in ("feature_names_in_", "feature_names_"):
        try:
            names = [str(n) for n in getattr(made, attribute)]
        except Exception:  # boosters and pipelines may raise anything
            continue
        if names and set(names) & set(columns):
            return names
    return None


def native_categories(made: Any, names: Sequence[str]) -> set[str]:
    """The inputs that a boosting model says it was given as `category` columns. LightGBM and XGBoost say so."""
    try:
        if hasattr(made, "booster_"):
            text = made.booster_.model_to_string(num_iteration=1)
            line = next(line for line in text.splitlines() if line.startswith("feature_infos="))
            infos = line.partition("=")[2].split(" ")
            found = [i[:1] not in ("[", "n") for i in infos] if made.booster_.pandas_categorical else []
        else:
            found = [t == "c" for t in made.get_booster().feature_types or ()]
    except Exception:  # not such a booster, or not fitted
        return set()
    return {n for n, is_category in zip(names, found, strict=False) if is_category}


def sklearn_predictor(made: Any, given: Given | None = None) -> Predictor:
    """A fitted classifier as a predictor of class probabilities. `given` makes of records what the model takes."""
    made = Asked(made, given or partial(named, made))
    return Predictor(lambda people: made.probabilities(people.x), len(made.model.classes_))


def sklearn_numbers(made: Any, given: Given | None = None) -> Predict:
    """A function from inputs (n, features) to a regressor's predictions (n,); raises `InputError` for wrong inputs."""
    made = Asked(made, given or partial(named, made))
    return lambda x: one_each(made.answered(x, made.model.predict))


def named(made: Any, x: Array) -> Any:
    """Records in the form used in training: a pandas table with column names, if the estimator knows them."""
    names = getattr(made, "feature_names_in_", None)
    return x if names is None or len(names) != x.shape[1] else pd.DataFrame(x, columns=names)


@dataclass(frozen=True, slots=True)
class Asked:
    """A fitted model, and what it is given for coded records."""

    model: Any
    given: Given

    def probabilities(self, x: Array) -> Array:
        """Class probabilities (n, classes). Raises `InputError` for wrong inputs, or if they are no probabilities."""
        said = self.answered(x, self._probabilities)
        if said.shape != (len(x), len(self.model.classes_)):
            raise InputError(
                "TB-SUBJECT-040",
                f"The model names {len(self.model.classes_)} classes, and its answers do not have one column for each.",
                "The true class would be looked up in a wrong column.",
                "Give a model whose classes_ belong to its predict_proba, or its --predictions.",
            )
        probabilities(said)
        return said

    def _probabilities(self, given: Any) -> Any:
        said = forest_probabilities(self.model, given)
        return self.model.predict_proba(given) if said is None else said

    def answered(self, x: Array, ask: Callable[[Any], Any]) -> Array:
        """The answers of one of the model's methods. Raises `InputError` if it does not take these records."""
        try:
            with warnings.catch_warnings():
                warnings.resetwarnings()  # forests copy all filters for each of their trees
                warnings.simplefilter("ignore")
                return np.asarray(ask(self.given(x)), dtype=np.float64)
        except Exception as error:  # an estimator of another version, or a step of a pipeline, may raise anything
            raise self._refused(x, error) from None

    def _refused(self, x: Array, error: Exception) -> InputError:
        own = getattr(self.model, "n_features_in_", 0)
        counted = isinstance(own, int | np.integer) and own > 0 and own != x.shape[1]
        columns = f"It was trained on {own} columns, and these records have {x.shape[1]}. " if counted else ""
        return InputError(
            "TB-SUBJECT-013",
            "The model does not take these records.",
            f"{columns}{self._of_words(x)}It stopped with {type(error).__name__}: they may have other columns, or "
            "other kinds of values, than in training.",
            "Give the columns used in training, as they were given to fit, and name the label with --label.",
        )

    def _of_words(self, x: Array) -> str:
        """Which columns hold words, where the records are a table: what most models cannot read."""
        try:
            given = self.given(x)
        except Exception:  # the records themselves cannot be made into what the model takes
            return ""
        if not isinstance(given, pd.DataFrame):
            return ""
        worded = [str(c) for c in given.columns if not pd.api.types.is_numeric_dtype(given[c])][:5]
        return f"These columns hold words, dates or categories: {', '.join(worded)}. " if worded else ""


NO_ANSWER = Unavailable("cannot_retrain", "models of half of the people that answer about all of them")


@dataclass(frozen=True, slots=True)
class Lessons:
    """What copies of a model learn from: people, what `fit` is given for them, and their labels or numbers."""

    people: Cohort
    given: Any
    labels: Array


def rows_of(table: Any, rows: Array) -> Any:
    """These rows (n,) bool of a table or an array."""
    return table[rows].reset_index(drop=True) if isinstance(table, pd.DataFrame | pd.Series) else table[rows]


@dataclass(frozen=True, slots=True)
class SklearnRecipe:
    """A recipe that trains copies of an estimator, with its hyper-parameters; `workers` of them at once, in threads.

    For a regressor, `scale` says how the numbers are stored in records. A `cache` folder keeps the answers of the
    models under a fingerprint of everything that decides what they learn.
    """

    estimator: Any
    workers: int = os.cpu_count() or 1
    scale: Scale | None = None
    given: Given | None = None
    """What the model is given for records; by default numbers, with the names of training."""
    weighs: bool = False
    """Whether each record's last number before the truth is its weight in training."""
    cache: Path | None = None
    progress: Callable[[int, int], None] = lambda _, __: None
    outcome: Outcome | None = None
    """What the model predicts, if that is neither a class nor one number."""

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return self.many(people, np.ones((1, len(people)), bool), rng)[0]

    def many(self, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
        """A model for each row of `included` (models, n), trained on the people that the row marks.

        With a cache, a model whose answers about these people are kept is trained only if it is asked about others.
        Raises `Unavailable` if a model cannot be trained.
        """
        import joblib

        lessons = self._lessons(people)
        ready = [unstopped(quiet(untrained(self.estimator), rng), self.estimator) for _ in included]
        work = (joblib.delayed(self._shadow)(fresh, lessons, r) for fresh, r in zip(ready, included, strict=True))
        made: list[Predictor] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as a solver that stops early, as for the audited model
            for model in joblib.Parallel(self.workers, prefer="threads", return_as="generator")(work):
                made.append(cast(Predictor, model))
                self.progress(len(made), len(included))
        return made

    def _lessons(self, people: Cohort) -> Lessons:
        given = self.given or partial(named, self.estimator)
        if self.outcome is not None:
            held = self.outcome.held
            return Lessons(people, given(people.x[:, :-held]), self.outcome.labels(people.x[:, -held:]))
        if self.scale is None:
            return Lessons(people, given(people.x), np.asarray(self.estimator.classes_)[people.y])
        x, kept_ = inputs_and_truth(people)
        return Lessons(people, given(x), self.scale.numbers(kept_))

    def _shadow(self, fresh: Any, lessons: Lessons, rows: Array) -> Predictor:
        """One model, trained on these rows (n,) bool, or read from the cache."""
        folder = self._folder(fresh, lessons, rows)
        if folder is not None and is_kept(folder, lessons.people):
            return kept(self._when_asked(fresh, lessons, rows), folder)
        model = kept(self._trained(fresh, lessons, rows), folder)
        if folder is not None:
            model.ask(lessons.people)  # so that an interrupted run has this model
        return model

    def _folder(self, fresh: Any, lessons: Lessons, rows: Array) -> Path | None:
        if self.cache is None:
            return None
        people, names = lessons.people, getattr(self.estimator, "feature_names_in_", None)
        how = (fresh, self.given or names, self.scale or self.outcome, self.weighs, self._classes())
        key = fingerprint(*how, digest_of(people.x[rows]), digest_of(people.y[rows]))
        return None if key is None else self.cache / key

    def _trained(self, fresh: Any, lessons: Lessons, rows: Array) -> Predictor:
        labels = lessons.labels[rows]
        held = self.outcome.held if self.outcome is not None else int(self.scale is not None)
        weights = weighted(fresh, lessons.people.x[rows, -1 - held]) if self.weighs else {}
        try:
            with one_thread():
                if not held and type(fresh).__module__.startswith("xgboost"):
                    seen, labels = np.unique(labels, return_inverse=True)  # class numbers must have no gaps
                    if len(seen) == 2:
                        fresh.set_params(objective="binary:logistic")
                made = fresh.fit(rows_of(lessons.given, rows), labels, **weights)
                made = fresh if made is None else made  # some estimators forget to return themselves
        except Exception:
            raise Unavailable("cannot_retrain", "a model that can be trained again on half of the people") from None
        if self.outcome is not None:
            try:
                view = self.outcome.view(self._told(made, self.outcome, lessons.people))
            except InputError:
                raise NO_ANSWER from None
            return replace(view, **{name: _or_no_answer(getattr(view, name)) for name in view.ANSWERS})
        return self._predictor(made, np.unique(lessons.people.y[rows]))

    def _told(self, made: Any, outcome: Outcome, known: Cohort) -> Predict:
        return told(Asked(made, self.given or partial(named, made)), outcome, known)

    def _classes(self) -> list[Any]:
        return [] if self.outcome is not None else list(getattr(self.estimator, "classes_", ()))

    def _when_asked(self, fresh: Any, lessons: Lessons, rows: Array) -> Predictor:
        """The model, which is trained when it is asked for the first time."""
        model = once(lambda: self._trained(fresh, lessons, rows))
        if self.outcome is not None:
            return self.outcome.when_asked(model)
        if self.scale is None:
            return Predictor(lambda people: model().ask(people), len(self.estimator.classes_))

        def errors(people: Cohort) -> Array:
            return cast(Regressor, model()).errors(people)

        return Regressor(lambda people: model().ask(people), CLASSES, errors)

    def _predictor(self, made: Any, seen: Array) -> Predictor:
        scale = self.scale
        if scale is not None:
            known = as_regressor(sklearn_numbers(made, self.given), scale)
            return Regressor(_or_no_answer(known.ask), CLASSES, _or_no_answer(known.errors))
        total = len(self.estimator.classes_)
        answering = Asked(made, self.given or partial(named, made))

        def ask(asked: Cohort) -> Array:
            said = np.zeros((len(asked), total))
            try:
                said[:, seen] = answering.probabilities(asked.x)  # a class without training records has probability 0
            except InputError:
                raise NO_ANSWER from None
            return said

        return Predictor(ask, total)


def told(asked: Asked, outcome: Outcome, known: Cohort) -> Predict:
    """All that a model says about inputs (n, features), as its outcome reads it with the help of the people known."""
    method = outcome.method(asked.model)
    return outcome.told(lambda x: asked.answered(x, method), known)


def _or_no_answer(asked: Callable[[Any], Array]) -> Callable[[Any], Array]:
    def ask(people: Any) -> Array:
        try:
            return asked(people)
        except InputError:
            raise NO_ANSWER from None

    return ask
