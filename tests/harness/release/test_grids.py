"""Copies that a release rounds, cuts off or puts into bands are found; fresh people so treated fail nobody."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release
from testbed.data.tables.encode import encode
from testbed.findings import statistics
from testbed.harness.release.coincidences import improbable
from testbed.harness.release.copies import Copies, copies
from testbed.harness.release.copy_rule import COPY_P, copied_rows
from testbed.harness.release.grids import Cells, Grid, alike, decimals
from testbed.harness.release.near_copies import NEAR_P, near_copied, near_copies
from testbed.harness.release.setting import Setting
from tests.harness.release.test_near_copies import MEASURED, hospital, parts, whole

Frame = pd.DataFrame
PEOPLE, COPIED = 700, 20
BANDS = np.array([18, 45, 65, 75])


def people(seed: int, n: int = PEOPLE) -> Frame:
    rng = np.random.default_rng(seed)
    born = pd.Timestamp("1930-01-01") + pd.to_timedelta(rng.integers(0, 25_000, n), unit="D")
    return hospital(n, rng).assign(born=born)


def to(step: float) -> Callable[[Frame], Frame]:
    return lambda f: f.assign(**{c: (f[c] / step).round() * step for c in MEASURED})


def banded(how: Callable[[pd.Series], pd.Series]) -> Callable[[Frame], Frame]:
    return lambda f: f.assign(**{c: how(f[c]) for c in MEASURED})


def mixed(f: Frame) -> Frame:
    """Each column rounded by a rule and a step of its own."""
    return f.assign(
        age=f.age // 5 * 5 + 2,
        lab0=np.floor(f.lab0 / 5) * 5,
        lab1=f.lab1.round(),
        lab2=np.ceil(f.lab2 / 10) * 10,
        lab3=(f.lab3 / 0.5).round() * 0.5,
        born=f.born.dt.to_period("M").dt.start_time,
    )


WRITTEN: dict[str, Callable[[Frame], Frame]] = {
    "to 0.5": to(0.5),
    "to 2": to(2),
    "to 5": to(5),
    "to 10": to(10),
    "bands of five, lower ends": banded(lambda v: v // 5 * 5),
    "bands of five, middles": banded(lambda v: v // 5 * 5 + 2.5),
    "up to tens": banded(lambda v: np.ceil(v / 10) * 10),
    "one column to 10": lambda f: f.assign(lab3=(f.lab3 / 10).round() * 10),
    "irregular bands of age": lambda f: f.assign(age=BANDS[np.searchsorted(BANDS, f.age, "right") - 1]),
    "ages and two labs with cut ends": lambda f: f.assign(
        age=f.age.clip(40, 75), lab0=f.lab0.clip(upper=20), lab1=f.lab1.clip(-10)
    ),
    "ages to 5 but for the ends": lambda f: f.assign(age=((f.age / 5).round() * 5).clip(18, 99)),
    "first of the month": lambda f: f.assign(born=f.born.dt.to_period("M").dt.start_time),
    "fifteenth of the month": lambda f: f.assign(born=f.born.dt.to_period("M").dt.start_time + pd.Timedelta(days=14)),
    "last of the month": lambda f: f.assign(born=f.born + pd.offsets.MonthEnd(0)),
    "first of January": lambda f: f.assign(born=f.born.dt.to_period("Y").dt.start_time),
    "middle of the year": lambda f: f.assign(born=f.born.dt.to_period("Y").dt.start_time + pd.DateOffset(months=6)),
    "Mondays": lambda f: f.assign(born=f.born.dt.to_period("W").dt.start_time),
}


def found(original: Frame, release: Frame, control: Frame) -> Copies:
    frames = encode(original, release, control)
    return copies(frames.synthetic, frames.original, frames.control)


def rules(original: Frame, release: Frame, control: Frame) -> set[str]:
    """The flags of both rules on copies."""
    frames = encode(original, release, control)
    setting = Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None)
    return {flag for f in (copied_rows(setting), near_copied(setting)) for flag in f.validity.flags}


@pytest.mark.parametrize("name", WRITTEN)
def test_copies_on_another_grid_are_copies_and_fresh_people_on_it_are_none(name: str) -> None:
    original, control, fresh = people(1), people(2), people(3)
    planted = pd.concat([original.head(COPIED), fresh.iloc[COPIED:]], ignore_index=True)
    leaking = found(original, WRITTEN[name](planted), control)
    assert (leaking.members_reproduced, leaking.controls_reproduced) == (COPIED, 0)
    assert leaking.p_value < COPY_P
    assert found(original, WRITTEN[name](fresh), control).p_value == 1


def test_columns_written_in_ways_of_their_own_hide_nobody() -> None:
    original, control, fresh = people(1), people(2), people(3)
    planted = mixed(pd.concat([original.head(COPIED), fresh.iloc[COPIED:]], ignore_index=True))
    assert rules(original, planted, control) & {"copied", "near_copies"}
    assert not rules(original, mixed(fresh), control)


def test_a_whole_table_on_another_grid_is_the_whole_table() -> None:
    original = people(1)
    assert found(original, to(5)(original), people(2)).whole_table


def test_a_single_row_on_another_grid_is_looked_at() -> None:
    original, control, fresh = people(1), people(2), people(3)
    release = to(2)(pd.concat([original.head(1), fresh.iloc[1:]], ignore_index=True))
    frames = encode(original, release, control)
    assert improbable(frames.synthetic, frames.original, frames.control) == (1, 0)


def test_one_changed_column_of_a_rounded_row_is_a_near_copy() -> None:
    original, control, fresh = people(1), people(2), people(3)
    release = to(5)(pd.concat([original.head(COPIED).assign(dx="D0"), fresh.iloc[COPIED:]], ignore_index=True))
    assert "near_copies" in rules(original, release, control)


def test_where_the_grid_makes_rows_collide_the_control_says_so() -> None:
    original, control, fresh = people(1), people(2), people(3)
    for release in (fresh, pd.concat([original.head(5), fresh.iloc[5:]], ignore_index=True)):
        three = (t[[*MEASURED[:2], "sex"]] for t in (original, to(20)(release), control))
        assert not {"copied", "control_in_release"} & rules(*three)


def test_an_original_coarser_than_its_release_is_compared_on_its_own_grid() -> None:
    """The original's ages are bands of five; the generator puts every age anywhere within two years of it."""
    original, control, fresh = (to(5)(people(seed)) for seed in (1, 2, 3))
    release = pd.concat([original.head(COPIED), fresh.iloc[COPIED:]], ignore_index=True)
    release["age"] = release.age + np.random.default_rng(4).integers(-2, 3, len(release))
    assert found(original, release, control).members_reproduced >= COPIED - 2  # ages beyond the ends are cut


