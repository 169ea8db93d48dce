"""What an attacker who knows a defence of trees, or at a cut, concludes: small cases that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.attacks.cut_votes import averaged, guessed
from testbed.attacks.grown_trees import (
    candidates,
    ill_in_all,
    likeliest,
    people_below,
    searched_in_noise,
    shared_out,
    unrounded,
)
from testbed.attacks.inversion.cut_direction import cut_direction
from testbed.attacks.tree_sums import Settings
from testbed.core import Array, Cohort, Exchange, Labels, Protocol, Transcript
from testbed.models.boosters import Ensemble, Tree


def test_values_that_are_rounded_to_a_threshold_lie_half_a_step_around_it() -> None:
    values = np.array([0.0, 0.04, 0.12, 0.24, 0.24, 0.26, 0.8, 1.0])
    found, often = candidates(0.2, 10, values)  # .15 to .25
    assert found.tolist() == [0.24]
    assert often.tolist() == [2]
    assert candidates(0.1, 10, values)[0].tolist() == [0.04, 0.12]  # nothing moves to 0
    assert likeliest(0.2, 10, values) == 0.24
    assert likeliest(0.5, 10, values) == 0.5  # nobody has such a value


def test_whole_numbers_that_add_up_are_the_nearest_ones_in_units_of_their_noise() -> None:
    # 1.4 + 2.4 + 3.4 = 7.2 would be rounded to 6. One more goes where it costs least: (1-.4)^2 / spread^2.
    said, spread = np.array([1.4, 2.4, 3.4]), np.array([1.0, 2.0, 1.0])
    assert shared_out(said, spread, np.array([9, 9, 9]), 7).tolist() == [1, 3, 3]
    assert shared_out(said, spread, np.array([1, 1, 1]), 7).tolist() == [1, 1, 1]  # nothing adds up to 7


def test_the_base_score_tells_all_diagnoses_unless_it_was_never_computed_from_them() -> None:
    assert ill_in_all(Ensemble((), 0.4, 1), 25) == 10
    assert ill_in_all(Ensemble((), 0.5, 1), 25) is None
    assert ill_in_all(Ensemble((), 0.41, 1), 25) is None  # 10.25 are no people


TREE = Tree(
    left=np.array([1, -1, -1]),
    right=np.array([2, -1, -1]),
    feature=np.zeros(3, int),
    threshold=np.array([0.5, 0, 0], np.float32),
    value=np.zeros(3),
    hessian=np.zeros(3),
    weight=np.zeros(3),
)


def test_a_threshold_is_put_where_the_fewest_people_change_sides() -> None:
    assert people_below(TREE, np.array([3.0, 4.0])).tolist() == [7, 3, 4]
    x = np.array([0.46, 0.48, 0.48, 0.48, 0.54, 0.9], np.float32)[:, None]
    people = Cohort(x, np.zeros(6, int), np.arange(6).astype(str))
    made = unrounded(TREE, 10, people, np.full(3, 7.0))
    # Between .46 and .48 lies one person of six, between .48 and .54 three: .48 is the commonest, and nearest to .46.
    assert made.threshold[0] == pytest.approx(0.48)
    assert unrounded(TREE, 10, people.take(np.array([5])), np.full(3, 7.0)).threshold[0] == 0.5


def test_without_sums_the_numbers_of_all_leaves_add_up_to_all_people() -> None:
    model, settings = Ensemble((), 0.4, 1), Settings(0.3)
    numbers = np.array([[6, 2], [3, 8], [9, 2]])
    n, y = numbers.sum(1), numbers[:, 1]
    values = -0.3 * (0.4 * n - y) / (0.24 * n + 1)
    rng = np.random.default_rng(0)
    noisy = values + rng.normal(0, 1e-4, 3)
    assert searched_in_noise(noisy, model, settings, 30, 1e-4).tolist() == numbers.tolist()


def cut(noise: float, rounds: int = 60) -> tuple[Transcript, Labels, Cohort, Array]:
    """Gradients of one direction, against it for class 0, in batches of 50 of 150 people, under noise."""
    rng = np.random.default_rng(1)
    y = np.arange(150) % 2
    x = (y + rng.normal(0, 1.2, 150))[:, None].astype(np.float32)
    direction = rng.normal(size=6)
    exchanges: list[Exchange] = []
    for round_ in range(1, rounds + 1):
        of = rng.permutation(150)[:50]
        gradient = np.outer((2 * y[of] - 1) * rng.random(50), direction) + rng.normal(0, noise, (50, 6))
        exchanges.append(Exchange(round_, 0, {"of": of, "gradient": gradient}, None))
    others = (np.arange(200) % 2 + rng.normal(0, 1.2, 200))[:, None].astype(np.float32)
    auxiliary = Cohort(others, np.arange(200) % 2, np.arange(200).astype(str))
    return Transcript(tuple(exchanges), None, Protocol(), "client"), Labels(x, np.arange(150)), auxiliary, y


def right(made: object, y: Array) -> float:
    return float((np.asarray(getattr(made, "values")["class"]) == y).mean())  # noqa: B009


def test_noise_at_the_cut_is_averaged_over_all_batches_of_a_person() -> None:
    view, question, auxiliary, y = cut(noise=3.0)
    plain = cut_direction.read(view, question, auxiliary, np.random.default_rng(0))
    assert right(averaged(view, question, auxiliary), y) > right(plain, y) + 0.1
    assert right(averaged(view, question, auxiliary), y) > 0.85


def test_gradients_that_are_noise_alone_leave_the_guess_of_the_own_columns() -> None:
    view, question, auxiliary, y = cut(noise=3000.0)
    blind = guessed(view, question, auxiliary, lambda gradients: np.zeros(len(gradients)))
    assert right(averaged(view, question, auxiliary), y) == pytest.approx(right(blind, y), abs=0.1)
