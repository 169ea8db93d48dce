"""Labels in split learning: one class is rarer, and the attacker's columns say a little of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack
from testbed.core import Cohort, Evidence, Labels, Threat, Transcript
from testbed.core.randomness import keyed_rng
from testbed.subjects.federation.split import SplitLearning
from testbed.subjects.federation.tap import seen_by
from tests.conformance.base import ENGINE, EVERYTHING, World, as_bytes

EACH = 200
SPLIT = SplitLearning(features=6, own=3, rounds=60, batch=40, learning_rate=0.3, seed=5)


@cache
def people(name: str, n: int) -> Cohort:
    """Nearly four in ten are of class 1; the columns of both parties say something of it, and never all."""
    rng = keyed_rng(31, name)
    x = rng.random((n, 6)).astype(np.float32)
    y = (x[:, 0] + x[:, 3] + rng.normal(0, 0.6, n) > 1.2).astype(np.int64)
    return Cohort(x, y, np.array([f"{name} {i}" for i in range(n)]))


def labels(attack: Attack) -> World:
    """Two hundred people. The dial is the share of the people asked about on whom the parties really train."""
    members, controls, others = (people(name, EACH) for name in ("members", "controls", "others"))
    auxiliary = people("auxiliary", 300)
    threat = Threat(attack.position, knows=EVERYTHING, nodes=(0,))
    both = Cohort(*(np.concatenate([getattr(p, n) for p in (members, controls)]) for n in ("x", "y", "persons")))
    used = np.arange(2 * EACH) < EACH
    question = Labels(both.x[:, : SPLIT.own], np.where(used, np.arange(2 * EACH), -1))

    @cache
    def view(leak: float) -> Transcript:
        real = keyed_rng(4, "dial").permutation(EACH) < leak * EACH
        mixed = Cohort(
            np.where(real[:, None], members.x, others.x), np.where(real, members.y, others.y), members.persons
        )
        return seen_by(SPLIT.run(mixed, ENGINE)[0], threat)

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        order = np.random.default_rng(9).permutation(2 * EACH) if shuffled else np.arange(2 * EACH)
        asked = Labels(question.x[order], question.rows[order])
        claim: Any = attack.run(view(leak), asked, auxiliary, seed, threat)
        return judge.feature(claim, both.y[order], used[order], "true", both.persons[order])

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(attack.run(view(leak), question, auxiliary, seed, threat))

    return World(judged, claimed, threat, view, question, auxiliary)
