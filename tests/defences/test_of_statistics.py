"""Defences of statistics, on numbers that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.core import Array
from testbed.core.defence import Exposure
from testbed.core.errors import UsageError
from testbed.defences import named
from testbed.models.summaries import HISTOGRAM, PEOPLE, QUANTILES, SURVIVAL, TIMES


def after(text: str, seed: int = 0, **told: Array) -> dict[str, Array]:
    (defence,) = named.configured(text)
    return defence.build(seed)({k: np.asarray(v, float) for k, v in told.items()}, np.random.default_rng(seed))


def test_counts_below_the_least_are_not_told() -> None:
    made = after("small_cells:3", people=[12], histogram=[[0, 2, 3, 7]])
    assert np.isnan(made[HISTOGRAM]).tolist() == [[True, True, False, False]]
    (defence,) = named.configured("small_cells:3")
    bounds = defence.before(made)
    assert bounds is not None
    low, high = bounds
    assert low[HISTOGRAM].tolist() == [[0, 0, 3, 7]]
    assert high[HISTOGRAM].tolist() == [[2, 2, 3, 7]]


def test_a_quantile_is_told_if_enough_people_are_on_either_side() -> None:
    quartiles = [[1, 2, 3, 4, 5]]
    assert np.isnan(after("small_cells:3", people=[12], quantiles=quartiles)[QUANTILES]).tolist() == [
        [True, False, False, False, True]
    ]
    assert np.isnan(after("small_cells:4", people=[12], quantiles=quartiles)[QUANTILES]).sum() == 4


def test_a_curve_keeps_steps_that_stand_for_enough_people() -> None:
    made = after("small_cells:2", people=[10], times=[1, 2, 3, 4], survival=[0.9, 0.8, 0.75, 0.5])
    assert made[TIMES].tolist() == [2, 4]
    assert made[SURVIVAL].tolist() == [0.8, 0.5]


def test_the_noise_of_counts_has_the_spread_of_its_epsilon_and_is_centred() -> None:
    """With one column the two-sided geometric noise at epsilon 2 has ratio a = 1/e: variance 2 a / (1 - a) ** 2."""
    ratio = np.exp(-1.0)
    made = after("count_noise:2", people=[8e4], histogram=np.full((1, 40000), 2.0))[HISTOGRAM] - 2
    assert made.mean() == pytest.approx(0, abs=0.03)
    assert made.var() == pytest.approx(2 * ratio / (1 - ratio) ** 2, rel=0.05)
    assert (made == np.round(made)).all()
    assert after("count_noise:2", people=[4], histogram=[[4, 0]])[PEOPLE].tolist() == [4]


def test_epsilons_of_rounds_add_up() -> None:
    (defence,) = named.configured("count_noise:0.5")
    promised = defence.guarantee(Exposure(rounds=12))
    assert promised is not None
    assert (promised.epsilon, promised.delta, promised.unit) == (6.0, 0.0, "record")


def test_noise_without_an_epsilon_is_refused() -> None:
    with pytest.raises(UsageError, match="TB-DEFENCE-004"):
        after("count_noise:0", people=[4], histogram=[[4, 0]])
