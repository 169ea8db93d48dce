"""Attribute inference: does the release reveal a person's attribute better than general knowledge does?"""

from __future__ import annotations

import numpy as np

from testbed.attacks.registry import attack
from testbed.core import Array, Column, Gaps, Guesses, Release, Table
from testbed.core.tables.neighbours import nearest, nearest_without_each
from testbed.core.tables.scale import Scale


def spread(values: Array) -> float:
    """The width of the middle 90 % of a numeric column, or its whole range if that width is 0."""
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0
    low, high = np.quantile(known, [0.05, 0.95])
    return float(high - low) or float(known.max() - known.min())


def tolerance_of(secret: Column, release: Table, share: float) -> float:
    """The largest error of a correct numeric guess, in the column's unit: a `share` of the column's spread."""
    return share * spread(release.select((secret.name,)).values[0]) if secret.kind == "numeric" else 0.0


def _tolerances(question: Gaps, release: Table, share: float) -> dict[str, float]:
    return {s.name: tolerance_of(s, release, share) for s in question.secrets}


@attack(
    subject="release",
    rule="TB-ATTRIBUTE_INFERENCE-001",
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
    """Guess a person's secret as the value in the released row that is nearest in all other known columns.

    Threat model: the recipient knows everything about the person except the secret, or except a block of columns (Giomi
    et al. 2023, section 3.2.3, with the largest auxiliary set). A category must be guessed exactly. A number may be
    wrong by `tolerance` times the width of the column's middle 90 % in the release.
    """
    scale, seed = Scale.of(view.table), int(rng.integers(2**62))
    known = tuple(c.name for c in question.known.columns)
    inside = tuple(s for s in question.secrets if s.name in known)
    rows: dict[str, Array] = {}
    if inside:
        found, _ = nearest_without_each(question.known, view.table.select(known), inside, scale, seed)
        rows |= {s.name: found[:, i] for i, s in enumerate(inside)}
    if len(inside) < len(question.secrets):
        found, _, _ = nearest(question.known, view.table, scale, seed)
        rows |= {s.name: found[:, 0] for s in question.secrets if s.name not in known}
    released = {s.name: view.table.select((s.name,)).values[0] for s in question.secrets}
    return Guesses({n: released[n][r] for n, r in rows.items()}, _tolerances(question, view.table, tolerance))


@attack(
    subject="release",
    rule="TB-ATTRIBUTE_INFERENCE-009",
    risk="attribute_inference",
    claim=Guesses,
    needs={"known_columns"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2211.10459",
    baseline=True,
)
def marginal_guess(
    view: Release, question: Gaps, auxiliary: None, rng: np.random.Generator, *, tolerance: float = 0.05
) -> Guesses:
    """Guess everybody's secret as the release's most common category, or its median: the blind guess.

    Threat model: the recipient uses one column of the release, and knows nothing about the person. It is the baseline
    for `attribute_inference`.
    """
    values = {s.name: np.full(len(question.known), _commonest(s, view.table)) for s in question.secrets}
    return Guesses(values, _tolerances(question, view.table, tolerance))


def _commonest(secret: Column, release: Table) -> float:
    released = release.select((secret.name,)).values[0]
    if secret.kind == "categorical":
        codes, counts = np.unique(released, return_counts=True)
        return float(codes[counts.argmax()])
    known = released[~np.isnan(released)]
    return float(np.median(known)) if len(known) > len(released) / 2 else np.nan
