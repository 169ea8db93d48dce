"""Models under audit, read from files, and more of their kind: a scikit-learn estimator, or a torch module."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from testbed.core import Act, Array, Cohort, Predictor, Unavailable
from testbed.core.errors import InputError, UsageError
from testbed.subjects.predictors.people import probabilities
from testbed.subjects.predictors.regression import CLASSES, Predict, Scale, as_predictor, inputs_and_truth, one_each

if TYPE_CHECKING:
    pass


def estimator(path: Path) -> Any:
    """A fitted scikit-learn estimator from a joblib or pickle file, which runs code: only files one trusts."""
    import joblib

    existing(path, "model")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = joblib.load(path)
    except Exception:
        raise InputError(
            "TB-SUBJECT-011",
            f"The model file {path.name} cannot be loaded.",
            "It must be a fitted scikit-learn estimator written by joblib or pickle, with this version or a near one.",
            "Write it anew with joblib.dump, or give its predictions with --predictions.",
        ) from None
    if not classifies(made) and not _is_regressor(made):
        raise InputError(
            "TB-SUBJECT-012",
            "The model gives no class probabilities, and is no regressor.",
            "Membership is read from the confidence (predict_proba) or the error of one prediction a record.",
            "Use a classifier with predict_proba; for an SVC that is probability=True.",
        )
    return made


def existing(path: Path, what: str) -> None:
    if not path.is_file():
        raise UsageError(
            "TB-SUBJECT-032", f"The {what} file does not exist.", f"Nothing is at {path}.", "Check the path."
        )


def classifies(made: Any) -> bool:
    """Does it give the probabilities of one set of classes, as scikit-learn's classifiers do?"""
    known = getattr(made, "classes_", None)
    return hasattr(made, "predict_proba") and known is not None and not any(np.ndim(c) for c in known)


def _is_regressor(made: Any) -> bool:
    from sklearn.base import is_regressor

    try:
        return bool(is_regressor(made))
    except (AttributeError, TypeError):  # it is no estimator at all
        return False


def sklearn_predictor(made: Any) -> Predictor:
    return Predictor(lambda people: _asked(made, people.x), len(made.classes_))


def sklearn_numbers(made: Any) -> Predict:
    """What a regressor predicts (n,) for inputs (n, features). Raises `InputError` for inputs that it does not take."""
    return lambda x: one_each(_answered(made, x, made.predict))


def named(made: Any, x: Array) -> Any:
    """Records as the estimator was given them in training: with column names, if it knows any."""
    names = getattr(made, "feature_names_in_", None)
    return x if names is None else pd.DataFrame(x, columns=names)


def _asked(made: Any, x: Array) -> Array:
    said = _answered(made, x, made.predict_proba)
    probabilities(said)
    return said


def _answered(made: Any, x: Array, ask: Callable[[Any], Any]) -> Array:
    bad = InputError(
        "TB-SUBJECT-013",
        "The model does not take these records.",
        "They have other columns, or other kinds of values, than it was trained on.",
        "Give the columns of training, and name the label with --label.",
    )
    if getattr(made, "n_features_in_", x.shape[1]) != x.shape[1]:
        raise bad
    try:
        return np.asarray(ask(named(made, x)), dtype=np.float64)
    except Exception:  # whatever a pickle of another version, or a step of a pipeline, may raise
        raise bad from None


def retrainable(made: Any) -> bool:
    """Are copies of this estimator new ones? A part that is frozen keeps what it has learnt of its people."""
    from sklearn.base import clone

    held = [made, *made.get_params().values()] if hasattr(made, "get_params") else []
    return not any(hasattr(part, "fit") and clone(part) is part for part in held if not isinstance(part, type))


def _unstopped(fresh: Any, trained: Any) -> Any:
    """Boosting that was stopped early on held-out people is trained anew for as many rounds, without such people."""
    best = getattr(trained, "best_iteration", None) if hasattr(fresh, "early_stopping_rounds") else None
    if best is None or fresh.early_stopping_rounds is None:
        return fresh
    return fresh.set_params(early_stopping_rounds=None, n_estimators=int(best) + 1)


NO_ANSWER = Unavailable("cannot_retrain", "models of half of the people that answer about all of them")


@dataclass(frozen=True, slots=True)
class SklearnRecipe:
    """Trains copies of an estimator, with its hyper-parameters, on people given; several at once in threads.

    Of a regressor `scale` says how numbers are kept.
    """

    estimator: Any
    workers: int = 2
    scale: Scale | None = None

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return self.many(people, np.ones((1, len(people)), bool), rng)[0]

    def many(self, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
        """A model for each row of `included` (models, n). Raises `Unavailable` where one cannot be trained."""
        import joblib
        from sklearn.base import clone

        ready: list[Any] = []
        for _ in included:
            fresh: Any = _unstopped(clone(self.estimator), self.estimator)
            seeds = [k for k in fresh.get_params() if k == "random_state" or k.endswith("__random_state")]
            ready.append(fresh.set_params(**{k: int(rng.integers(2**31)) for k in seeds}))

        if self.scale is None:
            x, y = people.x, np.asarray(self.estimator.classes_)[people.y]
        else:
            x, kept = inputs_and_truth(people)
            y = self.scale.numbers(kept)

        def fit(fresh: Any, rows: Array) -> Any:
            labels = y[rows]
            if self.scale is None and type(fresh).__module__.startswith("xgboost"):
                found, labels = np.unique(labels, return_inverse=True)  # it takes no gaps among class numbers
                if len(found) == 2:
                    fresh.set_params(objective="binary:logistic")
            return fresh.fit(named(self.estimator, x[rows]), labels)

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a solver stopped early is the audited model's affair
                fitted: Any = joblib.Parallel(self.workers, prefer="threads")(
                    joblib.delayed(fit)(*pair) for pair in zip(ready, included, strict=True)
                )
        except Exception:
            raise Unavailable("cannot_retrain", "a model that can be trained again on half of the people") from None
        return [self._predictor(made, np.unique(people.y[rows])) for made, rows in zip(fitted, included, strict=True)]

    def _predictor(self, made: Any, seen: Array) -> Predictor:
        scale = self.scale
        if scale is not None:
            known = as_predictor(sklearn_numbers(made), scale)
            assert known.errors is not None
            return Predictor(_or_no_answer(known.ask), CLASSES, errors=_or_no_answer(known.errors))
        total = len(self.estimator.classes_)

        def ask(asked: Cohort) -> Array:
            said = np.zeros((len(asked), total))
            try:
                said[:, seen] = _asked(made, asked.x)  # a class not drawn has probability 0
            except InputError:
                raise NO_ANSWER from None
            return said

        return Predictor(ask, total)


def _or_no_answer(asked: Callable[[Cohort], Array]) -> Callable[[Cohort], Array]:
    def ask(people: Cohort) -> Array:
        try:
            return asked(people)
        except InputError:
            raise NO_ANSWER from None

    return ask


# --- torch ----------------------------------------------------------------------------------------------
