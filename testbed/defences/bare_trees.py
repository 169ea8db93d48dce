"""Bare trees: only what a prediction needs is sent."""

from __future__ import annotations

from typing import Any

import numpy as np

from testbed.core.defence import OfTrees
from testbed.defences.registry import defence

NOT_NEEDED = ("sum_hessian", "base_weights", "loss_changes")
"""What XGBoost writes of each node and no prediction reads."""


@defence(where="trees")
def bare_trees(*, seed: int) -> OfTrees:
    """Send no sums of Hessians, no steps of inner nodes and no gains: set them to 0.

    A heuristic that costs nothing: predictions stay the same. A leaf's value is a quotient of its two sums, and an
    attacker can still search for the whole numbers that give it.
    """

    def change(tree: dict[str, Any], rng: np.random.Generator) -> None:
        for name in NOT_NEEDED:
            tree[name] = [0.0] * len(tree["left_children"])

    return OfTrees(change=change)
