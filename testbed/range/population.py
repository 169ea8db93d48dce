"""The people of one team, all generated: the hospitals' patients, people of no hospital, look-alikes, and the flags."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from testbed.core import Array, Cohort
from testbed.core.randomness import keyed_rng
from testbed.range.exercise import FederatedExercise
from testbed.range.patients import FLAGGED, labels, patients
from testbed.range.truth import Truth


@dataclass(frozen=True, slots=True)
class Population:
    """Everybody of one team.

    `hospitals` are the patients, in the order in which gradient rounds use them. `outsiders` have their true diagnoses,
    so that a model's accuracy can be measured. `asked` are the people in the list of names, with the hospital of which
    each is suspected to be a patient.
    """

    hospitals: dict[str, Cohort]
    asked: Cohort
    suspected: Array
    outsiders: Cohort
    truth: Truth


def population(exercise: FederatedExercise, seed: int) -> Population:
    """The people by a seed, which is drawn anew at every start and stays with the instructor.

    Every picture shows a label. A flag is a label that begins with `F`; nobody else's does, but some look-alikes'.
    """
    rng, sizes = keyed_rng(seed, "people"), exercise.patients
    counts = {"patients": sizes.each * len(exercise.hospitals), "outsiders": sizes.outsiders, "decoys": sizes.decoys}
    everybody = sum(counts.values())
    shown = labels(everybody, rng)
    starts = np.cumsum([0, *counts.values()])
    codes = labels(len(exercise.rounds) + sizes.decoys // 20, rng, FLAGGED)
    flags = {r: codes.pop() for r, planned in enumerate(exercise.rounds, 1) if planned.flag is not None}
    for r, code in flags.items():
        shown[_flagged(exercise, r)] = code
    for place, code in zip(range(int(starts[2]), everybody), codes, strict=False):
        shown[place] = code
    names = [f"person-{k:05d}" for k in rng.permutation(everybody)]
    certain = patients(names, shown, rng)
    people = doubted(certain, sizes.doubtful, rng)
    parts = [people.take(np.arange(a, b)) for a, b in pairwise(starts.tolist())]
    hospitals = {
        name: parts[0].take(np.arange(i * sizes.each, (i + 1) * sizes.each))
        for i, name in enumerate(exercise.hospitals)
    }
    # Named are each hospital's last patients, whom the gradient rounds do not reach.
    named = [h.take(np.arange(sizes.each - sizes.named, sizes.each)) for h in hospitals.values()]
    asked = together([*named, parts[1]])
    holders = np.repeat(np.arange(len(named)), sizes.named)
    suspected = np.concatenate([holders, np.arange(len(parts[1])) % len(named)])
    order = rng.permutation(len(asked))
    used = (np.arange(len(asked)) < len(holders))[order]
    asked = asked.take(order)
    truth = Truth(parts[0], parts[2], tuple(asked.persons.tolist()), used, flags)
    outsiders = certain.take(np.arange(starts[1], starts[2]))
    return Population(hospitals, asked, suspected[order], outsiders, truth)


def public(exercise: FederatedExercise, seed: int) -> Cohort:
    """The sample of other people that all teams hold."""
    rng, n = keyed_rng(seed, "public"), exercise.patients.public
    return doubted(
        patients([f"public-{k:05d}" for k in range(n)], labels(n, rng), rng), exercise.patients.doubtful, rng
    )


def first(exercise: FederatedExercise, round_: int) -> int:
    """How many of a hospital's patients the gradient rounds before this one use."""
    return sum(r.batch for r in exercise.rounds[: round_ - 1] if r.kind == "gradient")


def doubted(people: Cohort, share: float, rng: np.random.Generator) -> Cohort:
    """The people with this share of their diagnoses turned."""
    wrong = rng.random(len(people)) < share
    return Cohort(people.x, np.where(wrong, 1 - people.y, people.y), people.persons)


def together(parts: list[Cohort]) -> Cohort:
    """Several cohorts as one."""
    return Cohort(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("x", "y", "persons")))


def _flagged(exercise: FederatedExercise, round_: int) -> int:
    """The row of the flagged patient of a round: the first whom it uses of the flagged hospital."""
    planned = exercise.rounds[round_ - 1]
    assert planned.flag is not None
    return exercise.hospitals.index(planned.flag) * exercise.patients.each + first(exercise, round_)
