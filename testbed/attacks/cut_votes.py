"""Classes of people from the gradients that the party with the labels sends at the cut of a split network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special
from sklearn.linear_model import LogisticRegression

from testbed.core import Array, Cohort, Guesses, Labels, Transcript, Unavailable

FEWEST = 20
"""People of other hospitals, of each class, from whom the attacker learns what its own columns say of the class."""
LEAST, STEPS = 0.005, 41
"""The smallest frequency of a sign in a class that is tried, and how many are."""
BEYOND_CHANCE = 4.5
"""By how much the log-likelihood must rise before signs are believed: that of three standard errors."""
Reading = Callable[[Array], Array]
"""The gradients of one batch (records, width) to one number each (records,): its sign, or its size, tells the class."""


STEPS_OF_EM = 8
"""How often classes and directions are estimated from each other."""
NEAR = 4
"""Batches before and after one over which its direction, and what the classes do along it, are averaged."""
STRATA = 3
"""Groups of people, by how much their gradients say, for each of which it is estimated how often that is right."""


def guessed(view: Transcript, question: Labels, auxiliary: Cohort | None, reading: Reading) -> Guesses:
    """The most probable class of each person, from what their gradients say and what the attacker's columns say.

    The reading divides a batch into two groups. Which of them is which class, and how often it is right, follows from
    how well it agrees with a logistic regression on the attacker's columns, learnt from other people. Both are combined
    as independent. So a reading that says nothing leaves the regression's guess.
    """
    batches, chance = _given(view, question, auxiliary)
    total = np.zeros(len(chance))
    for where, known, values in batches:
        votes = np.sign(reading(values)[known])
        agrees = votes * (chance[where] - chance[where].mean())
        # Which side of a batch is class 1 is told by the others in it: else each would agree a little by itself.
        np.add.at(total, where, votes * np.sign(agrees.sum() - agrees))
    evidence = np.log(chance / (1 - chance)) + _told(np.sign(total), chance)
    return Guesses({"class": (evidence > 0).astype(int)}, {})


def _given(
    view: Transcript, question: Labels, auxiliary: Cohort | None
) -> tuple[list[tuple[Array, Array, Array]], Array]:
    """The batches: whom of the people asked about each holds, at which of its places, and all its gradients; and the
    probability (n,) of class 1 by the attacker's own columns. Raises `Unavailable` if one of them cannot be had."""
    gradients = [
        (np.asarray(e.sent["of"]), np.asarray(e.sent["gradient"], np.float64))
        for e in view.exchanges
        if e.sent is not None and {"of", "gradient"} <= e.sent.keys() and len(e.sent["of"])
    ]
    if not gradients:
        raise Unavailable("no_cut", "the gradients at the cut of a split network, with the rows that they belong to")
    if auxiliary is None or min(np.bincount(auxiliary.y, minlength=2)[:2]) < FEWEST:
        raise Unavailable("few_labels", f"{FEWEST} other people of each class, with the attacker's own columns")
    learner: Any = LogisticRegression(max_iter=1000)
    learner.fit(auxiliary.x[:, : question.x.shape[1]], auxiliary.y)
    chance = np.clip(learner.predict_proba(question.x)[:, 1], 0.01, 0.99)
    place = {int(row): i for i, row in enumerate(question.rows.tolist()) if row >= 0}
    batches: list[tuple[Array, Array, Array]] = []
    for rows, values in gradients:
        known = np.array([i for i, row in enumerate(rows.tolist()) if int(row) in place], dtype=int)
        if len(known) > 1:
            batches.append((np.array([place[int(rows[i])] for i in known], dtype=int), known, values))
    return batches, chance


