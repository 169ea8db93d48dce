"""People copied in other units, with constants added or standardised are found; renamed categories never pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release
from testbed.data.datasets.load import load_table
from testbed.data.tables.encode import encode
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.looks import near_copied
from testbed.harness.release.own_scale import on_the_real_scale
from testbed.harness.release.setting import Setting
from tests.conftest import Thirds

Change = dict[str, Callable[[pd.Series], pd.Series]]
NUMBERS = ("age", "pressure", "creatinine", "stay")
CHANGES: dict[str, Change] = {
    "a constant added": {n: lambda v: v + 3 * v.std() for n in NUMBERS},
    "other units": {"age": lambda v: v * 12, "pressure": lambda v: v * 0.133, "creatinine": lambda v: v * 88.4},
    "standardised": {n: lambda v: ((v - v.mean()) / v.std()).round(4) for n in NUMBERS},
    "logarithms": {n: lambda v: np.log1p(v - v.min()).round(4) for n in NUMBERS},
    "turned round": {n: lambda v: v.max() - v for n in ("age", "pressure")},
}


def setting(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame, seed: int = 0) -> Setting:
    frames = encode(original, release, control)
    return Setting(frames.original, frames.control, Release(frames.synthetic), None, seed, lambda _: None)


@pytest.mark.parametrize("change", ["a constant added", "other units", "standardised", "logarithms"])
def test_members_in_other_units_fail(change: str, hospital: Thirds) -> None:
    released = hospital.original.assign(**{n: f(hospital.original[n]) for n, f in CHANGES[change].items()})
    result = evaluate(hospital.original, released, hospital.control, data_class="synthetic", attacks=200).result
    assert result.decision.verdict == "fail"
    rule = next(f for f in result.findings if f.rule == "TB-COPYING-005")
    assert "near_copies" in rule.validity.flags


@pytest.mark.parametrize("change", CHANGES)
def test_fresh_people_in_other_units_are_not_copies(change: str, hospital: Thirds) -> None:
    released = hospital.fresh.assign(**{n: f(hospital.fresh[n]) for n, f in CHANGES[change].items()})
    finding = near_copied(setting(hospital.original, released, hospital.control))
    assert not {"near_copies", "near_copies_suspected"} & set(finding.validity.flags)


def test_numbers_that_lie_where_they_should_are_left_alone(hospital: Thirds) -> None:
    assert on_the_real_scale(setting(hospital.original, hospital.fresh, hospital.control)) is None


def test_a_moved_column_is_mapped_by_rank_and_its_gaps_stay() -> None:
    original, control = pd.DataFrame({"x": np.arange(100.0)}), pd.DataFrame({"x": np.arange(100.0, 200.0)})
    release = pd.DataFrame({"x": [1000.0, 1001.0, np.nan, 1001.0, 1004.0] * 20})
    scaled = on_the_real_scale(setting(original, release, control))
    assert scaled is not None
    mapped = scaled.release.table.values[0]
    assert np.isnan(mapped[2])
    # Of eighty numbers in order the first twenty are equal, the next forty, and the last twenty; the real ones are
    # 0 to 199. Middles: (0 + 19) / 2, (20 + 59) / 2 and (60 + 79) / 2 of 79 ranks.
    assert mapped[[0, 1, 4]].tolist() == [np.rint(m / 79 * 199) for m in (9.5, 39.5, 69.5)]


def test_renamed_categories_do_not_pass_and_new_names_of_people_are_no_renaming(hospital: Thirds) -> None:
    def flags(release: pd.DataFrame, original: pd.DataFrame, control: pd.DataFrame) -> set[str]:
        result = evaluate(original, release, control, data_class="synthetic", attacks=200).result
        assert result.decision.verdict != "pass"
        return {flag for f in result.findings for flag in f.validity.flags}

    renamed = hospital.original["diagnosis"].map(dict(zip("ABCDE", "VWXYA", strict=True)))
    assert "categories_unknown" in flags(
        hospital.original.assign(diagnosis=renamed), hospital.original, hospital.control
    )
    note = [
        t.assign(note=[f"{role} note {i} of a ward" for i in range(len(t))])
        for role, t in zip("abc", (hospital.fresh, hospital.original, hospital.control), strict=True)
    ]
    assert "categories_unknown" not in flags(*note)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["support2", "thyroid", "framingham"])
def test_fresh_people_in_other_units_are_rejected_as_often_as_the_level_says(name: str) -> None:
    """Two exact tests at .001 each: of 200 draws more than three would come once in 1,000."""
    table = load_table(name)
    rejected = 0
    for seed in range(200):
        order = np.random.default_rng(seed).permutation(len(table))[:1800]
        original, control, fresh = (table.iloc[part].reset_index(drop=True) for part in np.split(order, 3))
        numbers = fresh.select_dtypes("number").columns
        moved = fresh.assign(**{n: fresh[n] * 1.3 + 2 * fresh[n].std() for n in numbers})
        rejected += "near_copies" in near_copied(setting(original, moved, control, seed)).validity.flags
    assert rejected <= 3
