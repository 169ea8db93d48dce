"""Which columns was a model given as texts? Its encoders know, where a file holds only digits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

WITHIN = ("best_estimator_", "regressor_", "estimator_", "estimator", "base_estimator_")
"""Attributes that hold the model inside another one."""
DEEPEST = 8
"""Levels of models inside models that are searched."""


def text_inputs(made: Any, names: Sequence[str]) -> set[str]:
    """The columns, of these names, whose values are texts in a fitted encoder of the model.

    Codes such as "1" and "2" are texts for an encoder that was fitted on texts, and it does not know the numbers 1
    and 2. Pipelines and column transformers are searched, and searches of parameters.
    """
    try:
        return set(_texts(made, list(names), 0))
    except Exception:  # a foreign estimator may raise anything
        return set()


def _texts(made: Any, names: list[str], deep: int) -> Iterator[str]:
    if deep > DEEPEST or made is None or isinstance(made, str):
        return
    own = getattr(made, "feature_names_in_", None)
    names = names if own is None else [str(n) for n in own]
    if hasattr(made, "steps"):
        for _, step in made.steps:
            yield from _texts(step, names, deep + 1)
            if not _keeps_columns(step):
                return
    elif hasattr(made, "transformers_"):
        for _, step, columns in made.transformers_:
            yield from _texts(step, _named(columns, names), deep + 1)
    elif hasattr(made, "categories_") and len(made.categories_) == len(names):
        yield from (
            n for n, values in zip(names, made.categories_, strict=True) if any(isinstance(v, str) for v in values)
        )
    else:
        within = next((getattr(made, a) for a in WITHIN if hasattr(getattr(made, a, None), "fit")), None)
        yield from _texts(within, names, deep + 1)


def _keeps_columns(step: Any) -> bool:
    """Whether a step of a pipeline gives the columns that it takes, as an imputer does."""
    return step is None or step == "passthrough" or type(step).__name__ == "SimpleImputer"


def _named(columns: Any, names: list[str]) -> list[str]:
    if isinstance(columns, slice):
        return names[columns]
    listed = list(columns) if hasattr(columns, "__iter__") and not isinstance(columns, str) else [columns]
    if listed and all(isinstance(c, bool) or type(c).__name__ == "bool_" for c in listed):
        return [n for n, chosen in zip(names, listed, strict=True) if chosen]
    return [c if isinstance(c, str) else names[int(c)] for c in listed]
