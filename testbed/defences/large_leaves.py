"""Large leaves: no sum over few people leaves a client."""

from __future__ import annotations

from testbed.core.defence import OfTrees
from testbed.defences.registry import defence


@defence(where="trees")
def large_leaves(*, seed: int, hessian: float = 5.0) -> OfTrees:
    """Let no leaf have a sum of Hessians below `hessian` (XGBoost's `min_child_weight`).

    A heuristic: in a first tree a person's Hessian is at most 1/4, so 5 means at least 20 people. In later trees sure
    predictions have small Hessians, and leaves grow further. The sums of large leaves stay exact.
    """
    return OfTrees({"min_child_weight": hessian})
