"""The world of site inference: two hospitals, whose patients differ a little, and a model that learnt who is where."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from testbed import judge, models
from testbed.attacks.registry import Attack
from testbed.core import Array, Cohort, Evidence, ModelSpec, Origins, Protocol, Threat, Transcript
from testbed.core.randomness import keyed_rng
from testbed.models.ensemble import Training, train
from tests.conformance.base import EVERYTHING, World, as_bytes

EACH, COLUMNS = 150, 24
SPEC = ModelSpec("mlp", {"shape": [COLUMNS], "classes": 2, "hidden": [64]})
BY_HEART = Training(epochs=80, batch_size=30, learning_rate=0.1, momentum=0.9)


@cache
def people(name: str, n: int) -> tuple[Cohort, Array]:
    """People with their hospitals; one column says a little of the hospital."""
    rng = keyed_rng(41, name)
    x = rng.random((n, COLUMNS)).astype(np.float32)
    site = (x[:, 0] + rng.normal(0, 0.6, n) > 0.5).astype(np.int64)
    return Cohort(x, rng.integers(0, 2, n), np.array([f"{name} {i}" for i in range(n)])), site


def sites(attack: Attack) -> World:
    """The dial is the share of people whose own hospital the model learnt by heart; it learnt others' at random."""
    (trained, site), (others, theirs) = (people(n, 2 * EACH) for n in ("members", "controls"))
    halves = [
        Cohort(*(np.concatenate([getattr(p, n)[rows] for p in (trained, others)]) for n in ("x", "y", "persons")))
        for rows in (slice(0, EACH), slice(EACH, None))
    ]
    both, known = halves
    right, homes = (np.concatenate([site[rows], theirs[rows]]) for rows in (slice(0, EACH), slice(EACH, None)))
    used = np.arange(2 * EACH) < EACH
    threat = Threat(attack.position, knows=EVERYTHING)
    question = Origins(both, 2, known, homes)

    @cache
    def view(leak: float) -> Transcript:
        rng = keyed_rng(4, "dial")
        taught = np.where(rng.permutation(2 * EACH) < leak * 2 * EACH, site, rng.permutation(site))
        everybody = np.ones((1, 2 * EACH), bool)
        made = train(lambda: models.build(SPEC, 0), trained.x, taught, everybody, BY_HEART, 0)
        final = {name: values[0].detach().numpy().copy() for name, values in made.parameters.items()}
        return Transcript((), SPEC, Protocol(), "recipient", final)

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        order = keyed_rng(9, "order").permutation(2 * EACH) if shuffled else np.arange(2 * EACH)
        claim: Any = attack.run(view(leak), Origins(both.take(order), 2, known, homes), None, seed, threat)
        return judge.sources(claim, right[order], used[order], "true", both.persons[order])

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(attack.run(view(leak), question, None, seed, threat))

    return World(judged, claimed, threat, view, question, None)
