# pyright: strict
"""Gradient-boosted trees read from the bytes in which clients send them. XGBoost itself is not needed for it.

A federation of trees sends a model as one array of bytes: XGBoost's JSON (`Booster.save_raw("json")`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from testbed.core import Array, Exchange, Parameters, Unavailable

OBJECTIVES = ("binary:logistic", "binary:logitraw", "reg:logistic")
"""Objectives whose first gradient and Hessian are p - y and p (1 - p)."""
HEADS = {b"tree\n": "LightGBM", b"CBM1": "CatBoost", b"\x80": "pickle"}
"""How the files of other libraries begin."""


LARGEST = 20_000_000
"""The largest product of a tree's nodes and the features: the bounds of its leaves are arrays of that size."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree, each array (nodes,). A record goes left if its feature lies below the threshold.

    `value` is what a leaf adds to the margin. `hessian` is the sum over a node's people, and `weight` the step of a
    node before it is scaled by the learning rate. A leaf has the child -1.
    """

    left: Array
    right: Array
    feature: Array
    threshold: Array
    value: Array
    hessian: Array
    weight: Array

    @property
    def leaves(self) -> Array:
        """The numbers of the leaves that the root leads to, in ascending order."""
        return np.array([n for n in self.below(0) if self.left[n] < 0], dtype=int)

    @property
    def splits(self) -> Array:
        """The numbers of the nodes that have children."""
        return np.array([n for n in self.below(0) if self.left[n] >= 0], dtype=int)

    def below(self, node: int) -> list[int]:
        """This node and all nodes below it, in ascending order."""
        found: list[int] = []
        waiting = [node]
        while waiting:
            found.append(waiting.pop())
            if self.left[found[-1]] >= 0:
                waiting += [int(self.left[found[-1]]), int(self.right[found[-1]])]
        return sorted(found)

    def boxes(self, features: int) -> Array:
        """The bounds (leaves, features, 2) of the values that lead to each leaf: from the first, below the second."""
        made: dict[int, Array] = {}
        waiting = [(0, np.tile(np.array([-np.inf, np.inf], np.float32), (features, 1)))]
        while waiting:
            node, box = waiting.pop()
            if self.left[node] < 0:
                made[node] = box
                continue
            column, at = int(self.feature[node]), self.threshold[node]
            below, above = box.copy(), box.copy()
            below[column, 1] = min(box[column, 1], at)
            above[column, 0] = max(box[column, 0], at)
            waiting += [(int(self.left[node]), below), (int(self.right[node]), above)]
        return np.stack([made[n] for n in sorted(made)])

    def leaf_of(self, x: Array) -> Array:
        """The number of the leaf (n,) in which each record (n, features) ends."""
        node = np.zeros(len(x), dtype=int)
        rows = np.arange(len(x))
        while (inner := self.left[node] >= 0).any():
            goes_left = x[rows, self.feature[node]] < self.threshold[node]
            node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
        return node


@dataclass(frozen=True, slots=True)
class Ensemble:
    """A model of trees for two classes. `base` is the probability with which training began (its base score)."""

    trees: tuple[Tree, ...]
    base: float
    features: int
    positive_weight: float = 1.0

    def probability(self, x: Array) -> Array:
        """The probability of the second class (n,) for records (n, features)."""
        margin = np.full(len(x), np.log(self.base / (1 - self.base)))
        for tree in self.trees:
            margin += tree.value[tree.leaf_of(x)]
        return 1 / (1 + np.exp(-margin))


def packed(parameters: Parameters | None) -> bytes | None:
    """The bytes that a message holds instead of a network's arrays, or None if it holds none."""
    if parameters is None or len(parameters) != 1:
        return None
    (values,) = parameters.values()
    return values.tobytes() if values.dtype == np.uint8 and values.ndim == 1 and values.size else None


