"""Tables about the same people are recognised, those about others are not, and one person's difference is exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.data.fingerprints import Key
from testbed.data.overlap import Overlap, compared, sketch_of, sketched

KEY = Key(b"k" * 32, "a key")
PEOPLE = 400


def people(seed: int, count: int = PEOPLE) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": draw.integers(18, 90, count),
            "crp": draw.gamma(2, 5, count).round(1),
            "dx": draw.choice(list("abcdefgh"), count),
            "bmi": draw.normal(25, 4, count).round(1),
        }
    )


EARLIER = people(1)


def overlap(now: pd.DataFrame, earlier: pd.DataFrame = EARLIER, person: str | None = None, key: Key = KEY) -> Overlap:
    kept = sketched(earlier, person if person in earlier.columns else None, key)
    return compared(sketched(now, person, KEY), kept.people, kept.sketches, KEY)


def changed(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(age=table["age"].where(table.index != 7, 17))


SAME: dict[str, tuple[Callable[[pd.DataFrame], Any], float]] = {
    "another order": (lambda t: t.sample(frac=1, random_state=1)[t.columns[::-1]], 0),
    "whole numbers as floats": (lambda t: t.astype({"age": float}), 0),
    "all cells as text": (lambda t: t.astype(str), 0),
    "one person less": (lambda t: t.iloc[1:], 1),
    "one person more": (lambda t: pd.concat([t, people(9, 1)]), 1),
    "one person for another": (lambda t: pd.concat([t.iloc[1:], people(9, 1)]), 1),
    "a person twice": (lambda t: pd.concat([t, t.iloc[:1]]), 1),
    "a value corrected": (changed, 1),
    "a column less": (lambda t: t.drop(columns="bmi"), 0),
    "a column more": (lambda t: t.assign(ward=t["age"] % 7), 0),
    "a column in other units": (lambda t: t.assign(crp=t["crp"] * 10), 0),
    "a column and a person less": (lambda t: t.drop(columns="bmi").iloc[1:], 1),
}


@pytest.mark.parametrize(("change", "apart"), SAME.values(), ids=SAME)
def test_the_same_people_are_recognised(change: Callable[[pd.DataFrame], Any], apart: float) -> None:
    assert overlap(change(EARLIER)) == Overlap(True, apart)
    assert overlap(EARLIER, change(EARLIER)) == Overlap(True, apart)


def test_a_table_that_grew_or_shrank_is_about_the_same_people() -> None:
    assert overlap(pd.concat([EARLIER, people(2, 5 * PEOPLE)])).same
    assert overlap(EARLIER.iloc[: PEOPLE // 4]).same
    few = overlap(EARLIER.iloc[5:])
    assert few.same
    assert 4 <= few.apart < 10  # at least the difference of both numbers


def test_other_people_are_others() -> None:
    found = [overlap(people(seed, count)) for seed, count in zip(range(100, 130), (40, 400, 4000) * 10, strict=True)]
    assert not any(one.same for one in found)
    assert not overlap(pd.concat([EARLIER.iloc[:100], people(3, 300)])).same  # a quarter is in both


def test_people_have_several_rows_and_new_pseudonyms() -> None:
    visits = pd.concat([EARLIER, EARLIER.assign(age=EARLIER["age"] + 1)]).assign(pid=[*range(PEOPLE)] * 2)
    assert overlap(visits.assign(pid=visits["pid"] * 7 + 1000), visits, "pid") == Overlap(True, 0)
    assert overlap(visits.loc[visits["pid"] != 3], visits, "pid") == Overlap(True, 1)
    assert overlap(EARLIER.assign(pid=range(PEOPLE)), EARLIER, "pid") == Overlap(True, 0)  # the column is named now


def test_under_another_key_nothing_is_recognised() -> None:
    assert not overlap(EARLIER, key=Key(b"o" * 32, "another")).same


def test_a_kept_sketch_is_as_it_was_and_damage_is_an_error() -> None:
    for sketch in sketched(EARLIER, None, KEY).sketches.values():
        again = sketch_of(json.loads(json.dumps(sketch.dump())))
        assert np.array_equal(again.bits, sketch.bits)
        assert (again.first, again.second) == (sketch.first, sketch.second)
    for damaged in (["", "0", "0"], ["!", "0", "0"], ["AAAA", "0", "0"], [1, 2, 3], None):
        with pytest.raises((ValueError, TypeError)):
            sketch_of(damaged)