def averaged(view: Transcript, question: Labels, auxiliary: Cohort | None) -> Guesses:
    """The most probable class of each person under noise at the cut, from all batches together.

    Noise is drawn anew in each batch, and a person's class stays. So classes and directions are estimated from each
    other (expectation and maximisation): a batch's direction is the difference of the classes' mean gradients, averaged
    over neighbouring batches, and a person's classes are weighed by the log-likelihood ratios of all the person's
    batches. A person's own gradient is left out of the direction by which
    it is read. As in `guessed`, how often the result is right is estimated, for people whose gradients say little and
    for others, and what says nothing leaves the guess of the attacker's own columns.
    """
    batches, chance = _given(view, question, auxiliary)
    belief, prior = chance, np.log(chance / (1 - chance))
    total = np.zeros(len(chance))
    for _ in range(STEPS_OF_EM):
        total = _ratios(batches, belief)
        belief = 1 / (1 + np.exp(-np.clip(prior + total, -30, 30)))
    evidence = prior + np.zeros(len(chance))
    said = np.flatnonzero(total)
    pooled = np.zeros(len(chance))
    pooled[said] = _told(np.sign(total[said]), chance[said])
    for stratum in np.array_split(said[np.argsort(np.abs(total[said]), kind="stable")], STRATA):
        alone = _told(np.sign(total[stratum]), chance[stratum])
        evidence[stratum] += alone if alone.any() else pooled[stratum]  # few people may not show what all show
    return Guesses({"class": (evidence > 0).astype(int)}, {})


def _ratios(batches: list[tuple[Array, Array, Array]], belief: Array) -> Array:
    """The log of the likelihood ratio of class 1 to class 0 (n,), summed over the batches, if classes are believed so.

    Along its batch's direction a gradient is the class's sign times a length (half-normal), plus normal noise: so zero
    parts the classes, and the ratio is that of two normal distribution functions. Both spreads follow from the mean of
    the values, each with its believed sign, and from the mean of their squares.
    """
    shares = [belief[where] - belief[where].mean() for where, _, _ in batches]
    units = [values[known] / max(float(np.sqrt((values[known] ** 2).mean())), 1e-30) for _, known, values in batches]
    near = _smoothed(np.array([share @ unit for share, unit in zip(shares, units, strict=True)]))
    read: list[Array] = []
    for place, (share, unit) in enumerate(zip(shares, units, strict=True)):
        direction = near[place] - share[:, None] * unit / (2 * NEAR + 1)
        read.append((unit * direction).sum(1) / np.maximum(np.linalg.norm(direction, axis=1), 1e-30))
    signs = [2 * belief[where] - 1 for where, _, _ in batches]
    means = _smoothed(np.array([[(s * a).mean(), (a**2).mean()] for s, a in zip(signs, read, strict=True)]))
    length = np.sqrt(np.pi / 2) * np.maximum(means[:, 0], 0)
    noise = np.sqrt(np.maximum(means[:, 1] - length**2, LEAST * means[:, 1]))
    sure = length / np.maximum(noise * np.sqrt(noise**2 + length**2), 1e-30)
    total = np.zeros(len(belief))
    for place, (where, _, _) in enumerate(batches):
        scaled = sure[place] * read[place]
        np.add.at(total, where, special.log_ndtr(scaled) - special.log_ndtr(-scaled))
    return total


def _smoothed(rows: Array) -> Array:
    """Each row with those up to `NEAR` before and after it, averaged."""
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, 0)])
    at = np.arange(len(rows))
    low, high = np.maximum(at - NEAR, 0), np.minimum(at + NEAR + 1, len(rows))
    return (sums[high] - sums[low]) / (high - low)[:, None]


def _told(said: Array, chance: Array) -> Array:
    """The log of the likelihood ratio of class 1 to class 0 that each sign (n,) gives; 0 for a sign of 0.

    How often a sign is positive in each class is what makes the signs most likely, if `chance` (n,) are the
    probabilities of class 1. If that is hardly more likely than one frequency for both classes, signs say nothing.
    """
    positive, p = said[said != 0] > 0, chance[said != 0][:, None, None]
    if not len(positive):
        return np.zeros(len(said))
    grid = np.linspace(LEAST, 1 - LEAST, STEPS)
    mixed = p * grid[:, None] + (1 - p) * grid[None, :]
    likely = np.log(np.where(positive[:, None, None], mixed, 1 - mixed)).sum(0)
    one, other = np.unravel_index(int(likely.argmax()), likely.shape)
    if likely[one, other] - np.diagonal(likely).max() <= BEYOND_CHANCE:
        return np.zeros(len(said))
    ratios = {1.0: np.log(grid[one] / grid[other]), -1.0: np.log((1 - grid[one]) / (1 - grid[other])), 0.0: 0.0}
    return np.array([ratios[float(s)] for s in said])
