"""Partly synthetic tables, which hold some columns of real people and made-up others, do not pass."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release
from testbed.data.datasets.load import load_table
from testbed.data.tables.encode import encode
from testbed.harness.release.looks import near_copied
from testbed.harness.release.parts import MOST, copied_part, pairs, windows
from testbed.harness.release.setting import Setting

KEPT = {
    "days and places": ("diagnosed", "town"),
    "a place on the map": ("north", "east"),
    "measurements": ("weight", "height", "pressure"),
}


def people(count: int, seed: int) -> pd.DataFrame:
    """A registry of twelve columns."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "sex": rng.choice(["f", "m"], count),
            "age": rng.integers(20, 90, count),
            "town": rng.choice([f"town {i}" for i in range(60)], count),
            "diagnosed": pd.Timestamp("2010-01-01") + pd.to_timedelta(rng.integers(0, 4000, count), "D"),
            "north": rng.normal(55, 1, count).round(5),
            "east": rng.normal(13, 1, count).round(5),
            "weight": rng.normal(75, 12, count).round(1),
            "height": rng.normal(170, 9, count).round(1),
            "pressure": rng.normal(130, 15, count).round(),
            "stage": rng.choice(["I", "II", "III", "IV"], count),
            "grade": rng.choice(["low", "high"], count),
            "treated": rng.choice(["surgery", "radiation", "drugs"], count),
        }
    )


def moved(column: pd.Series, rng: np.random.Generator) -> pd.Series:
    """The column a little moved: dates by some days, numbers by a fiftieth of their width; words stay."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column + pd.to_timedelta(rng.integers(-3, 4, len(column)), "D")
    if pd.api.types.is_numeric_dtype(column):
        return (column + rng.normal(0, column.std() / 50, len(column))).round(5)
    return column


def partly(original: pd.DataFrame, kept: tuple[str, ...], share: float, seed: int) -> pd.DataFrame:
    """Other people, of whom so many have a real person's kept columns, slightly moved."""
    rng = np.random.default_rng(seed)
    fresh, some = people(len(original), seed + 1), rng.permutation(len(original))[: int(share * len(original))]
    for name in kept:
        fresh.loc[some, name] = moved(original[name], rng)[some]
    return fresh


def setting(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame, seed: int = 0) -> Setting:
    frames = encode(original, release, control)
    return Setting(frames.original, frames.control, Release(frames.synthetic), None, seed, lambda _: None)


@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("kept", KEPT)
def test_some_columns_of_real_people_are_found_and_named(kept: str, share: float) -> None:
    original, control = people(600, 1), people(600, 2)
    finding = near_copied(setting(original, partly(original, KEPT[kept], share, 3), control))
    assert "part_copied" in finding.validity.flags
    assert finding.plain is not None
    named = finding.plain.partition("in the columns ")[2].partition(" released")[0].split(", ")
    assert len(set(named) & set(KEPT[kept])) >= 2


def test_rows_put_together_from_blocks_of_several_people_are_found() -> None:
    original, control = people(600, 1), people(600, 2)
    release, rng = people(600, 3), np.random.default_rng(4)
    for block in np.array_split(list(original), 3):
        release.loc[:199, list(block)] = original[list(block)].iloc[rng.permutation(600)[:200]].to_numpy()
    finding = near_copied(setting(original, release, control))
    assert {"part_copied", "near_copies"} & set(finding.validity.flags)


@pytest.mark.parametrize("seed", range(4))
def test_fresh_people_and_samples_of_single_columns_have_no_such_part(seed: int) -> None:
    original, control, fresh = (people(500, 10 * seed + i) for i in range(3))
    rng = np.random.default_rng(seed)
    single = original.apply(lambda c: c.to_numpy()[rng.integers(0, len(c), len(c))])
    for release in (fresh, single):
        frames = encode(original, release, control)
        assert copied_part(frames.synthetic, frames.original, frames.control, seed) is None  # type: ignore[arg-type]


def test_the_order_of_rows_and_of_people_changes_nothing() -> None:
    original, control = people(400, 1), people(400, 2)
    release = partly(original, KEPT["a place on the map"], 1.0, 3)
    shuffled = (t.sample(frac=1, random_state=5).reset_index(drop=True) for t in (original, release, control))
    one, other = near_copied(setting(original, release, control)), near_copied(setting(*shuffled))
    assert (one.plain, one.validity) == (other.plain, other.validity)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 2, 3, 9, 12])
def test_tables_of_few_people_have_no_such_part(count: int) -> None:
    frames = encode(people(count, 1), people(count, 3), people(count, 2))
    assert copied_part(frames.synthetic, frames.original, frames.control, 0) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [3, 4, 12, 40])
def test_pairs_and_windows_are_parts_and_not_too_many(width: int) -> None:
    for parts in (pairs(width, 0), windows(width, 0)):
        assert len(parts) <= MOST
        assert all(min(p) >= 0 and max(p) < width and len(set(p)) == len(p) < width for p in parts)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heart", "support2", "thyroid", "framingham"])
def test_the_level_holds_over_draws_of_people_from_bundled_tables(name: str) -> None:
    table = load_table(name)
    found = 0
    for seed in range(50):
        drawn = table.sample(min(len(table), 900), random_state=seed).reset_index(drop=True)
        third = len(drawn) // 3
        parts = [drawn.iloc[i * third : (i + 1) * third].reset_index(drop=True) for i in range(3)]
        frames = encode(*parts)
        found += copied_part(frames.synthetic, frames.original, frames.control, seed) is not None  # type: ignore[arg-type]
    assert found <= 1


def test_a_short_series_scaled_by_person_is_found_beside_columns_of_other_people() -> None:
    """Whole rows, and all columns of the look within rows, are mostly of others; the ratios of four columns are not."""

    def costs(count: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        series = {f"cost_{m}": rng.lognormal(5, 1, count).round(2) for m in range(1, 5)}
        return people(count, seed).assign(**series)

    original, control, release = costs(500, 1), costs(500, 2), costs(500, 3)
    rng = np.random.default_rng(4)
    for m in range(1, 5):
        release[f"cost_{m}"] = original[f"cost_{m}"]
    release.loc[:, [f"cost_{m}" for m in range(1, 5)]] *= rng.uniform(0.4, 2.5, (500, 1))
    finding = near_copied(setting(original, release.round(2), control))
    assert {"part_copied", "near_copies"} & set(finding.validity.flags)
    assert "ratios" in (finding.plain or "")
