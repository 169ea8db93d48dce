"""Numbers beside a model that prepare its records, such as means. Without them it is asked about other records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST = 2
"""Levels of dictionaries in dictionaries that are searched."""
NAMES = re.compile(
    r"((x|input|inputs|feature|features|data|train)_)?"
    r"(means?|mu|stds?|sigma|sds?|scales?|scalers?|normali[sz](er|ation)|standardi[sz](er|ation)|center|offsets?|mins?|maxs?)"
    r"(_(x|input|inputs|feature|features|data))?_?",
    re.IGNORECASE,
)
"""Names under which programs keep what prepares records."""
OF_TRAINING = {"growth_factor", "param_groups", "last_epoch"}
"""Entries of what a training program keeps: the scale of mixed precision, optimisers and schedules."""


def beside(held: Mapping[Any, Any], deep: int = 0) -> Iterator[str]:
    """Names of the entries that hold numbers which prepare records; weights and the state of a training are none."""
    if OF_TRAINING & held.keys() or any(str(name).endswith("weight") for name in held):
        return
    for name, value in held.items():
        inner = isinstance(value, Mapping)
        if NAMES.fullmatch(str(name)) and (_numbers(value) or (inner and not OF_TRAINING & value.keys())):
            yield str(name)
        elif inner and deep < DEEPEST:
            yield from beside(value, deep + 1)


def _numbers(value: Any) -> bool:
    """Is this a number, or an array, a table's row or a list of numbers?"""
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(v, int | float) for v in value)
    return isinstance(value, float) or (hasattr(value, "dtype") and hasattr(value, "shape"))
