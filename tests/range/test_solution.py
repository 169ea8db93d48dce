"""The shipped exercise can be won: its own solutions reach what they promise, on fresh people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.attacks.registry import find
from testbed.core import Records, Threat
from testbed.range import exercise as exercises
from testbed.range import field
from testbed.range.hospitals import CLEARLY
from testbed.range.loot import KNOWS
from testbed.range.population import population, public
from testbed.range.truth import true_positives

EXERCISE = exercises.federated(exercises.load("gradient-heist"))


def above_par(seed: int) -> tuple[bool, bool, bool]:
    """Rounds 1 to 4 without a defence: does the documented attack pass par, does the trivial one, and is every model
    above the floor?"""
    sample, people = public(EXERCISE, seed + 1000), population(EXERCISE, seed)
    model = field.warmed(EXERCISE, sample, seed + 1000)
    useful = field.utility(EXERCISE, model, people) >= EXERCISE.limits.utility_floor + CLEARLY
    facts: Any = {}
    seen: Any = None
    for number in range(1, 5):
        at_work = {"seed": seed, "public": sample, "dropped": []}
        played = field.play(EXERCISE, number, people, model, field.Switches(), at_work)
        model, facts, seen = played.model, played.facts, played.seen
        useful = useful and bool(facts["above_floor"])
    passed: list[bool] = []
    for name in ("update_product", "loss_threshold"):
        question: Any = Records(people.asked, people.suspected)
        claim: Any = find(name).run(seen, question, sample, 0, Threat("server", False, KNOWS), {})
        values = np.asarray(claim.values, float)
        passed.append(true_positives(values, people.truth.used, EXERCISE.limits.membership_fpr).low > facts["par"])
    return passed[0], passed[1], useful


@pytest.mark.slow
def test_the_documented_attack_passes_par_and_the_trivial_one_does_not() -> None:
    found = [above_par(seed) for seed in range(200, 210)]
    assert sum(documented for documented, _, _ in found) >= 9
    assert not any(trivial for _, trivial, _ in found)
    assert all(useful for _, _, useful in found)
