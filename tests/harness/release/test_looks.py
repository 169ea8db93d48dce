"""Families, shuffled series and scales turned round: copies that one look at the cells misses, and honest ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release
from testbed.data.datasets.load import load_table
from testbed.data.datasets.registry import dataset
from testbed.data.splits import split_people
from testbed.data.tables.encode import Meta, encode
from testbed.harness.release import turned_round, whole_people, within_rows
from testbed.harness.release.looks import near_copied
from testbed.harness.release.near_copies import EXTREME_P, FEWEST_LONE, NEAR_P, SUSPECT_P, near_copies
from testbed.harness.release.setting import Setting

PEOPLE, COPIED = 300, 40


def setting(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame, person: str | None = None) -> Setting:
    frames = encode(original, release, control, Meta(person)) if person else encode(original, release, control)
    return Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None)


def flags(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame, person: str | None = None) -> set[str]:
    return set(near_copied(setting(original, release, control, person)).validity.flags)


def households(rng: np.random.Generator) -> pd.DataFrame:
    made: list[dict[str, object]] = []
    for house in range(PEOPLE):
        parents = rng.integers(25, 60)
        for place in range(rng.integers(2, 6)):
            age = parents + rng.integers(-3, 4) if place < 2 else max(0, parents - rng.integers(22, 40))
            sex = rng.choice(["f", "m"])
            tall = rng.normal(165 if age > 17 else 80 + 5 * age, 7)
            made.append({"house": f"H{house}", "age": age, "sex": sex, "height": round(tall, 1)})
    return pd.DataFrame(made)


def visits(rng: np.random.Generator) -> pd.DataFrame:
    level = rng.normal(100, 15, PEOPLE)
    rows = [
        {"house": f"P{p}", "pulse": round(level[p] + rng.normal(0, 8)), "pain": int(rng.integers(0, 11)), "ward": w}
        for p in range(PEOPLE)
        for w in rng.choice(list("abc"), rng.integers(3, 8))
    ]
    return pd.DataFrame(rows)


def moved(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rows in another order within each person, with every number a little changed."""
    shuffled = table.sample(frac=1, random_state=1)
    numbers = {c: shuffled[c] + rng.integers(-1, 2, len(shuffled)) for c in shuffled.select_dtypes("number")}
    return shuffled.assign(**numbers)


def with_some(fresh: pd.DataFrame, copied: pd.DataFrame) -> pd.DataFrame:
    """The fresh people, the first ones replaced by copied ones under the fresh ones' names."""
    names = list(dict.fromkeys(fresh["house"]))[:COPIED]
    own = list(dict.fromkeys(copied["house"]))
    taken = copied.assign(house=copied["house"].map(dict(zip(own, names, strict=False))))
    return pd.concat([taken, fresh[~fresh["house"].isin(names)]], ignore_index=True)


@pytest.mark.parametrize("made", [households, visits])
def test_families_and_series_moved_row_by_row_are_found_and_fresh_ones_are_not(
    made: Callable[[np.random.Generator], pd.DataFrame],
) -> None:
    rng = np.random.default_rng(3)
    original, control, fresh = made(rng), made(rng), made(rng)
    some = original[original["house"].isin(list(dict.fromkeys(original["house"]))[:COPIED])]
    assert "near_copies" in flags(original, with_some(fresh, moved(some, rng)), control, "house")
    assert not flags(original, fresh, control, "house")


def test_a_persons_rows_become_one_by_hand() -> None:
    table = pd.DataFrame({"who": ["a", "b", "a", "c", "c"], "x": [1.0, 5, 3, np.nan, np.nan], "s": list("ffmmm")})
    look = whole_people.look(setting(table, table, table, "who"))
    assert look is not None
    told = {c.name: v.tolist() for c, v in zip(look.members.columns, look.members.values, strict=True)}
    assert told["rows"] == [2, 1, 2]
    assert told["x (mean)"][:2] == [2, 5]
    assert told["x (least)"][:2] == [1, 5]
    assert told["x (most)"][:2] == [3, 5]
    assert np.isnan(told["x (mean)"][2])
    assert sorted([told["s (1)"], told["s (2)"]]) == [[1, 0, 2], [1, 1, 0]]


def test_people_of_one_row_each_are_not_gathered() -> None:
    table = pd.DataFrame({"who": range(9), "x": np.arange(9.0)})
    assert whole_people.look(setting(table, table, table, "who")) is None


