"""The fitted models inside a scikit-learn model, each with its own inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from testbed.subjects.predictors.estimator import named

WRAPPED = ("best_estimator_", "regressor_", "base_estimator_", "estimator_", "estimator")
"""Attributes that hold the model inside another one, in the order in which they are tried."""
DEEPEST = 8
"""Levels of models inside models that are searched."""
Part: TypeAlias = tuple[Any, Any]
"""A fitted model, and its inputs (n, features): a table or an array."""


def parts(estimator: Any, x: Any) -> list[Part]:
    """The fitted models and transformers inside an estimator, each with its inputs for the records `x`.

    The search opens parameter searches, pipelines, column transformers, voting, stacking, bagging, calibrated and
    one-against-rest models. A forest, or boosted trees, count as one model. A part that refuses its inputs is left out.
    """
    return [*_within(estimator, x, 0)]


def _within(estimator: Any, x: Any, deep: int) -> Iterator[Part]:
    if deep > DEEPEST or isinstance(estimator, str) or estimator is None:
        return
    if hasattr(estimator, "apply") or not hasattr(estimator, "get_params"):  # a forest, or no estimator at all
        yield estimator, x
        return
    inner: list[Part] = []
    with suppress(Exception):  # a step may refuse these records, with any error
        inner += _steps(estimator, x)
    for one, own in inner:
        yield from _within(one, own, deep + 1)
    if not inner:
        yield estimator, x


def _steps(estimator: Any, x: Any) -> Iterator[Part]:
    """The parts of an estimator, one level down. Nothing if the estimator is itself a model without parts."""
    if hasattr(estimator, "named_steps"):
        for _, step in estimator.steps[:-1]:
            yield step, x
            x = _reached(step, x) if hasattr(step, "transform") else x
        yield estimator.steps[-1][1], x
    elif hasattr(estimator, "transformers_"):
        names = list(getattr(estimator, "feature_names_in_", ()))
        for _, step, columns in estimator.transformers_:
            yield step, chosen(x, columns, names)
    elif hasattr(estimator, "calibrated_classifiers_"):
        yield from ((c.estimator, x) for c in estimator.calibrated_classifiers_)
    elif hasattr(estimator, "estimators_"):
        several = estimator.estimators_
        features = getattr(estimator, "estimators_features_", None)
        for number, one in enumerate(several.ravel() if isinstance(several, np.ndarray) else several):
            yield one, x if features is None else chosen(x, features[number])
        if hasattr(estimator, "final_estimator_"):
            yield estimator.final_estimator_, _reached(estimator, x)
    else:
        for name in WRAPPED:
            within = getattr(estimator, name, None)
            if hasattr(within, "get_params"):
                support = getattr(estimator, "support_", None)  # the features that were selected
                yield within, x if support is None else chosen(x, support)
                return


def chosen(x: Any, columns: Any, names: Sequence[str] = ()) -> Any:
    """These columns of a table or an array, given by number, by mask, as a slice, or by name."""
    listed = [] if isinstance(columns, slice) else np.ravel(columns).tolist()
    if any(isinstance(c, str) for c in listed):
        if isinstance(x, pd.DataFrame):
            return x[listed]
        columns = [list(names).index(c) for c in listed]
    return x.iloc[:, columns] if isinstance(x, pd.DataFrame) else x[:, columns]


def _reached(step: Any, x: Any) -> Any:
    made = step.transform(x if isinstance(x, pd.DataFrame) else named(step, x))
    if isinstance(made, pd.DataFrame):
        return made
    return np.asarray(made.toarray() if hasattr(made, "toarray") else made)
