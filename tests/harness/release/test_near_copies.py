"""The near-copy rule: its null is exact, its power holds in releases of any size, and it asks of the control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release, Table
from testbed.data import dataset, load_table
from testbed.data.tables.encode import Meta, encode
from testbed.findings import statistics
from testbed.findings.policy import decide, load
from testbed.findings.schema import Finding
from testbed.harness.release.coincidences import chance_of_all, improbable
from testbed.harness.release.copy_rule import copied_rows
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.near_copies import EXTREME_P, FEWEST_LONE, NEAR_P, NearCopies, near_copied, near_copies
from testbed.harness.release.setting import Setting

LOADINGS = np.random.default_rng(1).normal(size=(8, 3))
MEASURED = [*(f"lab{i}" for i in range(8)), "age"]


def hospital(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """People whose eight labs depend on three hidden causes; nobody equals anybody."""
    causes = rng.normal(size=(n, 3))
    frame = pd.DataFrame({f"lab{i}": (10 * (causes @ LOADINGS[i] + rng.normal(size=n))).round(1) for i in range(8)})
    frame["age"] = np.clip(rng.normal(60, 15, n), 18, 99).round()
    frame["sex"] = rng.choice(["F", "M"], n)
    frame["ward"] = rng.choice(list("ABCDEFGH"), n)
    return frame.assign(dx=rng.choice([f"D{i}" for i in range(20)], n))


def moved(people: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Each number plus noise of so many standard deviations."""
    made = people.copy()
    for name in MEASURED:
        made[name] = (made[name] + rng.normal(0, share * people[name].std(), len(made))).round(1)
    return made


def asked(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame) -> NearCopies:
    frames = encode(original, release, control)
    assert frames.control is not None
    return near_copies(frames.synthetic, frames.original, frames.control, 0)


@pytest.fixture(scope="module")
def people() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    return hospital(4600, rng), hospital(2300, rng), hospital(2500, rng)


def test_sixty_moved_patients_fail_the_whole_evaluation(
    people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    original, control, _ = people
    release = moved(original.head(60), 0.05, np.random.default_rng(2))
    decision = evaluate(original, release, control, attacks=200, data_class="public").result.decision
    assert decision.verdict == "fail"
    assert decision.reasons[0].rule == "TB-COPYING-005"


@pytest.mark.parametrize("far", [False, True])
def test_one_and_a_half_per_cent_of_moved_people_are_seen(
    people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame], far: bool
) -> None:
    original, control, fresh = people
    if far:
        numbers = original[MEASURED]
        original = original.loc[
            ((numbers - numbers.mean()) / numbers.std()).abs().sum(axis=1).sort_values().index[::-1]
        ]
    some = moved(original.head(38), 0.05, np.random.default_rng(3))
    release = pd.concat([some, fresh.iloc[38:]], ignore_index=True)
    assert asked(original.reset_index(drop=True), release, control).p_value < NEAR_P


