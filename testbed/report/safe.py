"""An estimator that carries the rules against storing people, notices changes after fit, and asks for its release."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils.metaestimators import available_if

from testbed.core.errors import InputError
from testbed.harness.model import structure

if TYPE_CHECKING:
    import pandas as pd

    from testbed.report.finished import Finished

PROBED = 5
"""Records that the model is asked about after fit, to see whether asking alone changes what it holds."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A hyper-parameter outside its rule: its name as in `get_params`, its value, and what it should be, in words."""

    name: str
    value: Any
    wanted: str

    def __str__(self) -> str:
        return f"{self.name} is {self.value!r} and should be {self.wanted}"


def _has(name: str) -> Any:
    def check(self: Safe) -> bool:
        return hasattr(getattr(self, "estimator_", self.estimator), name)

    return check


class Safe(MetaEstimatorMixin, BaseEstimator):
    """An estimator under the rules of its kind (after SACRO-ML's SafeModel; Preen and Smith 2025, arXiv 2502.09396).

    It is fitted and asked as the estimator itself, also in pipelines and searches. Before `fit` it warns of
    hyper-parameters that let single records be stored, in all models inside the estimator; with `tighten` it changes
    them to the nearest allowed value. After `fit` it notices parameters or content that were changed since. `request`
    audits the model for its release. Save `estimator_` for others: it needs no testbed.
    """

    def __init__(self, estimator: Any, *, tighten: bool = False) -> None:
        self.estimator = estimator
        self.tighten = tighten

    def broken(self, people: int = 10**9) -> list[Broken]:
        """The rules that the hyper-parameters break; `people` is the number of records that shares are taken of."""
        return list(_broken(getattr(self, "estimator_", self.estimator), people))

    def fit(self, X: Any, y: Any = None, **more: Any) -> Safe:
        """Fit a clone of the estimator. Warns of the rules that its hyper-parameters break, or changes them."""
        made: Any = clone(self.estimator)
        if broken := list(_broken(made, len(X))):
            told = "; ".join(map(str, broken))
            if self.tighten:
                made.set_params(**{b.name: structure.ALLOWED[b.name.rpartition("__")[2]] for b in broken})
            done = "They were changed." if self.tighten else "Single records may be stored in the model."
            warnings.warn(f"{told}. {done}", UserWarning, stacklevel=2)
        made.fit(X, y, **more)
        self.estimator_ = made
        self._params, self._state = dict(made.get_params()), _state(made)
        with suppress(Exception):  # a model that refuses some records on their own
            made.predict(X[:PROBED])
        if _state(made) != self._state:
            self._state = None  # asking changes it, so a digest would say nothing
        return self

    def changed(self) -> list[str]:
        """What was changed after fit, in words; empty if nothing was. Raises `InputError` before fit."""
        self._fitted()
        now = self.estimator_.get_params()
        found = [
            f"the parameter {name}" for name, value in now.items() if not _same(value, self._params.get(name, _NOTHING))
        ]
        if not found and self._state is not None and _state(self.estimator_) != self._state:
            found.append("what the model learnt")
        return found

    def request(self, members: pd.DataFrame, controls: pd.DataFrame, **options: Any) -> Finished:
        """The request for the model's release: its audit, as `testbed.audit_model`, which takes these `options`.

        `members` are the people it was trained on, `controls` people like them who were not. `write(folder)` on what is
        returned writes the report. The report says which rules are broken, and that nothing changed since fit. Raises
        `InputError` before fit, and for a model that was changed since: the audit would not be about the training.
        """
        from testbed.report.functions import audit_model

        if changes := self.changed():
            raise InputError(
                "TB-SAFE-002",
                f"The model was changed after fit: {', '.join(changes[:5])}.",
                "It is no longer what these people and these parameters give, so nobody can say how it came about.",
                "Set parameters before fit, and fit it again.",
            )
        return audit_model(self.estimator_, members, controls, **options)

    @property
    def classes_(self) -> Any:
        """The classes of the fitted estimator."""
        return self._fitted().classes_

    @property
    def n_features_in_(self) -> Any:
        """The number of inputs that the fitted estimator saw."""
        return self._fitted().n_features_in_

    @property
    def feature_names_in_(self) -> Any:
        """The names of the inputs that the fitted estimator saw."""
        return self._fitted().feature_names_in_

    @available_if(_has("predict"))
    def predict(self, X: Any) -> Any:
        """As the estimator's."""
        return self._fitted().predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """As the estimator's."""
        return self._fitted().predict_proba(X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """As the estimator's."""
        return self._fitted().decision_function(X)

    @available_if(_has("score"))
    def score(self, X: Any, y: Any, *more: Any) -> Any:
        """As the estimator's."""
        return self._fitted().score(X, y, *more)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        with suppress(AttributeError):  # an estimator that scikit-learn knows no tags of
            own = self.estimator.__sklearn_tags__()
            tags.estimator_type, tags.classifier_tags = own.estimator_type, own.classifier_tags
            tags.regressor_tags, tags.target_tags, tags.input_tags = own.regressor_tags, own.target_tags, own.input_tags
        return tags

    def _fitted(self) -> Any:
        if not hasattr(self, "estimator_"):
            raise InputError(
                "TB-SAFE-001",
                "The model was not fitted.",
                "There is nothing to ask, and nothing to release.",
                "Call fit first.",
            )
        return self.estimator_


_NOTHING = object()


def safe(estimator: Any, *, tighten: bool = False) -> Safe:
    """The scikit-learn estimator under the rules against storing people. `tighten` changes what breaks them."""
    return Safe(estimator, tighten=tighten)


def _broken(estimator: Any, people: int) -> Iterator[Broken]:
    """The broken rules of an estimator and of all models inside it, each by the name that `set_params` takes."""
    for prefix, one in _models(estimator):
        params = one.get_params(deep=False)
        for name, good, wanted in structure.rules_of(one):
            if name in params and not good(params[name], people):
                yield Broken(f"{prefix}{name}", params[name], wanted)


def _models(estimator: Any) -> Iterator[tuple[str, Any]]:
    """The estimator and all that stand among its parameters, each with the beginning of its parameters' names."""
    yield "", estimator
    for name, value in estimator.get_params(deep=True).items():
        if hasattr(value, "get_params") and hasattr(value, "fit") and not isinstance(value, type):
            yield f"{name}__", value


def _same(one: Any, other: Any) -> bool:
    import joblib

    return one is other or (type(one) is type(other) and joblib.hash(one) == joblib.hash(other))


def _state(made: Any) -> str | None:
    """A digest of all that a fitted model holds, or None if it cannot be made."""
    import joblib

    try:
        return str(joblib.hash(made))
    except Exception:  # an estimator that cannot be pickled
        return None
