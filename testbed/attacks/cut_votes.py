"""Classes of people from the gradients that the party with the labels sends at the cut of a split network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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


def guessed(view: Transcript, question: Labels, auxiliary: Cohort | None, reading: Reading) -> Guesses:
    """The most probable class of each person, from what their gradients say and what the attacker's columns say.

    The reading divides a batch into two groups. Which of them is which class, and how often it is right, follows from
    how well it agrees with a logistic regression on the attacker's columns, learnt from other people. Both are combined
    as independent. So a reading that says nothing leaves the regression's guess.
    """
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
    total = np.zeros(len(chance))
    for rows, values in gradients:
        known = [i for i, row in enumerate(rows.tolist()) if int(row) in place]
        where = np.array([place[int(rows[i])] for i in known], dtype=int)
        if len(known) < 2:
            continue
        votes = np.sign(reading(values)[known])
        agrees = votes * (chance[where] - chance[where].mean())
        # Which side of a batch is class 1 is told by the others in it: else each would agree a little by itself.
        np.add.at(total, where, votes * np.sign(agrees.sum() - agrees))
    evidence = np.log(chance / (1 - chance)) + _told(np.sign(total), chance)
    return Guesses({"class": (evidence > 0).astype(int)}, {})


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
