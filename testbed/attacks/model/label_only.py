"""Membership from the predicted class alone: how far can a record be moved before the class changes?"""

from __future__ import annotations

import numpy as np

from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Predictor, Records, Scores
from testbed.core.randomness import keyed_rng

STRENGTHS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
KEPT = 0.97
MOST_TRIED, COPIES_TRIED = 100, 4
MOST_QUERIES, FEWEST_COPIES = 50_000, 16
"""Noisy copies of all records together, about; and copies of each record at least."""


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
    """Score a record by the share of its noisy copies that the model still classifies correctly (Choquette-Choo 2021).

    A record that is misclassified without noise scores below all records that are not: it is beyond the boundary.

    Threat model: anybody who may ask the model for its class only, any number of times, and holds the records asked
    about. Numbers get Gaussian noise, in units of their standard deviation among these records; columns with two values
    are swapped at random. The strength of the noise is the one with which about 97 % of the correct classes stay
    correct. It is chosen without knowing who was used. The attack asks about slightly more than `copies` times the
    number of records. For many records it makes fewer copies: 50,000 in all, but 16 of each record at least.
    """
    people = question.people
    assert isinstance(people, Cohort)
    copies = min(copies, max(FEWEST_COPIES, MOST_QUERIES // len(people)))
    x = people.x.reshape(len(people), -1).astype(np.float64)
    spread, levels = x.std(0), [np.unique(column) for column in x.T]
    two = np.array([len(v) == 2 for v in levels])
    total = np.array([v[0] + v[-1] for v in levels])  # of two values, the other one is their sum minus this one
    order = np.lexsort((people.y, *x.T))  # by contents, so that the order of the question plays no part
    place = np.argsort(order)
    seed = int(rng.integers(2**31))

    def right(rows: Array, strength: float, number: int) -> Array:
        """The share (rows,) of `number` noisy copies of each record that are classified correctly."""
        kept = np.zeros(len(rows))
        for copy in range(number):
            drawn = keyed_rng(seed, "noise", copy)
            swapped = two & (drawn.random(x.shape) < strength / (2 + 2 * strength))[place[rows]]
            moved = x[rows]
            if not two.all():
                moved = moved + strength * spread * np.where(two, 0, drawn.normal(size=x.shape)[place[rows]])
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