def read(parameters: Parameters | None) -> Ensemble:
    """The trees in a message. Raises `Unavailable` for anything but XGBoost's trees for two classes, as JSON."""
    content = packed(parameters)
    if content is None:
        raise Unavailable("no_trees", "messages that hold trees: XGBoost's JSON as one array of bytes")
    for head, library in HEADS.items():
        if content.startswith(head):
            raise Unavailable("other_library", f"trees of XGBoost; these bytes begin as a file of {library}")
    try:
        learner = _record(_record(json.loads(content))["learner"])
    except (ValueError, RecursionError, LookupError, TypeError):
        raise Unavailable("trees_not_json", 'trees that were saved as JSON: Booster.save_raw("json")') from None
    try:
        return _ensemble(learner)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Unavailable("other_version", "trees of XGBoost 1.6 or later; a part of these is missing") from None


def _record(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("no record")
    return cast(Mapping[str, Any], value)


def _ensemble(learner: Mapping[str, Any]) -> Ensemble:
    objective, settings = learner["objective"], learner["learner_model_param"]
    if objective["name"] not in OBJECTIVES:
        raise Unavailable("other_objective", f"an objective for two classes, such as {OBJECTIVES[0]}")
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise Unavailable("other_booster", "plain trees (booster gbtree); dart and linear models are not read")
    scores = [float(part) for part in str(settings["base_score"]).strip("[]").split(",")]
    base = scores[0]
    if len(scores) != 1 or not 0 < base < 1:
        raise Unavailable("other_objective", "one base score, which is a probability")
    weight = float(objective.get("reg_loss_param", {}).get("scale_pos_weight", 1))
    trees = tuple(map(_tree, booster["model"]["trees"]))
    features = int(settings["num_feature"])
    if features * max((len(t.left) for t in trees), default=1) > LARGEST:
        raise Unavailable("too_large", f"trees whose nodes and features multiply to {LARGEST:,} at most")
    if any((t.feature[t.splits] >= features).any() or (t.feature < 0).any() for t in trees):
        raise ValueError("features that are none")
    return Ensemble(trees, base, features, weight)


def _tree(told: Mapping[str, Any]) -> Tree:
    if any(told.get("split_type", ())):
        raise Unavailable("categorical_splits", "splits at thresholds; these trees split by lists of categories")
    left = np.array(told["left_children"], dtype=int)
    nodes = len(left)
    conditions = np.array(told["split_conditions"], dtype=np.float32)
    # A client may leave out what predictions do not need.
    sums = (np.array(told.get(name) or [0.0] * nodes, dtype=np.float64) for name in ("sum_hessian", "base_weights"))
    hessian, weight = sums
    right, feature = (np.array(told[name], dtype=int) for name in ("right_children", "split_indices"))
    if {len(right), len(feature), len(conditions), len(hessian), len(weight)} != {nodes} or not nodes:
        raise ValueError("arrays of unequal length")
    inner = left >= 0  # a child comes after its parent, so that no path is a circle
    if any(((child[inner] >= nodes) | (child[inner] <= np.flatnonzero(inner))).any() for child in (left, right)):
        raise ValueError("children that are none")
    return Tree(left, right, feature, conditions, conditions.astype(np.float64), hessian, weight)


def grown(exchange: Exchange) -> tuple[Ensemble, Ensemble | None]:
    """The trees that a client grew in an exchange, and the model before them; None if they are the first ones.

    A client sends the whole model with its new trees at the end (`FedXgbCyclic`), or the new trees alone
    (`FedXgbBagging`). Raises `Unavailable` as `read` does.
    """
    after = read(exchange.returned)
    if packed(exchange.sent) is None:
        return after, None
    before = read(exchange.sent)
    known = len(before.trees)
    whole = len(after.trees) > known and all(
        _same(a, b) for a, b in zip(before.trees, after.trees[:known], strict=True)
    )
    new = after.trees[known:] if whole else after.trees
    return Ensemble(new, after.base, after.features, after.positive_weight), before if known else None


def _same(one: Tree, other: Tree) -> bool:
    return np.array_equal(one.feature, other.feature) and np.array_equal(one.threshold, other.threshold)
