"""The shipped exercise can be won: its own solutions reach what they promise, on fresh people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.attacks.registry import find
from testbed.core import Cohort, Records, Threat
from testbed.range import exercise as exercises
from testbed.range import field
from testbed.range.hospitals import CLEARLY
from testbed.range.loot import KNOWS
from testbed.range.population import Population, population, public
from testbed.range.truth import true_positives

EXERCISE = exercises.federated(exercises.load("gradient-heist"))


def above_par(seed: int) -> tuple[bool, bool, bool]:
    """Rounds 1 to 4 without a defence: does the documented attack pass par, does the trivial one, and is every model
    above the floor?"""
    sample, people = public(EXERCISE, seed + 1000), population(EXERCISE, seed)
    model = field.warmed(EXERCISE, sample, seed + 1000)
    useful = field.utility(EXERCISE, model, people) >= EXERCISE.limits.utility_floor + CLEARLY
    played: Any = None
    for number in range(1, 5):
        at_work = {"seed": seed, "public": sample, "dropped": []}
        played = field.play(EXERCISE, number, people, model, field.Switches(), at_work)
        model = played.model
        useful = useful and bool(played.facts["above_floor"])
    documented, trivial = (above_par_of(name, played, people, sample) for name in ("update_product", "loss_threshold"))
    return documented, trivial, useful


def above_par_of(name: str, played: field.Finished, people: Population, sample: Cohort) -> bool:
    """Is an attack on a round that was played surely above par, at 5 % false positives?"""
    question: Any = Records(people.asked, people.suspected)
    claim: Any = find(name).run(played.seen, question, sample, 0, Threat("server", False, KNOWS), {})
    found = true_positives(np.asarray(claim.values, float), people.truth.used, 0.05)
    return found.low > float(played.facts["par"] or 0)


@pytest.mark.slow
def test_the_documented_attack_passes_par_and_the_trivial_one_does_not() -> None:
    found = [above_par(seed) for seed in range(200, 210)]
    assert sum(documented for documented, _, _ in found) >= 9
    assert not any(trivial for _, trivial, _ in found)
    assert all(useful for _, _, useful in found)
