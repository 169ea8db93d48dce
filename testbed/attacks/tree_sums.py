"""What the sums in the leaves of a client's first tree say: its people and their classes, as exact numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from testbed.core import Array, Transcript, Unavailable
from testbed.models.boosters import Ensemble, Tree, grown

CLOSE = 1e-3
"""Largest relative error of the sums by which the settings of a training are believed: they are 32-bit floats."""
MOST_REGULARISED = 100.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a step of the training follows from its sums: -learning_rate * gradient / (hessian + regularisation)."""

    learning_rate: float
    regularisation: float = 1.0


def first_trees(view: Transcript) -> dict[tuple[int, int], Ensemble]:
    """Each client's trees of the exchange in which nobody had trained before it, by (round, client).

    Only there does every person have the same gradient and Hessian. Raises `Unavailable` if there are no such trees.
    """
    found: dict[tuple[int, int], Ensemble] = {}
    for exchange in view.exchanges:
        if exchange.returned is None:
            continue
        new, before = grown(exchange)
        if before is None and new.trees:
            found[exchange.key] = new
    if not found:
        raise Unavailable("no_first_trees", "the first trees of a client, before which there was no model")
    return found


def settings_of(trees: Sequence[Tree], told: float | None) -> Settings:
    """The learning rate and the L2 regularisation of these trees, computed from their own sums.

    A node's gradients add up to those of its leaves, which gives an equation for each node. Where these do not tell it,
    the learning rate is the one that the federation's protocol has `told`, and the regularisation XGBoost's default.
    Raises `Unavailable` if neither is known.
    """
    rows = [row for tree in trees for row in _sums(tree)]
    if rows:
        step, hessian, leaf, value, size = map(np.array, zip(*rows, strict=True))
        if (size > 0).any():
            found = _fitted(step, hessian, leaf, value, size)
            if found is not None:
                return found
    if told is None or told <= 0:
        raise Unavailable("learning_rate_unknown", "the learning rate: neither the sums nor the protocol tell it")
    return Settings(told)


def _sums(tree: Tree) -> list[tuple[float, float, float, float, float]]:
    """For each inner node: its step, its Hessian, and over its leaves the sums of value * Hessian, value, |value|."""
    made: list[tuple[float, float, float, float, float]] = []
    for node in tree.splits if len(tree.splits) else [0]:  # a single leaf keeps its step beside its value
        leaves = np.array([n for n in tree.below(int(node)) if tree.left[n] < 0])
        values, weights = tree.value[leaves], tree.hessian[leaves]
        size = float((np.abs(values) * weights).sum())
        made.append((float(tree.weight[node]), float(tree.hessian[node]), float(values @ weights), values.sum(), size))
    return made


def _fitted(step: Array, hessian: Array, leaf: Array, value: Array, size: Array) -> Settings | None:
    """The settings with which every node's step is that of its leaves; None if there are none."""

    def fit(regularisation: float) -> tuple[float, float]:
        at_node, at_leaves = step * (hessian + regularisation), leaf + regularisation * value
        whole = float(at_node @ at_node)
        rate = float(at_node @ at_leaves) / whole if whole > 0 else 0.0
        return rate, float(np.linalg.norm(rate * at_node - at_leaves) / np.linalg.norm(size))

    usual = fit(1.0)
    if np.abs(step * hessian).max() <= CLOSE * size.max():  # sums of zero hold with every learning rate
        return None
    if usual[1] > 1e-6:
        best = optimize.minimize_scalar(
            lambda r: fit(r)[1], bounds=(0.0, MOST_REGULARISED), method="bounded", options={"xatol": 1e-9}
        )
        other = fit(float(best.x))
        if other[1] < usual[1] / 10:
            return Settings(other[0], float(best.x)) if other[0] > 0 and other[1] < CLOSE else None
    return Settings(usual[0]) if usual[0] > 0 and usual[1] < CLOSE else None


def counts(tree: Tree, model: Ensemble, settings: Settings, most: int | None = None) -> Array:
    """The people of each leaf by class (leaves, 2), before rounding.

    Everybody has the gradient p - y and the Hessian p (1 - p), with p the base score, so the two sums of a leaf give
    both numbers. If the client left out the sums of Hessians, the numbers are searched among all that `most` people
    allow. Raises `Unavailable` if it is not known how many people there are at most.
    """
    leaves = tree.leaves
    p, weight = model.base, model.positive_weight
    if not (tree.hessian[leaves] > 0).any():
        if most is None or not 0 < most <= SEARCHED:
            needs = f"the sums of Hessians, or a client that says how many records it used, at most {SEARCHED}"
            raise Unavailable("no_sums", needs)
        return searched(tree.value[leaves], model, settings, most)
    gradient = -tree.value[leaves] * (tree.hessian[leaves] + settings.regularisation) / settings.learning_rate
    people = tree.hessian[leaves] / (p * (1 - p))  # those of the second class count `weight` times
    ill = (p * people - gradient) / weight
    return np.stack([people - weight * ill, ill], 1)


SEARCHED = 3000
"""People of a client at most whose numbers are searched: pairs grow with the square."""
EQUAL = 2e-6
"""Relative error of a leaf's value, a 32-bit float that was computed from others."""


def searched(values: Array, model: Ensemble, settings: Settings, most: int) -> Array:
    """The people of each leaf by class (leaves, 2): the fewest people whose sums give the leaf's value.

    A value is -rate * (n p - y) / (n p (1 - p) + regularisation) for n people, y of them ill. Few pairs of whole
    numbers give the same 32-bit float; of those that do, the one with the fewest people is taken.
    """
    p, weight = model.base, model.positive_weight
    n, y = np.tril_indices(most + 1)
    n, y = n[n > 0], y[n > 0]
    whole = n + (weight - 1) * y
    step = -settings.learning_rate * (p * whole - weight * y) / (p * (1 - p) * whole + settings.regularisation)
    made: list[tuple[int, int]] = []
    for value in values:
        off = np.abs(step - value)
        near = off <= max(float(off.min()), EQUAL * max(abs(float(value)), 1e-3))
        place = int(np.flatnonzero(near)[0])  # pairs stand in the order of n
        made.append((int(n[place] - y[place]), int(y[place])))
    return np.array(made, dtype=float)
