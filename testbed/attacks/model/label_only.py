"""Membership from the predicted class alone: how far a record can be moved before the model changes its mind."""

from __future__ import annotations

import numpy as np

from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Predictor, Records, Scores
from testbed.core.randomness import keyed_rng

STRENGTHS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
KEPT = 0.97
MOST_TRIED, COPIES_TRIED = 100, 4


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-314",
    risk="membership",
    claim=Scores,
    needs={"target_records", "queries"},
    position="recipient",
    access="label",
    reference="https://arxiv.org/abs/2007.14321",
    classes_only=True,
    asks="copies",
)
def label_noise(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    copies: int = 64,
) -> Scores:
    """Score a record by the share of its noisy copies that the model still classifies rightly (Choquette-Choo 2021).

    One that is not classified rightly itself comes after all that are: it lies beyond the boundary.

    Threat model: whoever may ask the model for its class alone, as often as wanted, and holds the records in doubt.
    Measurements get Gaussian noise on the scale of their spread among these records; columns of two values are
    swapped by chance. The strength is the one under which about 97 of 100 records in doubt that are classified rightly
    still are, found with no knowledge of who was used: noise that moves more also moves what was learnt. Asks about
    `copies` times the records, and somewhat more.
    """
    people = question.people
    assert isinstance(people, Cohort)
    x = people.x.reshape(len(people), -1).astype(np.float64)
    spread, levels = x.std(0), [np.unique(column) for column in x.T]
    two = np.array([len(v) == 2 for v in levels])
    total = np.array([v[0] + v[-1] for v in levels])  # of two values the other one is their sum less this one
    order = np.lexsort((people.y, *x.T))  # by contents, so that noise does not follow the order of the question
    place = np.argsort(order)
    seed = int(rng.integers(2**31))

    def right(rows: Array, strength: float, number: int) -> Array:
        """How often each of these records (rows,) keeps its class, of `number` copies."""
        kept = np.zeros(len(rows))
        for copy in range(number):
            drawn = keyed_rng(seed, "noise", copy)
            swapped = two & (drawn.random(x.shape)[place[rows]] < strength / (2 + 2 * strength))
            moved = x[rows] + strength * spread * np.where(two, 0, drawn.normal(size=x.shape)[place[rows]])
            moved = (
                np.where(swapped, total - moved, moved).astype(people.x.dtype).reshape(len(rows), *people.x.shape[1:])
            )
            said = np.asarray(view.ask(Cohort(moved, people.y[rows], people.persons[rows])))
            kept += said.argmax(1) == people.y[rows]
        return kept / number

    tried = order[:: max(1, len(order) // MOST_TRIED)]
    clean = right(tried, 0.0, 1).mean()
    wanted = KEPT * clean
    rates = [right(tried, s, COPIES_TRIED).mean() for s in STRENGTHS]
    strength = STRENGTHS[int(np.argmin(np.abs(np.array(rates) - wanted)))]
    everybody = np.arange(len(people))
    return Scores(right(everybody, strength, copies) + right(everybody, 0.0, 1))
