"""Defences of a synthetic table: each does what its definition says, on tables done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import UsageError
from testbed.data.tables.encode import encode
from testbed.defences import named
from testbed.defences.tables import drafted
from testbed.harness.release.defended import Defended, defended
from tests.conftest import thirds

AGES = [31, 32, 34, 35, 38, 40, 41, 46, 52, 57, 63, None]
DAYS = [f"1965-{month:02d}-{3 * month:02d}" for month in range(1, 10)] + ["1966-11-30", "1967-12-24", None]
CODES = ["I21.9", "I21.0", "I22.1", "J45", "J45.8", "K35.2", "K35.3", "K35.9", "A01.0", "A01.1", "A02.0", "B20"]
WARDS = ["north"] * 6 + ["south"] * 3 + ["east"] * 2 + ["west"]


def table() -> pd.DataFrame:
    return pd.DataFrame({"age": AGES, "seen": DAYS, "icd 10": CODES, "ward": WARDS, "dead": [0, 1] * 6})


def after(text: str, frame: pd.DataFrame | None = None) -> Defended:
    return defended(drafted(table() if frame is None else frame), named.configured(text))


def cells(text: str, column: str) -> list[Any]:
    return [None if pd.isna(cell) else cell for cell in after(text).release[column]]


def test_rounding_goes_to_the_nearest_multiple_and_leaves_gaps_and_other_columns() -> None:
    assert cells("rounding:5", "age") == [30, 30, 35, 35, 40, 40, 40, 45, 50, 55, 65, None]
    rest = table().drop(columns="age")
    pd.testing.assert_frame_equal(after("rounding:5").release.drop(columns="age"), rest)  # dead is a code: 0 or 1


def test_significant_digits_count_from_the_first_digit_of_each_number() -> None:
    values = [0.1234, 1234, -1.25, 99.9, 0, 5, 6, 7, 8, 9, 10.4, 11.5, np.nan]
    told = after("significant_digits:2", pd.DataFrame({"x": values})).release["x"].tolist()
    assert told[:-1] == [0.12, 1200, -1.2, 100, 0, 5, 6, 7, 8, 9, 10, 12]
    assert np.isnan(told[-1])


def test_rare_categories_go_with_the_next_rarest_until_all_of_them_are_common() -> None:
    assert cells("suppress:2,columns=ward", "ward") == ["north"] * 6 + ["south"] * 3 + [None] * 3  # one gap is too few
    assert cells("suppress:3,columns=ward", "ward") == ["north"] * 6 + ["south"] * 3 + [None] * 3
    assert cells("suppress:4,other,columns=ward", "ward") == ["north"] * 6 + ["other"] * 6
    assert cells("suppress:2,columns=dead", "dead") == [0, 1] * 6


def test_bands_dates_and_codes_are_coarser_and_evaluate_puts_everybody_at_their_level() -> None:
    text = "bands:5+coarse_dates:quarter+short_codes:3,columns=icd_10"
    made = after(text).release
    assert made["age"].tolist()[:5] == ["[30, 35["] * 3 + ["[35, 40["] * 2
    assert made["seen"].tolist()[:4] == ["1965Q1"] * 3 + ["1965Q2"]
    assert made["icd 10"].tolist()[:4] == ["I21", "I21", "I22", "J45"]
    coded = encode(table(), made, table())
    for own, released in zip(coded.original.values, coded.synthetic.values, strict=True):
        assert np.array_equal(own.astype(float), released.astype(float), equal_nan=True)


@pytest.mark.parametrize(("level", "first"), [("month", "1965-01"), ("year", "1965")])
def test_a_date_keeps_its_month_or_its_year(level: str, first: str) -> None:
    assert cells(f"coarse_dates:{level}", "seen")[0] == first
    assert cells(f"coarse_dates:{level}", "seen")[-1] is None


def test_codes_are_found_by_their_digits_and_words_are_none() -> None:
    made = after("short_codes:3").release
    assert set(made["icd 10"]) == {c[:3] for c in CODES}
    assert made["ward"].tolist() == WARDS


def test_the_filter_drops_rows_nearer_to_the_original_than_strangers_come() -> None:
    people = thirds(200)
    draft = drafted(people.leaky(0.3), people.original, people.control)
    made = defended(draft, named.configured("near_copy_filter:0.05"))
    gone = 200 - len(made.release)
    assert 60 <= gone <= 60 + 25  # all 60 copies, and about 5 % of the 140 fresh rows
    assert not len(made.release.merge(people.original))


def test_a_later_defence_compares_at_the_level_that_an_earlier_one_left() -> None:
    people = thirds(200)
    draft = drafted(people.leaky(0.3), people.original, people.control)
    made = defended(draft, named.configured("rounding:1+near_copy_filter:0.02")).release
    rounded = defended(draft, named.configured("rounding:1")).alike(people.original)
    assert not len(made.merge(rounded))


def test_who_knows_a_defence_does_the_same_to_rows_of_other_people() -> None:
    known = after("rounding:5+suppress:3,other,columns=ward+bands:10,columns=age")
    others = pd.DataFrame({"age": [33.0, 47.0], "ward": ["east", "south"], "seen": DAYS[:2]})
    seen = known.alike(others)
    assert seen["age"].tolist() == [35, 45]  # evaluate itself puts them into the bands of the release
    assert seen["ward"].tolist() == ["other", "south"]


def test_the_order_of_rows_changes_nothing() -> None:
    people = thirds(150)
    text = "rounding:0.5+suppress:5+near_copy_filter"
    order = np.random.default_rng(0).permutation(150)
    one, other = (
        defended(drafted(t, people.original, people.control), named.configured(text)).release
        for t in (people.leaky(0.3), people.leaky(0.3).iloc[order].reset_index(drop=True))
    )
    names = list(one.columns)
    pd.testing.assert_frame_equal(
        *(t.sort_values(names, ignore_index=True) for t in (one, other))  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("rounding", "TB-DEFENCE-003"),
        ("rounding:0", "TB-DEFENCE-034"),
        ("rounding:-1", "TB-DEFENCE-004"),
        ("rounding:nan", "TB-DEFENCE-004"),
        ("significant_digits:0", "TB-DEFENCE-004"),
        ("significant_digits:16", "TB-DEFENCE-035"),
        ("suppress:1", "TB-DEFENCE-036"),
        ("bands:0", "TB-DEFENCE-037"),
        ("coarse_dates:week", "TB-DEFENCE-038"),
        ("short_codes:0", "TB-DEFENCE-004"),
        ("near_copy_filter", "TB-DEFENCE-040"),
        ("near_copy_filter:2", "TB-DEFENCE-004"),
        ("rounding:5,columns=agee", "TB-DEFENCE-032"),
        ("rounding:5,columns=ward", "TB-DEFENCE-033"),
        ("bands:5,columns=age+rounding:1,columns=age", "TB-DEFENCE-033"),
        ("bands:5+rounding:1", "TB-DEFENCE-031"),
        ("clip:1", "TB-DEFENCE-021"),
        ("round:1", "TB-DEFENCE-021"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, error: str) -> None:
    with pytest.raises(UsageError) as raised:
        after(text)
    assert raised.value.id == error


@pytest.mark.parametrize("text", ["rounding:1", "suppress", "near_copy_filter"])
def test_a_defence_of_a_table_is_refused_for_a_federation_and_for_a_model(text: str) -> None:
    from testbed.harness.scenario import find

    for scenario in ("curious_server", "released_model"):
        with pytest.raises(UsageError, match="TB-DEFENCE-021"):
            find(scenario)(defence=text)


def test_a_filter_that_leaves_nobody_is_refused() -> None:
    people = thirds(60)
    with pytest.raises(UsageError, match="TB-DEFENCE-041"):
        defended(drafted(people.original, people.original, people.control), named.configured("near_copy_filter:0.5"))


def test_declared_kinds_decide() -> None:
    def rounded(**declared: str) -> pd.DataFrame:
        return defended(drafted(table(), declared=declared), named.configured("rounding:5")).release

    with pytest.raises(UsageError, match="TB-DEFENCE-031"):
        rounded(age="drop")
    with pytest.raises(UsageError, match="TB-DEFENCE-031"):
        rounded(age="categorical")
    assert rounded(dead="numeric")["dead"].tolist() == [0] * 12
    assert rounded(ward="numeric")["ward"].tolist() == WARDS  # it cannot be read as numbers