def wearables(rng: np.random.Generator) -> pd.DataFrame:
    level = rng.normal(60, 10, (PEOPLE, 1))
    return pd.DataFrame(np.round(level + rng.normal(0, 12, (PEOPLE, 14)), 1), columns=[f"steps_{d}" for d in range(14)])


def test_days_shuffled_within_each_person_are_found_and_fresh_days_are_not() -> None:
    rng = np.random.default_rng(4)
    original, control, fresh = (wearables(rng) for _ in range(3))
    copied = fresh.copy()
    copied.iloc[:COPIED] = rng.permuted(original.to_numpy()[:COPIED], axis=1)
    assert "near_copies" in flags(original, copied, control)
    assert not flags(original, fresh, control)


def questionnaire(rng: np.random.Generator, items: int = 20) -> pd.DataFrame:
    """Items from 1 to 5 that follow one trait in both directions."""
    trait, sign = rng.normal(0, 1, (PEOPLE, 1)), np.where(np.arange(items) % 2, 1, -1)
    answers = np.clip(np.rint(3 + 0.9 * trait * sign + rng.normal(0, 1, (PEOPLE, items))), 1, 5)
    return pd.DataFrame(answers.astype(int), columns=[f"q {chr(97 + i)}" for i in range(items)])


@pytest.mark.parametrize("turned", [range(20), range(0, 20, 3), [2, 3], []])
def test_answers_turned_round_are_found_and_fresh_ones_are_not(turned: list[int]) -> None:
    rng = np.random.default_rng(5)
    original, control, fresh = (questionnaire(rng) for _ in range(3))
    copied = fresh.copy()
    copied.iloc[:COPIED] = original.iloc[:COPIED]
    back = [original.columns[i] for i in turned]
    for release, found in ((copied, True), (fresh, False)):
        written = release.assign(**{c: 6 - release[c] for c in back})
        assert ("near_copies" in flags(original, written, control)) is found


def test_numbers_turned_round_are_known_by_their_correlations() -> None:
    rng = np.random.default_rng(6)

    def people() -> pd.DataFrame:
        common = rng.normal(0, 1, (PEOPLE, 1))
        return pd.DataFrame(common + rng.normal(0, 0.7, (PEOPLE, 6)), columns=list("uvwxyz"))

    original, control, fresh = people(), people(), people()
    assert not turned_round.looks(setting(original, fresh, control))
    written = fresh.assign(v=3 - 2 * fresh["v"], y=-fresh["y"])
    (look,) = turned_round.looks(setting(original, written, control))
    made = dict(zip("uvwxyz", look.release.table.values, strict=True))
    assert all(np.corrcoef(made[c], fresh[c])[0, 1] > 0.95 for c in "uvwxyz")


def _visits_of(seed: int) -> list[pd.DataFrame]:
    parts = split_people(load_table("pbc2"), {"o": 1 / 3, "r": 1 / 3, "c": 1 / 3}, dataset("pbc2").person, seed)
    return [part.rename(columns={dataset("pbc2").person: "house"}) for part in parts.values()]


NULLS: dict[str, Callable[[int], list[pd.DataFrame]]] = {
    "visits": _visits_of,
    "families": lambda seed: [households(np.random.default_rng([seed, i])) for i in range(3)],
    "order": lambda seed: [wearables(np.random.default_rng([seed, i])) for i in range(3)],
    "turned": lambda seed: [questionnaire(np.random.default_rng([seed, i])) for i in range(3)],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NULLS)
def test_fresh_people_are_rejected_no_more_often_than_the_levels_say(kind: str) -> None:
    """Of 200 draws an exact test rejects three at .001, or nine at .01, in fewer than one of 800 such runs."""
    p_values: list[float] = []
    suspected = 0
    for seed in range(200):
        original, release, control = NULLS[kind](seed)
        own = setting(original, release, control, "house" if "house" in original else None)
        whole = whole_people.look(own)
        look = within_rows.looks(own)["order"] if kind == "order" else whole or turned_round.looks(own)[-1]
        found = near_copies(look.release.table, look.members, look.controls, seed)
        p_values.append(found.p_value)
        suspected += found.member_p < EXTREME_P or found.lone >= FEWEST_LONE
    assert sum(p < NEAR_P for p in p_values) <= 2
    assert sum(p < SUSPECT_P for p in p_values) <= 8
    assert suspected <= 4
