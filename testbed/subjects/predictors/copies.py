"""Untrained copies of an estimator: what a shadow model starts from."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from testbed.core import Array


def searched(made: Any) -> Any:
    """The model that a search of parameters found. Other models are returned unchanged."""
    best = getattr(made, "best_estimator_", None)
    return made if best is None or not hasattr(best, "fit") else searched(best)


def steps_of(made: Any) -> list[tuple[str, Any]]:
    """The steps of a pipeline, by name. Of any other model none, also if it calls something else its steps."""
    steps = getattr(made, "steps", None)
    named = isinstance(steps, list | tuple) and all(isinstance(s, list | tuple) and len(s) == 2 for s in steps)
    return list(steps) if named and steps else []


def last_of(made: Any) -> Any:
    """The last step of a pipeline, or the model itself."""
    steps = steps_of(made)
    return steps[-1][1] if steps else made


def untrained(value: Any) -> Any:
    """A copy with the same parameters that has learnt nothing; for lists of estimators, each of them.

    scikit-learn's `clone` refuses estimators that change their parameters (CatBoost with a list of columns). These are
    made anew from the parameters that they name.
    """
    from sklearn.base import clone

    if isinstance(value, list | tuple):
        return type(value)(untrained(v) for v in value)
    if isinstance(value, type) or not hasattr(value, "get_params"):
        return copy.deepcopy(value)
    try:
        return clone(value)
    except (RuntimeError, TypeError):
        return type(value)(**{k: untrained(v) for k, v in value.get_params(deep=False).items()})


def retrainable(made: Any, given: Any = None) -> bool:
    """Whether copies of this estimator start untrained. A frozen part keeps what it has learnt about its people.

    A copy is asked about `given`, if there is something: a copy that answers before it is trained knows something.
    """
    from sklearn.base import clone

    if not hasattr(made, "fit") or not hasattr(made, "get_params"):
        return False
    try:
        held = [made, *made.get_params().values()]
        parts = [p for p in held if hasattr(p, "fit") and hasattr(p, "get_params") and not isinstance(p, type)]
        if any(_same(clone, part) for part in parts):
            return False
        fresh = untrained(made)
    except Exception:  # a foreign estimator may raise anything
        return False
    return given is None or not _answers(fresh, given)


def _same(clone: Any, part: Any) -> bool:
    try:
        return clone(part) is part
    except (RuntimeError, TypeError):
        return False


def _answers(fresh: Any, given: Any) -> bool:
    try:
        (fresh.predict_proba if hasattr(fresh, "predict_proba") else fresh.predict)(given)
    except Exception:  # as it should
        return False
    return True


def quiet(fresh: Any, rng: np.random.Generator) -> Any:
    """The copy with drawn seeds, one thread, and without files of its own."""
    params = fresh.get_params()
    wanted: dict[str, Any] = {}
    for name in params:
        last = name.rpartition("__")[2]
        if last == "random_state":
            wanted[name] = int(rng.integers(2**31))
        elif last == "n_jobs":
            wanted[name] = 1  # several copies are trained at once
    for name, part in [("", fresh), *params.items()]:
        if type(part).__module__.startswith("catboost") and hasattr(part, "fit"):
            own: dict[str, Any] = {"allow_writing_files": False, "thread_count": 1}
            if "random_state" not in part.get_params():
                own["random_seed"] = int(rng.integers(2**31))
            wanted |= {f"{name}__{k}" if name else k: v for k, v in own.items()}
    return fresh.set_params(**wanted)


def unstopped(fresh: Any, trained: Any) -> Any:
    """A copy of a boosting model without early stopping, with as many rounds as the audited model was stopped at.

    Early stopping needs held-out people, which a copy does not have. Other models are returned unchanged.
    """
    best = getattr(trained, "best_iteration", None) if hasattr(fresh, "early_stopping_rounds") else None
    if best is None or fresh.early_stopping_rounds is None:
        return fresh
    return fresh.set_params(early_stopping_rounds=None, n_estimators=int(best) + 1)


def weighted(made: Any, weights: Array) -> dict[str, Array]:
    """The arguments of `fit` that give these weights (n,) to a model, or to the last step of a pipeline."""
    steps = steps_of(made)
    return {f"{steps[-1][0]}__sample_weight" if steps else "sample_weight": weights}
