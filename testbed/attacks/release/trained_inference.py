"""Attribute inference by a model trained on the release."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from testbed.attacks.registry import attack
from testbed.attacks.release.attribute_inference import tolerance_of
from testbed.attacks.release.features import ranked
from testbed.core import Array, Column, Gaps, Guesses, Release, Table
from testbed.core.randomness import keyed_rng
from testbed.core.tables.rows import row_keys

MOST_ROWS, MOST_LEVELS = 5000, 20
"""Released rows from which the model learns at most, and categories that it guesses at most."""


@attack(
    subject="release",
    rule="TB-ATTRIBUTE_INFERENCE-002",
    risk="attribute_inference",
    claim=Guesses,
    needs={"known_columns"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2211.10459",
)
def trained_inference(
    view: Release,
    question: Gaps,
    auxiliary: None,
    rng: np.random.Generator,
    *,
    tolerance: float = 0.05,
    trees: int = 30,
) -> Guesses:
    """Guess a secret by randomised trees that learn it from the release's other columns.

    Threat model: as `attribute_inference`. A model generalises, while the nearest row copies. It therefore gains more
    from what the release says about everybody (utility, which the control subtracts) than from single rows. It learns
    from at most 5,000 rows, and guesses one of the 20 most common categories.
    """
    seed = int(rng.integers(2**62))
    # The rows used for training do not depend on their order.
    rows = np.argsort(row_keys(view.table, seed), kind="stable")[:MOST_ROWS]
    sample = view.table.take(rows)
    values = {s.name: _guess(s, sample, question.without(s), trees, seed) for s in question.secrets}
    return Guesses(values, {s.name: tolerance_of(s, view.table, tolerance) for s in question.secrets})


FEW_VALUES = 10
"""For a number with at most this many distinct values, one of them is guessed, and not a value in between."""


def _guess(secret: Column, release: Table, known: Table, trees: int, seed: int) -> Array:
    truth = release.select((secret.name,)).values[0]
    others = release.select(tuple(c.name for c in known.columns))
    learnt, asked = ranked(others, others), ranked(known, others)
    state = int(keyed_rng(seed % 2**32, secret.name).integers(2**31))
    there = ~np.isnan(truth)
    if secret.kind == "numeric" and len(np.unique(truth[there])) > FEW_VALUES:
        if there.mean() <= 0.5:
            return np.full(len(known), np.nan)  # most values are missing, so missing is the best guess
        origin = float(truth[there].min())
        width = float(truth[there].max() / 2 - origin / 2) * 2
        if width == 0:
            return np.full(len(known), origin)
        model = ExtraTreesRegressor(trees, random_state=state, max_features=1 / 3)
        model.fit(learnt[there], truth[there] / width - origin / width)
        return (np.asarray(model.predict(asked)) + origin / width) * width
    if secret.kind == "numeric" and there.mean() <= 0.5:
        return np.full(len(known), np.nan)
    levels, counts = np.unique(truth[there] if secret.kind == "numeric" else truth, return_counts=True)
    common = levels[np.argsort(-counts, kind="stable")][:MOST_LEVELS]
    usable = np.isin(truth, common)
    forest = ExtraTreesClassifier(trees, random_state=state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few rows and many classes
        forest.fit(learnt[usable], np.searchsorted(levels, truth[usable]))
    return levels[np.asarray(forest.predict(asked), dtype=int)].astype(float)