def test_a_grid_rounds_by_its_rule() -> None:
    grid = Grid(step=5.0, low=0, high=20)
    values = np.array([2.5, 7.5, 6.0, np.nan, 99.0])
    for rule, wanted in (
        ("half even", [0, 10, 5]),
        ("half up", [5, 10, 5]),
        ("half down", [0, 5, 5]),
        ("down", [0, 5, 5]),
        ("up", [5, 10, 10]),
    ):
        assert np.array_equal(grid.rounded(values, rule), [*wanted, np.nan, 20], equal_nan=True)
    assert np.array_equal(Grid(step=5.0).rounded(np.array([-3.0, 3.0]), "towards zero"), [0, 0])
    bands = Grid(points=np.array([18.0, 45.0, 65.0]))
    assert np.array_equal(bands.rounded(np.array([44.0, 50.0, 12.0]), "down"), [18, 45, 18])
    assert np.array_equal(bands.rounded(np.array([44.0, 56.0, 90.0])), [45, 65, 65])


def test_numbers_that_are_written_alike_stay_as_they_are() -> None:
    frames = encode(people(1), people(3), people(2))
    assert frames.control is not None
    for table, same in zip(
        alike(frames.synthetic, frames.original, frames.control),
        (frames.synthetic, frames.original, frames.control),
        strict=True,
    ):
        assert table is not None
        assert all(np.array_equal(a, b, True) for a, b in zip(table.values, same.values, strict=True))
    assert (decimals(np.array([0.25, 1.0])), decimals(np.array([1 / 3]))) == (2, 9)
    assert Cells.of(np.array([2.0, np.nan, 1.0, 2.0])).counts.tolist() == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["support2", "thyroid", "framingham", "pbc2"])
def test_fresh_people_on_any_grid_are_rejected_as_often_as_the_level_says(name: str) -> None:
    """200 draws. In each, every column of numbers is rounded in another way and to another step."""
    rounding = (np.round, np.floor, np.ceil)
    p_values: list[float] = []
    near: list[float] = []
    table = whole(name)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        original, release, control = parts(table, None, seed)
        values = list(release.values)
        for j, column in enumerate(release.columns):
            if column.kind == "numeric" and rng.random() < 0.7:
                step = float(rng.choice([0.5, 2, 5, 10, 100]))
                values[j] = rounding[rng.integers(3)](values[j] / step) * step
        release = type(release)(release.columns, tuple(values), release.persons)
        p_values.append(copies(release, original, control).p_value)
        near.append(near_copies(release, original, control, seed).p_value)
    for rejected in (sum(p < COPY_P for p in p_values), sum(p < NEAR_P for p in near)):
        assert statistics.clopper_pearson(rejected, 200, 0.999)[0] <= COPY_P
