"""The thresholds of a client's trees, as values of its people."""

from __future__ import annotations

from collections import Counter

import numpy as np

from testbed.attacks.grown_trees import known, likeliest
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Transcript, Unavailable, Values
from testbed.models.boosters import grown


@attack(
    subject="transcript",
    rule="TB-PROPERTY-005",
    risk="property",
    claim=Values,
    needs=set(),
    uses={"auxiliary", "defence"},
    position="server",
    reference="https://arxiv.org/abs/2506.07605",
    suits="trees",
    meets=("bare_trees", "leaf_noise", "round_thresholds"),
)
def tree_thresholds(view: Transcript, question: Batch, auxiliary: Cohort | None, rng: np.random.Generator) -> Values:
    """Say of every threshold of a hospital's trees that one of its patients has this value.

    Threat model: a curious server of a federation of boosted trees, which knows nothing beforehand. XGBoost splits at
    values that occur. Features that all hospitals split at one place only, such as a category coded by 0 and 1, tell
    nothing and are left out. Other patients often have the same value, so this is no leak by itself: the control says
    how often. If it knows that thresholds are rounded, it states the commonest value of other people that is rounded to
    the same one. What leaves or nodes hold besides is not read. Raises `Unavailable` without trees.
    """
    rounding = known(question, "round_thresholds")
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
        if rounding is not None and auxiliary is not None:
            steps = int(rounding["steps"])
            pairs = sorted({(c, likeliest(v, steps, auxiliary.x[:, c]) if 0 < v < 1 else v) for c, v in pairs})
        columns[key] = np.array([c for c, _ in pairs], dtype=int)
        values[key] = np.array([v for _, v in pairs], dtype=np.float32)
    if not any(map(len, values.values())):
        raise Unavailable("no_trees", "trees that split at numbers")
    return Values(columns, values)
