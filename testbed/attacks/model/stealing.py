"""Model stealing: a substitute is trained on the model's answers."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from testbed.attacks.model.predictions import SMALLEST
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Predictor, Queries, Substitutes, Unavailable
from testbed.core.threads import one_thread

FEWEST = 10
"""Records to ask about at least."""
WIDE = 64
"""Inputs that a split of a tree looks at, at most."""


@attack(
    subject="model",
    rule="TB-EXTRACTION-301",
    risk="extraction",
    claim=Substitutes,
    needs={"queries"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1609.02943",
)
def model_stealing(
    view: Predictor, question: Queries, auxiliary: Cohort | None, rng: np.random.Generator
) -> Substitutes:
    """Train a substitute on the model's answers for the attacker's own records (Tramer et al. 2016).

    Threat model: anybody who may ask the model for probabilities about own records, up to a budget. A forest and a
    network are fitted to the answers by least squares; the one that agrees more with a held-out fifth of them is used.
    Raises `Unavailable` for a budget below ten.
    """
    if min(question.budgets) < FEWEST:
        raise Unavailable("few_queries", f"{FEWEST} records to ask about, or more")
    order = rng.permutation(len(question.pool))[: max(question.budgets)]
    pool = question.pool.take(order)
    answers = np.asarray(view.ask(pool), dtype=np.float64)
    made = {b: _substitute(pool.x[:b].reshape(b, -1), answers[:b], rng) for b in question.budgets}
    return Substitutes(made)


def _substitute(x: Array, answers: Array, rng: np.random.Generator) -> Predictor:
    seed = int(rng.integers(2**31))
    held = np.arange(len(x)) % 5 == 0

    def candidates() -> list[Any]:
        network = MLPRegressor(
            hidden_layer_sizes=(64, 64), alpha=1e-3, max_iter=500, early_stopping=len(x) >= 100, random_state=seed
        )
        trees = ExtraTreesRegressor(100, max_features=min(1.0, WIDE / x.shape[1]), random_state=seed)
        return [trees, make_pipeline(StandardScaler(), network)]

    agreed: list[float] = []
    with one_thread(None), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network that stops early is judged by its agreement
        for model in candidates():
            said = model.fit(x[~held], answers[~held]).predict(x[held])
            agreed.append(float((said.argmax(1) == answers[held].argmax(1)).mean()))
        best = candidates()[int(np.argmax(agreed))].fit(x, answers)
    return Predictor(partial(_ask, best), answers.shape[1])


def _ask(model: Any, people: Cohort) -> Array:
    said = np.clip(np.asarray(model.predict(people.x.reshape(len(people), -1)), dtype=np.float64), SMALLEST, None)
    return said / said.sum(1, keepdims=True)
