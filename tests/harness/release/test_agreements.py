"""Rows that agree with single people in some columns, or with all numbers moved, do not pass; fresh people do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeRegressor

from testbed.core import Release
from testbed.data.datasets.load import load_table
from testbed.data.tables.encode import encode
from testbed.harness.release import agreements
from testbed.harness.release.agreements import Agreement, agreement
from testbed.harness.release.looks import near_copied
from testbed.harness.release.setting import Setting

LOG_NORMAL = {
    "crp": (2.2, 1.3),
    "white_cells": (2.1, 0.35),
    "platelets": (5.4, 0.32),
    "creatinine": (0.05, 0.4),
    "glucose": (4.8, 0.28),
    "alt": (3.3, 0.6),
    "ldh": (5.4, 0.3),
    "ferritin": (5.0, 1.0),
}
LABORATORY = [*LOG_NORMAL, "haemoglobin", "sodium"]
PEOPLE = 1200


def people(seed: int, gaps: float = 0.0, count: int = PEOPLE) -> pd.DataFrame:
    """A laboratory's table of sixteen columns, most of them skewed; `gaps` is the share of values that are missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": np.clip(rng.normal(62, 17, count), 18, 98).round(),
            "sex": rng.choice(["f", "m"], count),
            "admitted": pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 1000, count), "D"),
            "diagnosis": rng.choice(["I21", "I50", "E11", "J18", "C34", "N18", "K70", "A41"], count),
            "ward": rng.choice(["medicine", "surgery", "neurology", "oncology"], count),
            "days": rng.geometric(0.12, count),
            **{name: np.exp(rng.normal(*shape, count)).round(2) for name, shape in LOG_NORMAL.items()},
            "haemoglobin": rng.normal(13, 1.8, count).round(1),
            "sodium": rng.normal(139, 3.5, count).round(),
        }
    )
    for name in LABORATORY if gaps else ():
        frame.loc[rng.random(count) < gaps, name] = np.nan
    return frame


def found(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame) -> Agreement | None:
    frames = encode(original, release, control)
    assert frames.control is not None
    return agreement(frames.synthetic, frames.original, frames.control, 0)


def flags(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame) -> list[str]:
    frames = encode(original, release, control)
    setting = Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None)
    return near_copied(setting).validity.flags


def moved(original: pd.DataFrame, least: float, most: float, share: float = 1.0) -> pd.DataFrame:
    """Other people with the laboratory values of so many real ones, each moved up or down by a share of itself."""
    rng = np.random.default_rng(4)
    release, rows = people(5), int(share * PEOPLE)
    for name in LABORATORY:
        by = 1 + rng.uniform(least, most, PEOPLE) * rng.choice([-1, 1], PEOPLE)
        release.loc[: rows - 1, name] = (original[name] * by).round(2)[:rows]
    return release


def partly(original: pd.DataFrame, release: pd.DataFrame, columns: Sequence[str], rows: int) -> pd.DataFrame:
    """The release with these columns of so many real people."""
    release = release.copy()
    for name in columns:
        release[name] = [*original[name][:rows], *release[name][rows:]]
    return release


@pytest.mark.parametrize(("least", "most"), [(0.05, 0.1), (0.04, 0.04), (0.1, 0.15)])
def test_a_panel_of_values_that_all_moved_by_a_share_of_themselves_does_not_pass(least: float, most: float) -> None:
    original, control = people(1), people(2)
    assert {"near_copies", "part_copied"} & set(flags(original, moved(original, least, most), control))
    some = found(original, moved(original, least, most, share=0.25), control)
    assert some is not None
    assert set(some.columns) - {"ward"} <= set(LABORATORY)


