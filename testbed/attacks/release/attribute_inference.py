"""Attribute inference: does the release reveal a person's attribute better than general knowledge would?"""

from __future__ import annotations

import numpy as np

from testbed.attacks.kit import attack
from testbed.attacks.release.neighbours import Scale, nearest
from testbed.core import Array, Column, Gaps, Guesses, Release, Table


def spread(values: Array) -> float:
    """The width of the middle 90 % of a numeric column, or its whole range where that is 0."""
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0
    low, high = np.quantile(known, [0.05, 0.95])
    return float(high - low) or float(known.max() - known.min())


def tolerance_of(secret: Column, release: Table, share: float) -> float:
    """How far a numeric guess may be off, in the column's unit: a share of its spread, whatever its sign."""
    return share * spread(release.select((secret.name,)).values[0]) if secret.kind == "numeric" else 0.0


@attack(
    risk="attribute_inference",
    claim=Guesses,
    needs={"known_columns"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2211.10459",
)
def attribute_inference(
    view: Release, question: Gaps, auxiliary: None, rng: np.random.Generator, *, tolerance: float = 0.05
) -> Guesses:
    """Guess a person's secret as that of the released row nearest in all other columns.

    Threat model: the recipient knows everything about the person but the secret (Giomi et al. 2023, section
    3.2.3, with the largest auxiliary set). A category must be hit exactly, a number within `tolerance` of the
    width of the column's middle 90 % in the release.
    """
    known = tuple(c.name for c in question.known.columns)
    found, _ = nearest(question.known, view.table.select(known), Scale.of(view.table), rng)
    released = view.table.select((question.secret.name,)).values[0]
    return Guesses(released[found[:, 0]], tolerance_of(question.secret, view.table, tolerance))


@attack(
    risk="attribute_inference",
    claim=Guesses,
    needs={"known_columns"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2211.10459",
)
def marginal_guess(
    view: Release, question: Gaps, auxiliary: None, rng: np.random.Generator, *, tolerance: float = 0.05
) -> Guesses:
    """Guess everybody's secret as the release's most common category, or its median: the blind guess.

    Threat model: the recipient looks at one column of the release and at nothing of the person. It is the
    baseline beside which `attribute_inference` is read.
    """
    released = view.table.select((question.secret.name,)).values[0]
    if question.secret.kind == "categorical":
        codes, counts = np.unique(released, return_counts=True)
        guess = float(codes[counts.argmax()])
    else:
        known = released[~np.isnan(released)]
        guess = float(np.median(known)) if len(known) > len(released) / 2 else np.nan
    values = np.full(len(question.known), guess)
    return Guesses(values, tolerance_of(question.secret, view.table, tolerance))
