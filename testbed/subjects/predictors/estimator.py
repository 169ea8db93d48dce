"""scikit-learn estimators under audit: read from files, asked for predictions, and trained again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from testbed.core import Act, Array, Cohort, Predictor, Regressor, Unavailable
from testbed.core.errors import InputError, UsageError
from testbed.subjects.predictors.people import probabilities
from testbed.subjects.predictors.regression import CLASSES, Predict, Scale, as_regressor, inputs_and_truth, one_each

if TYPE_CHECKING:
    pass


def estimator(path: Path) -> Any:
    """A fitted scikit-learn estimator from a joblib or pickle file. Loading runs its code: only for trusted files.

    Raises `UsageError` if there is no file, `InputError` if it cannot be loaded or holds another kind of object.
    """
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
            "Write it again with joblib.dump, or give its predictions with --predictions.",
        ) from None
    if not classifies(made) and not _is_regressor(made):
        raise InputError(
            "TB-SUBJECT-012",
            "The model gives no class probabilities, and it is not a regressor.",
            "Membership is inferred from its confidence (predict_proba), or from the error of its predicted number.",
            "Use a classifier with predict_proba; for an SVC that is probability=True.",
        )
    return made


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


def _is_regressor(made: Any) -> bool:
    from sklearn.base import is_regressor

    try:
        return bool(is_regressor(made))
    except (AttributeError, TypeError):  # not an estimator at all
        return False


def sklearn_predictor(made: Any) -> Predictor:
    """A fitted classifier as a predictor of class probabilities."""
    return Predictor(lambda people: _asked(made, people.x), len(made.classes_))


def sklearn_numbers(made: Any) -> Predict:
    """A function from inputs (n, features) to a regressor's predictions (n,); raises `InputError` for wrong inputs."""
    return lambda x: one_each(_answered(made, x, made.predict))


def named(made: Any, x: Array) -> Any:
    """Records in the form used in training: a pandas table with column names, if the estimator knows them."""
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
        "They have other columns, or other kinds of values, than in training.",
        "Give the columns used in training, and name the label with --label.",
    )
    if getattr(made, "n_features_in_", x.shape[1]) != x.shape[1]:
        raise bad
    try:
        return np.asarray(ask(named(made, x)), dtype=np.float64)
    except Exception:  # an estimator of another version, or a step of a pipeline, may raise anything
        raise bad from None


def retrainable(made: Any) -> bool:
    """Whether copies of this estimator start untrained. A frozen part keeps what it has learnt about its people."""
    from sklearn.base import clone

    held = [made, *made.get_params().values()] if hasattr(made, "get_params") else []
    return not any(hasattr(part, "fit") and clone(part) is part for part in held if not isinstance(part, type))


def _unstopped(fresh: Any, trained: Any) -> Any:
    """A copy of a boosting model without early stopping, with as many rounds as the audited model was stopped at.

    Early stopping needs held-out people, which a copy does not have. Other models are returned unchanged.
    """
    best = getattr(trained, "best_iteration", None) if hasattr(fresh, "early_stopping_rounds") else None
    if best is None or fresh.early_stopping_rounds is None:
        return fresh
    return fresh.set_params(early_stopping_rounds=None, n_estimators=int(best) + 1)


NO_ANSWER = Unavailable("cannot_retrain", "models of half of the people that answer about all of them")


@dataclass(frozen=True, slots=True)
class SklearnRecipe:
    """A recipe that trains copies of an estimator, with its hyper-parameters; `workers` of them at once, in threads.

    For a regressor, `scale` says how the numbers are stored in records.
    """

    estimator: Any
    workers: int = 2
    scale: Scale | None = None

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return self.many(people, np.ones((1, len(people)), bool), rng)[0]

    def many(self, people: Cohort, included: Array, rng: np.random.Generator) -> list[Predictor]:
        """A model for each row of `included` (models, n), trained on the people that the row marks.

        Raises `Unavailable` if a model cannot be trained.
        """
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
                seen, labels = np.unique(labels, return_inverse=True)  # class numbers must have no gaps
                if len(seen) == 2:
                    fresh.set_params(objective="binary:logistic")
            return fresh.fit(named(self.estimator, x[rows]), labels)

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as a solver that stops early, as for the audited model
                fitted: Any = joblib.Parallel(self.workers, prefer="threads")(
                    joblib.delayed(fit)(*pair) for pair in zip(ready, included, strict=True)
                )
        except Exception:
            raise Unavailable("cannot_retrain", "a model that can be trained again on half of the people") from None
        return [self._predictor(made, np.unique(people.y[rows])) for made, rows in zip(fitted, included, strict=True)]

    def _predictor(self, made: Any, seen: Array) -> Predictor:
        scale = self.scale
        if scale is not None:
            known = as_regressor(sklearn_numbers(made), scale)
            return Regressor(_or_no_answer(known.ask), CLASSES, _or_no_answer(known.errors))
        total = len(self.estimator.classes_)

        def ask(asked: Cohort) -> Array:
            said = np.zeros((len(asked), total))
            try:
                said[:, seen] = _asked(made, asked.x)  # a class without training records has probability 0
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
