"""Shallow trees: each leaf holds more people, and each path tells fewer of their values."""

from __future__ import annotations

from testbed.core.defence import OfTrees
from testbed.defences.registry import defence


@defence(where="trees")
def shallow_trees(*, seed: int, depth: int = 2) -> OfTrees:
    """Grow trees of at most `depth` levels of splits.

    A heuristic: the sums of fewer and larger leaves stay exact, and many trees still cut people's values finely.
    """
    return OfTrees({"max_depth": depth})
