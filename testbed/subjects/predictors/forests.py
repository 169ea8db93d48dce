"""Answers of scikit-learn's forests, tree by tree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array


def forest_probabilities(made: Any, table: Any) -> Array | None:
    """Class probabilities (n, classes) float64 of a forest: the numbers of its `predict_proba`, to the bit.

    `predict_proba` sets up a parallel task for each tree, and reads the kind of each column. That takes most of its
    time, and an audit asks hundreds of times. None for other models, and for tables that scikit-learn should check:
    with gaps, with other columns than in training, or with names that the model does not know.
    """
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    if type(made) not in (RandomForestClassifier, ExtraTreesClassifier) or made.n_outputs_ != 1:
        return None
    names = getattr(made, "feature_names_in_", None)
    framed = isinstance(table, pd.DataFrame)
    if framed != (names is not None) or (framed and list(table.columns) != list(np.asarray(names))):
        return None
    try:
        with np.errstate(over="ignore"):
            x = np.ascontiguousarray(table, dtype=np.float32)
    except (TypeError, ValueError):
        return None
    if x.ndim != 2 or not len(x) or x.shape[1] != made.n_features_in_ or not np.isfinite(x).all():
        return None
    total = np.zeros((len(x), made.n_classes_))
    for tree in made.estimators_:
        total += tree.tree_.predict(x)[:, : made.n_classes_]
    return total / len(made.estimators_)
