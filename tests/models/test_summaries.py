"""Statistics as arrays, on examples that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.core import Unavailable
from testbed.models.summaries import (
    HISTOGRAM,
    PEOPLE,
    QUANTILES,
    SURVIVAL,
    TIMES,
    curve,
    histograms,
    middles,
    pooled,
    quantiles,
    survival_at,
    told_of,
)


def test_a_histogram_counts_every_person_once_in_each_column() -> None:
    told = histograms(np.array([[0.0, 1.0], [0.24, 0.5], [0.25, 0.99]]), 4)
    assert told[HISTOGRAM].tolist() == [[2, 1, 0, 0], [0, 0, 1, 2]]
    assert told[PEOPLE].tolist() == [3]
    assert middles(4).tolist() == [0.125, 0.375, 0.625, 0.875]


def test_quantiles_are_minimum_quartiles_and_maximum() -> None:
    assert quantiles(np.array([[1.0], [2.0], [3.0], [4.0], [9.0]]))[QUANTILES].tolist() == [[1, 2, 3, 4, 9]]


def test_a_curve_falls_by_the_dead_among_those_at_risk() -> None:
    """Of six, one dies on day 2, one is lost then, and two of the four who are left die on day 5."""
    told = curve(np.array([2, 2, 5, 5, 7, 8]), np.array([1, 0, 1, 1, 0, 0]))
    assert told[TIMES].tolist() == [2, 5]
    assert told[SURVIVAL].tolist() == pytest.approx([5 / 6, 5 / 12])
    assert survival_at(told, np.array([1, 2, 4, 5, 9])).tolist() == pytest.approx([1, 5 / 6, 5 / 6, 5 / 12, 5 / 12])


def test_pooled_counts_are_sums_and_a_hidden_one_hides_the_sum() -> None:
    one = {PEOPLE: np.array([3.0]), HISTOGRAM: np.array([[2.0, 1.0]])}
    other = {PEOPLE: np.array([9.0]), HISTOGRAM: np.array([[np.nan, 5.0]])}
    both = pooled([one, other])
    assert both[PEOPLE].tolist() == [12]
    assert np.isnan(both[HISTOGRAM][0, 0])
    assert both[HISTOGRAM][0, 1] == 6


def test_pooled_curves_are_means_by_the_number_of_people() -> None:
    one = curve(np.array([1, 3]), np.array([1, 1]))
    other = curve(np.array([2, 4, 4, 4, 4, 4]), np.array([1, 0, 0, 0, 0, 0]))
    both = pooled([one, other])
    assert both[TIMES].tolist() == [1, 2, 3]
    assert both[SURVIVAL].tolist() == pytest.approx([(2 * 0.5 + 6) / 8, (1 + 5) / 8, 5 / 8])


def test_a_message_without_the_statistic_says_what_it_lacks() -> None:
    with pytest.raises(Unavailable, match="no_histogram"):
        told_of({PEOPLE: np.array([3.0])}, HISTOGRAM)
    with pytest.raises(Unavailable, match="no_survival"):
        told_of(None, SURVIVAL)
