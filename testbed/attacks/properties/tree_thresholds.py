"""The thresholds of a client's trees, as values of its people."""

from __future__ import annotations

from collections import Counter

import numpy as np

from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Transcript, Unavailable, Values
from testbed.models.boosters import grown


@attack(
    subject="transcript",
    rule="TB-PROPERTY-005",
    risk="property",
    claim=Values,
    needs=set(),
    position="server",
    reference="https://arxiv.org/abs/2506.07605",
    suits="trees",
)
def tree_thresholds(view: Transcript, question: Batch, auxiliary: None, rng: np.random.Generator) -> Values:
    """Say of every threshold of a hospital's trees that one of its patients has this value.

    Threat model: a curious server of a federation of boosted trees, which knows nothing beforehand. XGBoost splits at
    values that occur. Features that all hospitals split at one place only, such as a category coded by 0 and 1, tell
    nothing and are left out. Other patients often have the same value, so this is no leak by itself: the control says
    how often. Raises `Unavailable` without trees.
    """
    found: dict[int, set[tuple[int, float]]] = {}
    for exchange in view.exchanges:
        if exchange.returned is None:
            continue
        new, _ = grown(exchange)
        mine = found.setdefault(exchange.client, set())
        for tree in new.trees:
            mine |= {(int(tree.feature[n]), float(tree.threshold[n])) for n in tree.splits}
    places = Counter(column for column, _ in set[tuple[int, float]]().union(*found.values()))
    columns: dict[tuple[int, int], Array] = {}
    values: dict[tuple[int, int], Array] = {}
    for key in question.keys:
        pairs = sorted(p for p in found.get(key[1], set()) if places[p[0]] > 1)
        columns[key] = np.array([c for c, _ in pairs], dtype=int)
        values[key] = np.array([v for _, v in pairs], dtype=np.float32)
    if not any(map(len, values.values())):
        raise Unavailable("no_trees", "trees that split at numbers")
    return Values(columns, values)