@pytest.mark.parametrize(
    "columns",
    [
        ("age", "sex", "admitted", "diagnosis", "crp"),
        ("age", "days", "glucose", "sodium", "ferritin"),
        ("admitted", "ward", "alt", "creatinine"),
    ],
)
def test_a_few_rows_that_hold_a_part_of_real_people_are_found(columns: tuple[str, ...]) -> None:
    original, control = people(1), people(2)
    release = partly(original, people(3), columns, rows=PEOPLE // 15)
    assert "part_copied" in flags(original, release, control)


def test_each_row_may_hold_another_part() -> None:
    original, control, release, rng = people(1), people(2), people(3), np.random.default_rng(0)
    for row in range(150):
        for name in rng.choice(original.columns, 7, replace=False):
            release.loc[row, name] = original.loc[row, name]
    assert found(original, release, control) is not None


def test_the_pattern_of_gaps_tells_people_apart() -> None:
    original, control, release = people(1, 0.2), people(2, 0.2), people(3)
    for name in LABORATORY:
        release[name] = release[name].where(original[name].notna())
    one = found(original, release, control)
    assert one is not None
    assert (one.gaps, one.whole) == (True, False)
    assert set(one.columns) <= set(LABORATORY)
    assert "part_copied" in flags(original, release, control)
    assert found(original, people(3, 0.2), control) is None


def test_a_sample_of_each_column_is_no_agreement_and_parts_of_people_in_it_are() -> None:
    rng = np.random.default_rng(0)
    original, control = (pd.DataFrame(rng.normal(size=(800, 12)).round(5)).add_prefix("x") for _ in range(2))
    release = pd.DataFrame({c: rng.permutation(original[c]) for c in original})
    assert found(original, release, control) is None
    one = found(original, partly(original, release, ["x1", "x5", "x7", "x9"], rows=50), control)
    assert one is not None
    assert one.columns == ("x1", "x5", "x7", "x9")


def test_people_with_several_rows_count_once() -> None:
    visits = [people(seed, count=400).assign(person=np.arange(400)) for seed in range(6)]
    original, control = pd.concat(visits[:2]), pd.concat(visits[2:4]).assign(person=lambda t: t["person"] + 400)
    release = pd.concat(visits[4:]).drop(columns="person")
    assert found(original.drop(columns="person"), release, control.drop(columns="person")) is None


def test_a_dozen_moved_outliers_are_looked_at_where_no_test_can_be_sure() -> None:
    original, control, release = people(1, count=600), people(2, count=400), people(3, count=600)
    rng = np.random.default_rng(0)
    far = original[LABORATORY].rank(pct=True).sub(0.5).abs().sum(axis=1).nlargest(8).index
    for name in LABORATORY:
        moved_ = original.loc[far, name] * rng.normal(1, 0.02, len(far))
        release[name] = [*moved_.round(2), *release[name][len(far) :]]
    one = found(original, release, control)
    assert one is not None
    assert one.suspected
    assert "near_copies_suspected" in flags(original, release, control)
    assert not flags(original, people(3, count=600), control)


def grown(original: pd.DataFrame, leaf: int) -> pd.DataFrame:
    """Each column from a tree on those before it, its values drawn from the people in a leaf."""
    rng, made = np.random.default_rng(1), pd.DataFrame(index=original.index)
    numbers = original.apply(lambda c: pd.factorize(c, sort=True)[0] if c.dtype == object else c.astype("int64"))
    for place, name in enumerate(original.columns):
        if not place:
            made[name] = rng.choice(original.index, len(original))
            continue
        before = list(original.columns[:place])
        tree = DecisionTreeRegressor(min_samples_leaf=leaf, random_state=0).fit(numbers[before], numbers[name])
        known = pd.DataFrame({c: np.asarray(numbers[c])[made[c]] for c in before})
        leaves = np.asarray(tree.apply(numbers[before]))
        made[name] = [rng.choice(np.flatnonzero(leaves == one)) for one in np.asarray(tree.apply(known))]
    return pd.DataFrame({c: original[c].take(made[c]).to_list() for c in original})


def test_values_of_members_in_single_columns_do_not_fail_a_release_and_deep_trees_do() -> None:
    original, control = people(1, count=800), people(2, count=800)
    deep = set(flags(original, grown(original, 1), control))
    large = set(flags(original, grown(original, 20), control))
    assert "near_copies" in deep
    assert "near_copies" not in large


def drawn(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    frame = load_table(name)
    person = [c for c in frame if str(c).lower() in ("person", "randid")]
    frame = frame.drop_duplicates(person).drop(columns=person) if person else frame
    order = np.random.default_rng(seed).permutation(len(frame))
    size = min(700, len(frame) // 3)
    parts = [frame.iloc[order[i * size : (i + 1) * size]].reset_index(drop=True) for i in range(3)]
    return parts[0], parts[1], parts[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heart", "support2", "thyroid", "framingham"])
def test_fresh_people_agree_with_members_no_more_than_chance(name: str) -> None:
    wrong = 0
    for seed in range(100):
        original, release, control = drawn(name, seed)
        wrong += found(original, release, control) is not None
    assert wrong <= 1  # the level is .001 over all tolerances


def test_few_rows_are_taken_from_large_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreements, "WORK", 2_000_000)
    original, control = people(1), people(2)
    assert found(original, partly(original, people(3), ("age", "admitted", "crp", "alt"), PEOPLE), control) is not None
    assert found(original, people(3), control) is None
