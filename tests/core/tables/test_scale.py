"""The scale of distances: its unit by hand, and what must not move it."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.core.tables.scale import Axis


def test_in_an_even_column_the_unit_is_the_range() -> None:
    axis = Axis.of(np.arange(101.0))
    assert axis.own == 1.0
    assert axis.width == pytest.approx(100.0)
    assert np.diff(axis.places(np.array([20.0, 70.0]))) == pytest.approx(0.5)


def test_of_two_values_one_is_the_whole_unit_from_the_other() -> None:
    axis = Axis.of(np.array([0.0] * 60 + [1.0] * 40))
    assert np.diff(axis.places(np.array([0.0, 1.0]))) == pytest.approx(1.0)
    rare = Axis.of(np.array([0.0] * 990 + [1.0] * 10))
    assert np.diff(rare.places(np.array([0.0, 1.0]))) == pytest.approx(1.0)


def test_a_column_of_one_value_tells_equal_from_different_alone() -> None:
    axis = Axis.of(np.array([3.0, 3.0, np.nan]))
    assert axis.width == 0.0
    assert axis.places(np.array([3.0, 4.0])).tolist() == [3.0, 4.0]


def test_ranks_rule_where_the_tails_reach_far() -> None:
    released = np.exp(np.random.default_rng(0).normal(0, 2, 2000))
    axis = Axis.of(released)
    assert axis.own == 0.0
    # A quarter of the released numbers lies between the first two quartiles, and a quarter between the next.
    quartiles = axis.places(np.quantile(released, [0.25, 0.5, 0.75]))
    assert np.diff(quartiles) == pytest.approx([0.25, 0.25], abs=0.01)


@pytest.mark.parametrize("size", [20, 60, 2000])
@pytest.mark.parametrize("odd", [99999.0, -1e300, 1e308])
def test_one_odd_cell_moves_no_distance_by_more_than_its_share(size: int, odd: float) -> None:
    rng = np.random.default_rng(size)
    released = rng.normal(100, 15, size).round(1)
    before, after = Axis.of(released), Axis.of(np.r_[released[1:], odd])
    asked = np.quantile(released, np.linspace(0.1, 0.9, 9))
    gaps = [np.diff(axis.places(asked)) for axis in (before, after)]
    assert np.abs(gaps[0] - gaps[1]).max() < 3 / size


def test_numbers_at_the_ends_of_what_a_float_holds_have_places() -> None:
    for released in ([1e308, -1e308, 0.0, 5.0] * 5, [1e-310, 2e-310, 0.0] * 9, [1.0, 1.0 + 1e-16, 2.0] * 7):
        values = np.array([*released, np.nan, 7.0, -1e308])
        places = Axis.of(np.array(released)).places(values)
        assert (np.isnan(places) == np.isnan(values)).all()
        assert np.isfinite(places[~np.isnan(values)]).all()
