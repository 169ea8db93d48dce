"""The people of a team: who is in which list, and where the flags are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from testbed.range import exercise as exercises
from testbed.range.exercise import FederatedExercise, federated
from testbed.range.patients import FLAGGED, read_label
from testbed.range.population import first, population, public
from testbed.range.truth import Truth
from tests.range.small import written


@pytest.fixture(scope="module")
def exercise(tmp_path_factory: pytest.TempPathFactory) -> FederatedExercise:
    return federated(exercises.load(str(written(tmp_path_factory.mktemp("exercise") / "small"))))


def test_each_flag_is_the_label_of_the_patient_whom_its_round_uses_first(exercise: FederatedExercise) -> None:
    people = population(exercise, 3)
    flags = {r: planned.flag for r, planned in enumerate(exercise.rounds, 1) if planned.flag}
    assert people.truth.flags.keys() == flags.keys()
    for round_, hospital in flags.items():
        label = read_label(people.hospitals[hospital].x[first(exercise, round_)])
        assert label == people.truth.flags[round_]
        assert label.startswith(FLAGGED)
    everybody = [read_label(x) for h in people.hospitals.values() for x in h.x]
    assert sum(label.startswith(FLAGGED) for label in everybody) == len(flags)
    # A flag must not stand out among look-alikes by its first sign.
    assert any(read_label(x).startswith(FLAGGED) for x in people.truth.decoys.x)


def test_red_gets_no_picture_of_a_patient_whom_a_gradient_round_uses(exercise: FederatedExercise) -> None:
    people = population(exercise, 3)
    asked = set(people.asked.persons.tolist())
    used = first(exercise, len(exercise.rounds)) + exercise.rounds[-1].batch
    for patients in people.hospitals.values():
        assert not asked & set(patients.persons[:used].tolist())
        assert len(asked & set(patients.persons.tolist())) == exercise.patients.named


def test_names_say_nothing_of_who_was_a_patient(exercise: FederatedExercise) -> None:
    people = population(exercise, 3)
    numbers = np.array([int(name.rpartition("-")[2]) for name in people.truth.names])
    used = people.truth.used
    assert used.sum() == exercise.patients.named * len(exercise.hospitals)
    # Ranks of members among all names, by number and by place: far from either end.
    for order in (numbers, np.arange(len(used))):
        ranks = np.argsort(np.argsort(order))[used] / len(used)
        assert abs(ranks.mean() - 0.5) < 0.2
    assert set(people.suspected.tolist()) == {0, 1, 2}


def test_another_seed_gives_other_people_and_other_flags(exercise: FederatedExercise) -> None:
    one, other = population(exercise, 3), population(exercise, 4)
    assert not set(one.truth.flags.values()) & set(other.truth.flags.values())
    assert not np.array_equal(one.truth.patients.x, other.truth.patients.x)
    again = population(exercise, 3)
    assert np.array_equal(one.truth.patients.x, again.truth.patients.x)
    assert len(public(exercise, 3)) == exercise.patients.public


def test_the_truth_comes_back_from_its_file_which_its_owner_alone_can_read(
    exercise: FederatedExercise, tmp_path: Path
) -> None:
    truth = population(exercise, 3).truth
    truth.write(tmp_path / "truth.npz")
    read = Truth.read(tmp_path / "truth.npz")
    assert (read.names, read.flags) == (truth.names, truth.flags)
    for mine, theirs in ((read.patients.x, truth.patients.x), (read.decoys.x, truth.decoys.x), (read.used, truth.used)):
        assert np.array_equal(mine, theirs)
    assert (tmp_path / "truth.npz").stat().st_mode & 0o777 == 0o600
