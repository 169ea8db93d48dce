"""What an attacker who knows a defence of boosted trees still concludes: from rounded thresholds, from noisy leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from testbed.attacks.tree_sums import SEARCHED, Settings, counts
from testbed.core import Array, Batch, Cohort
from testbed.models.boosters import Ensemble, Tree

WHOLE = 1e-3
"""How far a number of diagnoses, computed from the base score, may lie from a whole number."""
UNSURE = 4.0
"""Standard deviations of the noise beyond which a pair of numbers is not considered."""


def stated(
    model: Ensemble, settings: Settings, people: int | None, question: Batch, auxiliary: Cohort | None
) -> tuple[Array, Array]:
    """The bounds (leaves, features, 2) of the leaves of a model's first tree, and their people by class (leaves, 2).

    `people` is how many the client holds, if that is known. Known defences are met. Raises `Unavailable` as
    `tree_sums.counts` does.
    """
    noise, rounding = known(question, "leaf_noise"), known(question, "round_thresholds")
    tree = model.trees[0]
    bare = not (tree.hessian[tree.leaves] > 0).any()
    if noise is not None and bare and people is not None and people <= SEARCHED:
        made = searched_in_noise(tree.value[tree.leaves], model, settings, people, noise["noise"])
    else:
        made = counts(tree, model, settings, people)
        if noise is not None and not bare:
            made = denoised(made, tree, model, settings, noise["noise"])
    sizes = np.maximum(0, np.round(made))
    if rounding is not None and auxiliary is not None:
        tree = unrounded(tree, int(rounding["steps"]), auxiliary, people_below(tree, sizes.sum(1)))
    return tree.boxes(model.features), sizes


def known(question: Batch, name: str) -> Mapping[str, Any] | None:
    """The parameters of the defence of this name, if the attacker knows that it is used."""
    return next((d.params for d in question.defences or () if d.name == name), None)


def candidates(at: float, steps: int, values: Array) -> tuple[Array, Array]:
    """The values (k,) of other people that are rounded to the threshold `at`, and how many have each.

    Rounding moves nothing to 0 or 1, so the first and the last step of the grid stand for all values up to the end.
    """
    place = round(at * steps)
    low = -np.inf if place <= 1 else (place - 0.5) / steps
    high = np.inf if place >= steps - 1 else (place + 0.5) / steps
    inside = values[(values > 0) & (values < 1) & (values >= low) & (values <= high)]
    return np.unique(inside, return_counts=True)


def likeliest(at: float, steps: int, values: Array) -> float:
    """The value at which the split most probably stood: the commonest one of other people; `at` if there is none."""
    found, often = candidates(at, steps, values)
    return float(found[often.argmax()]) if len(found) else at


def unrounded(tree: Tree, steps: int, people: Cohort, count: Array) -> Tree:
    """The tree with each threshold where it parts the client's people as the original one most probably did.

    A split at another value parts them alike if nobody's value lies between the two. So the value is chosen for which
    this is most probable, by the values of other `people`, of whom `count` (nodes,) are expected at each node.
    """
    thresholds = tree.threshold.copy()
    for node in tree.splits.tolist():
        at = float(tree.threshold[node])
        values = people.x[:, int(tree.feature[node])]
        found, often = candidates(at, steps, values)
        if not 0 < at < 1 or not len(found):
            continue
        below = np.cumsum(often) - often
        between = np.abs(below[:, None] - below[None, :]) / max(1, len(values))
        alike = (1 - between) ** float(count[node]) @ often
        thresholds[node] = found[int(alike.argmax())]
    return replace(tree, threshold=thresholds)


def people_below(tree: Tree, of_leaf: Array) -> Array:
    """How many people pass each node (nodes,), if `of_leaf` (leaves,) stand in the leaves."""
    made = np.zeros(len(tree.left))
    made[tree.leaves] = of_leaf
    for node in reversed(tree.splits.tolist()):
        made[node] = made[tree.left[node]] + made[tree.right[node]]
    return made


def ill_in_all(model: Ensemble, people: int) -> int | None:
    """The diagnoses among all people of the client, if its base score is their share; None if it is no such share."""
    whole = model.base * people
    return round(whole) if model.base != 0.5 and abs(whole - round(whole)) < WHOLE * max(1.0, whole) else None


def shared_out(said: Array, spread: Array, most: Array, total: int) -> Array:
    """The most probable whole numbers (k,) from 0 to `most` that add up to `total`, if each was `said` with Gaussian
    noise of this `spread` (k,)."""
    costs = [
        ((np.arange(min(int(limit), total) + 1) - mean) / max(float(sd), 1e-9)) ** 2
        for mean, sd, limit in zip(said, spread, most, strict=True)
    ]
    found = _adding_up(costs, total)
    return np.clip(np.round(said), 0, most) if found is None else np.array(found, float)


def denoised(said: Array, tree: Tree, model: Ensemble, settings: Settings, noise: float) -> Array:
    """The most probable numbers (leaves, 2) behind leaves whose values have noise and whose sums of Hessians do not.

    The people of each leaf are exact. The noise of its diagnoses is that of its value times (Hessian + regularisation)
    over the learning rate. All diagnoses together are told by the base score.
    """
    people = np.round(said.sum(1))
    hessian = tree.hessian[tree.leaves]
    spread = noise * (hessian + settings.regularisation) / settings.learning_rate / model.positive_weight
    total = ill_in_all(model, int(people.sum()))
    ill = np.clip(np.round(said[:, 1]), 0, people)
    if total is not None:
        ill = shared_out(said[:, 1], spread, people, total)
    return np.stack([people - ill, ill], 1)


def searched_in_noise(values: Array, model: Ensemble, settings: Settings, most: int, noise: float) -> Array:
    """The most probable numbers (leaves, 2) behind noisy values without any sums; all people together are `most`.

    For each number of people, the likelihood of a leaf's value is the mean over the possible numbers of diagnoses. The
    numbers of all leaves add up to all people; then each leaf gets its most probable diagnoses.
    """
    p, weight = model.base, model.positive_weight
    n, y = np.tril_indices(min(most, SEARCHED) + 1)
    n, y = n[n > 0], y[n > 0]
    whole = n + (weight - 1) * y
    step = -settings.learning_rate * (p * whole - weight * y) / (p * (1 - p) * whole + settings.regularisation)
    lightest = p * (1 - p) * whole >= 1 - 1e-6  # XGBoost's usual least sum of Hessians in a leaf
    costs: list[Array] = []
    ill: list[Array] = []
    for value in values:
        off = np.where(lightest, ((step - value) / noise) ** 2, np.inf)
        likely = np.bincount(n, np.exp(-off / 2), most + 1) / (np.arange(most + 1) + 1)
        with np.errstate(divide="ignore"):
            costs.append(np.where(likely > np.exp(-(UNSURE**2)), -np.log(likely), np.inf))
        order = np.lexsort((off, n))
        _, first = np.unique(n[order], return_index=True)
        ill.append(np.concatenate([[0], y[order][first]]))
    people = _adding_up(costs, most)
    if people is None:
        people = [int(np.argmin(c)) for c in costs]
    return np.array([(k - int(i[k]), int(i[k])) for k, i in zip(people, ill, strict=True)], float)


def _adding_up(costs: Sequence[Array], total: int) -> list[int] | None:
    """The cheapest whole numbers, one for each array of costs, that add up to `total`; None if none do."""
    best = np.full(total + 1, np.inf)
    best[0] = 0.0
    chosen: list[Array] = []
    for cost in costs:
        made, took = np.full(total + 1, np.inf), np.zeros(total + 1, int)
        for number in np.flatnonzero(np.isfinite(cost)).tolist():
            moved = np.full(total + 1, np.inf)
            moved[number:] = best[: total + 1 - number] + cost[number]
            better = moved < made
            made[better], took[better] = moved[better], number
        best = made
        chosen.append(took)
    if not np.isfinite(best[total]):
        return None
    left, found = total, list[int]()
    for took in reversed(chosen):
        found.append(int(took[left]))
        left -= found[-1]
    return found[::-1]