def test_ten_moved_patients_fail_as_a_whole_release(people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    original, control, _ = people
    assert (
        asked(original.head(2300), moved(original.head(10), 0.05, np.random.default_rng(4)), control).p_value < NEAR_P
    )


def test_one_column_changed_in_every_copied_row_hides_nobody(
    people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    original, control, fresh = people
    release = pd.concat([original.head(40).assign(ward="H"), fresh.iloc[40:]], ignore_index=True)
    assert asked(original, release, control).p_value < NEAR_P


def test_coarse_copies_of_some_people_are_seen(people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    original, control, fresh = people
    release = pd.concat([original.head(80), fresh.iloc[80:]], ignore_index=True)
    release[MEASURED] = (release[MEASURED] / 2).round() * 2
    assert asked(original, release, control).p_value < NEAR_P


def test_more_people_give_more_power() -> None:
    """A hundredth of the people, moved: found among ten thousand by a far smaller p-value than among a thousand."""
    found: list[float] = []
    for n in (2000, 10_000):
        rng = np.random.default_rng(n)
        original, control, fresh = (hospital(n, rng) for _ in range(3))
        some = moved(original.head(n // 100), 0.05, rng)
        found.append(asked(original, pd.concat([some, fresh.iloc[len(some) :]]), control).p_value)
    assert found[1] < NEAR_P
    assert found[1] < found[0] / 100


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.002, 0.01])
def test_one_moved_person_in_five_hundred_is_seen_among_thirty_thousand(share: float) -> None:
    rng = np.random.default_rng(30)
    original, control, fresh = (hospital(30_000, rng) for _ in range(3))
    some = moved(original.head(round(share * 30_000)), 0.05, rng)
    assert asked(original, pd.concat([some, fresh.iloc[len(some) :]]), control).p_value < NEAR_P


@pytest.mark.parametrize("size", [5000, 10_000])
def test_sixty_moved_people_are_found_however_few_rows_of_a_large_release_can_be_compared(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a million rows: of the released rows, a twentieth can be compared with all people."""
    monkeypatch.setattr("testbed.harness.release.near_copies.PAIRS", 2 * size * size // 20)
    rng = np.random.default_rng(size)
    original, control, fresh = (hospital(size, rng) for _ in range(3))
    release = pd.concat([moved(original.head(60), 0.05, rng), fresh.iloc[60:]], ignore_index=True)
    found = asked(original, release, control)
    assert found.members >= 58
    assert found.p_value < 1e-9


@pytest.mark.slow
def test_promising_rows_of_fresh_people_are_rejected_as_often_as_the_level_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("testbed.harness.release.near_copies.PAIRS", 2 * 1000 * 200)
    values = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values.append(asked(*(hospital(1000, rng) for _ in range(3))).p_value)
    assert np.sum(np.array(values) < 0.05) <= 11  # of 100: exceeded 1 time in 230
    assert np.sum(np.array(values) < 0.001) <= 1


def test_the_people_with_the_highest_scores_are_counted_by_hand() -> None:
    """Twenty people on a line at 0, 10, ..., 190, of whom the first ten are members; a released row by each."""
    place = np.arange(20) * 10.0
    frame = pd.DataFrame({"x": place, "y": place})
    release = frame.head(10) + np.resize([[1], [2]], (10, 1))
    found = asked(frame.head(10), pd.concat([release] * 3, ignore_index=True), frame.tail(10))
    # Ten people have a score, all of them members: one of C(20, 10) divisions of twenty people.
    assert (found.asked, found.members) == (10, 10)
    assert found.p_value == pytest.approx(1 / 184756)
    found = asked(frame.head(10), release.head(9), frame.tail(10))
    assert (found.asked, found.p_value) == (0, 1.0)  # fewer than ten people have a score


def test_rows_that_are_as_near_to_two_people_point_at_nobody() -> None:
    rng = np.random.default_rng(5)
    frames = [pd.DataFrame({c: rng.choice(list("ab"), 400) for c in "xyz"}) for _ in range(3)]
    found = asked(*frames)
    assert (found.asked, found.p_value, found.control_p, found.lone) == (0, 1.0, 1.0, 0)


def test_rows_of_one_person_are_one_person() -> None:
    rng = np.random.default_rng(6)
    original, control, fresh = (hospital(600, rng) for _ in range(3))
    # One member has ten visits, and each is released: one person, however often.
    visits = moved(pd.concat([original.head(1)] * 10, ignore_index=True), 0.1, rng)
    original, control, fresh = (
        f.assign(id=[f"{k}{i}" for i in range(len(f))]) for k, f in (("o", original), ("c", control), ("s", fresh))
    )
    visits["id"] = "o0"
    release = pd.concat([moved(visits, 0.01, rng), fresh.iloc[10:]], ignore_index=True)
    frames = encode(pd.concat([original, visits]), release.drop(columns="id").assign(id="s"), control, meta=Meta("id"))
    assert frames.control is not None
    found = near_copies(frames.synthetic, frames.original, frames.control, 0)
    assert found.p_value > 0.05


def copying(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame) -> list[Finding]:
    """The findings of both rules on copies."""
    frames = encode(original, release, control)
    setting = Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None)
    return [copied_rows(setting), near_copied(setting)]


def flags(findings: Sequence[Finding]) -> set[str]:
    return {flag for f in findings for flag in f.validity.flags}


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("share", [0.02, 0.2])
def test_a_release_that_saw_the_control_never_passes(
    people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame], noise: float, share: float
) -> None:
    original, control, fresh = people
    rng = np.random.default_rng(7)
    count = round(share * 2500)
    both = [moved(p.head(count), noise, rng) if noise else p.head(count) for p in (original, control)]
    found = copying(original, pd.concat([*both, fresh.iloc[2 * count :]], ignore_index=True), control)
    assert "control_in_release" in flags(found[1:])
    assert noise or "control_in_release" in flags(found[:1])
    assert decide(found, load())[1].verdict != "pass"


def test_people_of_both_groups_copied_row_for_row_fail(
    people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    """As many members as controls are copied, so the exact test sees nothing; and no fresh person has such a row."""
    original, control, fresh = people
    found = copying(original, pd.concat([original.head(40), control.head(40), fresh.iloc[80:]]), control)
    assert {"copied", "control_in_release"} <= flags(found[:1])
    assert "generator copied both" in found[0].plain
    assert decide(found, load())[1].verdict == "fail"


def test_the_control_itself_as_the_release_is_named_so(
    people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    original, control, _ = people
    result = evaluate(original.head(600), control.head(600), control.head(600), attacks=100).result
    assert result.decision.verdict == "review"
    assert {"control_in_release", "negative_excess"} <= flags([f for f in result.findings if f.primary])
    assert any("generator must never see the control" in r.text for r in result.decision.reasons)


@pytest.mark.parametrize("columns", [3, 6, 10])
def test_different_people_of_few_categories_are_no_sign_of_a_seen_control(columns: int) -> None:
    rng = np.random.default_rng(columns)
    for _ in range(10):
        frames = [
            pd.DataFrame({f"c{i}": rng.choice(list("abcd")[: 2 + i % 3], 500) for i in range(columns)})
            for _ in range(3)
        ]
        assert not flags(copying(*frames))


def test_one_verbatim_person_among_thousands_is_looked_at(
    people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    original, control, fresh = people
    release = pd.concat([original.head(1), fresh.iloc[1:]], ignore_index=True)
    frames = encode(original, release, control)
    assert improbable(frames.synthetic, frames.original, frames.control) == (1, 0)
    found = copying(original, release, control)
    assert flags(found[:1]) == {"copies_suspected"}
    assert "chance would hardly give anybody" in found[0].plain
    assert decide(found, load())[1].verdict == "review"


def test_a_few_people_with_one_changed_column_among_thousands_are_looked_at(
    people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    """Too few for the exact test beside a smaller control; and yet nobody agrees in all columns but one by chance."""
    original, control, fresh = people
    release = pd.concat([original.head(6).assign(age=50), fresh.iloc[6:]], ignore_index=True)
    found = copying(original, release, control)
    assert flags(found) == {"near_copies_suspected"}
    assert "more columns than chance" in found[1].plain


def test_beside_a_control_too_small_for_the_test_nobody_is_reassured(
    people: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    original, control, fresh = people
    release = pd.concat([moved(original.head(60), 0.05, np.random.default_rng(12)), fresh.head(1440)])
    found = copying(original.head(1500), release, control.head(20))[1]
    assert "near_copies_suspected" in found.validity.flags
    assert "no sign" not in found.plain


def test_a_shared_row_of_few_categories_is_believed_to_be_chance() -> None:
    rng = np.random.default_rng(8)
    for _ in range(10):
        frames = encode(
            *(
                pd.DataFrame(
                    {f"c{i}": rng.choice(list("abcd"), 400) for i in range(4)} | {"age": rng.integers(20, 90, 400)}
                )
                for _ in range(3)
            )
        )
        assert improbable(frames.synthetic, frames.original, frames.control) == (0, 0)


def test_one_number_in_many_columns_is_one_surprise() -> None:
    """Twenty conversions of one whole number: who shares it shares all of them, and pairs of real people show that."""
    rng = np.random.default_rng(9)

    def made() -> pd.DataFrame:
        stay = rng.integers(1, 4000, 3000)
        return pd.DataFrame({f"unit{i}": stay * (i + 1.0) for i in range(20)} | {"sex": rng.choice(["F", "M"], 3000)})

    frames = encode(made(), made(), made())
    assert improbable(frames.synthetic, frames.original, frames.control) == (0, 0)


def test_the_chance_of_a_row_is_never_below_the_truth_for_independent_columns() -> None:
    rng = np.random.default_rng(10)
    for columns in (4, 8, 12):
        others = rng.integers(0, 3, (4000, columns))
        told = [chance_of_all(others, rng.integers(0, 3, columns).astype(float)) for _ in range(20)]
        assert min(told) >= 3.0**-columns / 3


MOST_DRAWN = 1500
"""People in the original, and in the control, so that 200 draws of twelve kinds take minutes."""


def whole(name: str) -> Table:
    """A bundled table, a row a person, encoded once: its parts are rows of it."""
    frame, person = load_table(name), dataset(name).person
    assert person is not None
    # Ten patients of thyroid stand in it twice, and whoever is released and in the original as well is a real copy.
    frame = frame if name == "pbc2" else frame.drop_duplicates(person)
    frame = frame.drop(columns=person).dropna(axis=1, how="all").reset_index(drop=True)
    return encode(frame, frame).original


def parts(table: Table, size: int | None, seed: int) -> tuple[Table, Table, Table]:
    """Original, release and control drawn anew; the release of `size` rows, or all three of one size."""
    order = np.random.default_rng(seed).permutation(len(table))
    third = min(MOST_DRAWN, len(table) // 3 if size is None else (len(table) - size) // 2)
    cut = np.split(order, [third, 2 * third])
    return table.take(cut[0]), table.take(cut[2][: size or third]), table.take(cut[1])


@pytest.mark.slow
@pytest.mark.parametrize("size", [60, 600, None])
@pytest.mark.parametrize("name", ["support2", "thyroid", "framingham", "pbc2"])
def test_fresh_people_are_rejected_as_often_as_the_level_says(name: str, size: int | None) -> None:
    """Of 200 draws: .001 may be rejected, .01 looked at; in none is the control said to have been seen."""
    p_values: list[float] = []
    contaminated = lone = suspected = 0
    table = whole(name)
    for seed in range(200):
        original, release, control = parts(table, size, seed)
        found = near_copies(release, original, control, seed)
        p_values.append(found.p_value)
        contaminated += found.control_p < EXTREME_P
        lone += improbable(release, original, control)[0] > 0
        suspected += found.member_p < EXTREME_P or max(found.lone, found.lone_controls) >= FEWEST_LONE
    for level in (0.001, 0.01, 0.05):
        rejected = sum(p < level for p in p_values)
        assert statistics.clopper_pearson(rejected, 200, 0.999)[0] <= level, (level, rejected)
    assert contaminated <= 1
    assert lone <= 2
    assert suspected <= 2
