"""Rounded thresholds: a split no longer stands at a patient's own value."""

from __future__ import annotations

from typing import Any

import numpy as np

from testbed.core.defence import OfTrees
from testbed.defences.registry import defence


@defence(where="trees")
def round_thresholds(*, seed: int, steps: int = 20) -> OfTrees:
    """Move each threshold to the nearest multiple of 1/`steps` of a feature's range, which is taken as 0 to 1.

    A heuristic: people near a threshold change sides, so the sums of the leaves no longer fit their bounds. No
    threshold moves to 0 or 1, where it would no longer separate categories that are coded by 0 and 1.
    """

    def change(tree: dict[str, Any], rng: np.random.Generator) -> None:
        conditions, left = tree["split_conditions"], tree["left_children"]
        for node, child in enumerate(left):
            if child >= 0 and 0 < conditions[node] < 1:
                conditions[node] = float(np.clip(round(conditions[node] * steps), 1, steps - 1)) / steps

    return OfTrees(change=change)
