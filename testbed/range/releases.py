"""The ground of an exercise about released tables: its people, and the candidates that blue decides about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from testbed.attacks.registry import find as find_attack
from testbed.core import Array, Cohort, Records, Release, Scores, Threat
from testbed.core.randomness import keyed_rng
from testbed.data import fingerprints
from testbed.data.tables.encode import Meta, encode
from testbed.range.desk import Desk
from testbed.range.events import Fact
from testbed.range.exercise import ReleaseExercise
from testbed.range.instance import Instance, write_secret
from testbed.range.records import RECIPES, stays
from testbed.range.state import Progress, State
from testbed.range.truth import Truth, true_positives

KNOWS = frozenset({"auxiliary", "target_records"})
"""What red knows: the rows of the people it asks about, and a sample of other people."""
NAME = "name"
"""The column of the list of names that says who somebody is."""
NAMES, PUBLIC, ORIGINAL, CONTROL = "names.csv", "public.csv", "original.csv", "control.csv"
TRIVIAL = "nearest_release_row"
"""The attack whose rate is par: it sorts the names by the distance to the nearest released row."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Everybody of one team. `asked` has a name and a row of each named person; `used`: is this one in the original?"""

    original: pd.DataFrame
    control: pd.DataFrame
    asked: pd.DataFrame
    used: Array


def crowd(exercise: ReleaseExercise, seed: int) -> Crowd:
    """The people by a seed, which is drawn anew at every start and stays with the instructor."""
    rng, sizes = keyed_rng(seed, "people"), exercise.people
    original, control, others = (stays(n, rng) for n in (sizes.original, sizes.control, sizes.outsiders))
    named = original.iloc[rng.permutation(len(original))[: sizes.named]]
    asked = pd.concat([named, others], ignore_index=True)
    order = rng.permutation(len(asked))
    asked = asked.iloc[order].reset_index(drop=True)
    asked.insert(0, NAME, [f"person-{k:05d}" for k in rng.permutation(len(asked))])
    return Crowd(original, control, asked, (np.arange(len(order)) < sizes.named)[order])


def public(exercise: ReleaseExercise, seed: int) -> pd.DataFrame:
    """The sample of other people that red holds."""
    return stays(exercise.people.public, keyed_rng(seed, "public"))


def candidate(exercise: ReleaseExercise, number: int, people: Crowd, seed: int) -> pd.DataFrame:
    """The candidate release of this number."""
    return RECIPES[exercise.planned(number).made](people.original, keyed_rng(seed, "candidate", number))


def populate(instance: Instance, exercise: ReleaseExercise, progress: Progress) -> State:
    """New people. The truth goes to the scorer's folder alone."""
    state = State.new(instance.teams)
    progress("generating the patients")
    sample = public(exercise, state.public_seed)
    for team in range(1, instance.teams + 1):
        people = crowd(exercise, state.seeds[str(team)])
        truth(people).write(instance.scorer / f"truth-{team}.npz")
        red, blue = instance.desk("red", team), instance.desk("blue", team)
        people.asked.to_csv(red / NAMES, index=False)
        sample.to_csv(red / PUBLIC, index=False)
        people.original.to_csv(blue / ORIGINAL, index=False)
        people.control.to_csv(blue / CONTROL, index=False)
    return state


def truth(people: Crowd) -> Truth:
    """What the scorer holds. Nobody's picture is at stake, so it holds none."""
    nobody = Cohort(np.zeros((0, 1), np.float32), np.zeros(0, np.int64), np.zeros(0, "<U1"))
    return Truth(nobody, nobody, tuple(people.asked[NAME]), people.used, {})


def play(instance: Instance, exercise: ReleaseExercise, team: int, progress: Progress) -> Mapping[str, Fact]:
    """Hand out the next candidate of a team. Returns its facts."""
    state = State.of(instance)
    seed, number = state.seeds[str(team)], state.rounds[str(team)] + 1
    planned = exercise.planned(number)
    progress(f"handing out candidate {number} to team {team}: {planned.title}")
    people = crowd(exercise, seed)
    made = candidate(exercise, number, people, seed)
    facts: dict[str, Fact] = {
        "title": planned.title,
        "kind": "release",
        "leaks": planned.leaks,
        "par": round(par(exercise, people, public(exercise, state.public_seed), made), 4),
        "above_floor": False,
        "original": fingerprints.of_table(people.original, fingerprints.PUBLIC),
        "synthetic": fingerprints.of_table(made, fingerprints.PUBLIC),
    }
    write_secret(instance.scorer / f"round-{team}-{number:03d}.json", "{}")
    Desk(instance, "white").note("round", {**facts, "round": number}, team)
    # What follows may be done again: the scorer knows the candidate, and nobody has seen it yet.
    for side in ("red", "blue"):
        made.to_csv(instance.desk(side, team) / file_name(number), index=False)
    state.rounds[str(team)] = number
    state.keep(instance)
    return facts


def file_name(number: int) -> str:
    return f"release-{number:02d}.csv"


def par(exercise: ReleaseExercise, people: Crowd, sample: pd.DataFrame, made: pd.DataFrame) -> float:
    """The TPR of the trivial attack at the exercise's FPR; never below that rate itself."""
    fpr = exercise.limits.membership_fpr
    found = scores(TRIVIAL, people.asked, sample, made)
    return max(fpr, true_positives(found, people.used, fpr).value)


def scores(
    attack: str, asked: pd.DataFrame, sample: pd.DataFrame, made: pd.DataFrame, columns: Sequence[str] = ()
) -> Array:
    """What an attack on released tables says of each named person (n,), by these columns or by all."""
    used = list(columns) or [str(c) for c in made.columns]
    asked, sample, made = (t.filter(items=used) for t in (asked, sample, made))
    everybody = pd.concat([asked, sample], ignore_index=True)
    coded = encode(everybody, made, None, Meta())
    people, others = np.arange(len(asked)), np.arange(len(asked), len(everybody))
    question, reference = Records(coded.original.take(people)), coded.original.take(others)
    threat = Threat("recipient", False, KNOWS)
    claim: Any = find_attack(attack).run(Release(coded.synthetic), question, reference, 0, threat, {})
    assert isinstance(claim, Scores)
    return np.asarray(claim.values, float)


def read(path: Path) -> pd.DataFrame:
    """A table of a desk, as it was written."""
    return pd.read_csv(path)
