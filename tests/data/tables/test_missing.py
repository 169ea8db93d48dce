"""Numbers that stand for missing values are gaps, and real numbers stay numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.data.tables.encode import encode
from testbed.data.tables.missing import codes_for_missing


def lab(n: int = 600, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(132, 15, n).round(1)


@pytest.mark.parametrize("share", [0.01, 0.07, 0.15])
@pytest.mark.parametrize("code", [99999.0, 999.0, -9.0, -1.0, 1e6, 777.0])
def test_a_code_in_some_per_cent_of_cells_is_found(code: float, share: float) -> None:
    values = lab()
    values[: round(share * len(values))] = code
    assert codes_for_missing([values]).tolist() == [code]


def test_several_codes_are_found_together() -> None:
    values = lab()
    values[:20], values[20:40], values[40:60] = -9.0, -8.0, 9999.0
    assert sorted(codes_for_missing([values]).tolist()) == [-9.0, -8.0, 9999.0]


def test_a_code_is_found_under_odd_cells_that_do_not_recur() -> None:
    values = lab()
    values[:30], values[30:33] = 99999.0, [1e7, 2e8, 5e9]
    assert codes_for_missing([values]).tolist() == [99999.0]


def test_a_code_beside_two_values_is_found() -> None:
    values = np.r_[np.zeros(300), np.ones(280), np.full(20, 9.0)]
    assert codes_for_missing([values]).tolist() == [9.0]


def test_a_code_is_counted_in_all_tables_together() -> None:
    one, other = lab(300, 1), lab(300, 2)
    one[:2], other[:2] = 99999.0, 99999.0
    assert codes_for_missing([one, other]).tolist() == [99999.0]


@pytest.mark.parametrize(
    "values",
    [
        lab(),
        np.exp(np.random.default_rng(1).normal(0, 2, 2000)).round(2),
        np.exp(np.random.default_rng(1).normal(5, 2, 2000)).round(-2),
        np.random.default_rng(2).integers(1, 6, 500).astype(float),
        np.random.default_rng(2).poisson(0.3, 2000).astype(float),
        np.random.default_rng(3).normal(0, 1, 500).round(1),
        np.r_[np.zeros(900), np.random.default_rng(4).gamma(2, 50, 100).round()],
        np.array([0.0, 1.0] * 200),
        np.array([0.0, 99.0] * 200),
        np.full(100, 7.0),
        np.random.default_rng(5).integers(18, 99, 800).astype(float),
    ],
)
def test_real_measurements_are_no_codes(values: np.ndarray) -> None:
    assert not len(codes_for_missing([values]))


@pytest.mark.parametrize("day", ["1900-01-01", "1800-01-01", "2099-12-31"])
def test_a_day_that_stands_for_no_date_is_a_gap(day: str) -> None:
    births = pd.Series(
        pd.Timestamp("1930-01-01") + pd.to_timedelta(np.random.default_rng(0).integers(0, 27000, 400), "D")
    )
    table = pd.DataFrame({"birth": births.dt.strftime("%Y-%m-%d")})
    table.loc[:19, "birth"] = day
    frames = encode(table, table)
    assert np.isnan(frames.original.values[0]).sum() == 20


def test_real_days_are_no_codes() -> None:
    rng = np.random.default_rng(1)
    assert not len(codes_for_missing([rng.integers(0, 1500, 600).astype(float)], dates=True))
    assert not len(codes_for_missing([np.repeat(rng.integers(-9000, 9000, 40), 10).astype(float)], dates=True))


def test_codes_become_gaps_in_every_table_and_the_report_is_told() -> None:
    tables = [pd.DataFrame({"hb": lab(seed=i), "plt": lab(seed=9 + i)}) for i in range(3)]
    for table in tables:
        table.loc[:30, "hb"] = 99999.0
    frames = encode(*tables)
    assert frames.control is not None
    for table in (frames.original, frames.synthetic, frames.control):
        assert np.isnan(table.values[0][:31]).all()
        assert not np.isnan(table.values[1]).any()
    assert [d.coded_gaps for d in frames.described] == [True, False]
    assert frames.described[0].gaps == pytest.approx(0.05)


def test_codes_that_lie_close_to_each_other_are_found_together() -> None:
    values = np.r_[lab(), [998.0] * 20, [999.0] * 20, 5e6]
    assert sorted(codes_for_missing([values]).tolist()) == [998.0, 999.0]


def test_zero_far_below_positive_numbers_is_a_code() -> None:
    assert codes_for_missing([np.r_[lab(), [0.0] * 40]]).tolist() == [0.0]


def test_zero_that_one_table_alone_has_is_its_code() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.exponential(10, (2, 1000)).round(2) + 0.01
    assert codes_for_missing([np.r_[one, [0.0] * 70], other]).tolist() == [0.0]
    # Where both tables have it, it is a measurement; so it is where all numbers of one table were rounded.
    assert not len(codes_for_missing([np.r_[one, [0.0] * 70], np.r_[other, [0.0] * 70]]))
    assert not len(codes_for_missing([one.round(-1), other]))


def test_a_table_rounded_to_one_number_has_no_code() -> None:
    rng = np.random.default_rng(0)
    ph = rng.normal(7.4, 0.05, 1000).round(2)
    assert not len(codes_for_missing([ph, ph.round(-1)]))
    assert codes_for_missing([np.r_[ph, [99999.0] * 70], np.r_[ph.round(-1), [99999.0] * 70]]).tolist() == [99999.0]


def test_a_count_begins_at_zero_and_a_day_zero_is_a_beginning() -> None:
    rng = np.random.default_rng(3)
    illnesses = rng.poisson(2.0, 900).clip(0, 9).astype(float)  # 14 % have none
    assert codes_for_missing([illnesses]).tolist() == []
    later = rng.choice([2200, 4400], 900) + rng.normal(0, 60, 900).round()
    visits = np.where(rng.random(900) < 0.38, 0.0, later)  # days since the first examination
    assert codes_for_missing([visits]).tolist() == []
    cholesterol = np.where(rng.random(900) < 0.18, 0.0, rng.normal(240, 50, 900).round().clip(100))
    assert codes_for_missing([cholesterol]).tolist() == [0.0]


@pytest.mark.parametrize("codes", [(-9.0, -8.0), (-9.0, -8.0, -7.0), (999.0, 998.0)])
def test_a_frequent_code_hides_no_other(codes: tuple[float, ...]) -> None:
    rng = np.random.default_rng(3)
    cells = np.concatenate([rng.normal(13, 2, 900).round(1), np.repeat(codes, (300, 40, 30)[: len(codes)])])
    assert sorted(codes_for_missing([cells, cells])) == sorted(codes)
