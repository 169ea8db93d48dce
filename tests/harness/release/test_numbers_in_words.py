"""People whose numbers were moved a little are found in columns of words too, whatever kind is declared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release
from testbed.data.tables.encode import Meta, encode
from testbed.data.tables.numbers_in_texts import numbers_in
from testbed.harness.release.looks import near_copied
from testbed.harness.release.setting import Setting

PEOPLE = 600
COLUMNS = ("weight", "height", "glucose", "platelets", "stay")
WRITTEN: dict[str, Callable[[float, int], str]] = {
    "a remark": lambda v, i: f"{v:.1f} (fasting {i % 7})",
    "a word before": lambda v, i: f"{('about', 'some')[i % 2]} {v:.1f}",
    "a decimal comma and a grade": lambda v, i: f"{v:.1f}".replace(".", ",") + f" grade {'abcd'[i % 4]}",
    "an old value": lambda v, i: f"{v:.1f} (was {v * 1.02 + i % 3:.1f})",
}


def people(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: rng.normal(80 + 10 * i, 12, PEOPLE) for i, name in enumerate(COLUMNS)})


def written(frame: pd.DataFrame, spelling: str) -> pd.DataFrame:
    write = WRITTEN[spelling]
    return pd.DataFrame({c: [write(v, i) for i, v in enumerate(frame[c])] for c in frame}).assign(
        sex=np.where(np.arange(PEOPLE) % 2, "f", "m")
    )


def flags(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame) -> list[str]:
    meta = Meta(kinds=dict.fromkeys(COLUMNS, "categorical"))
    frames = encode(original, release, control, meta)
    assert all(c.kind == "categorical" for c in frames.original.columns)
    setting = Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None)
    return near_copied(setting).validity.flags


@pytest.mark.parametrize("spelling", WRITTEN)
def test_moved_people_are_found_in_columns_that_were_declared_categories(spelling: str) -> None:
    original, control = people(1), people(2)
    moved = original + np.random.default_rng(3).normal(0, 0.4, original.shape)
    members, others = written(original, spelling), written(control, spelling)
    assert "near_copies" in flags(members, written(moved, spelling), others)
    assert not flags(members, written(people(4), spelling), others)


def test_codes_words_and_notes() -> None:
    assert not numbers_in([f"I{n}.{n % 10}" for n in range(30)])  # codes
    assert numbers_in([f"about {n}.{n % 10}" for n in range(30)])[21] == (21.1, pytest.approx(np.nan, nan_ok=True))
    assert numbers_in([f"{n}/{n - 40}" for n in range(100, 130)])[0] == (100, 60)
    assert not numbers_in([f"ward {n}" for n in range(5)])  # few different texts
    assert not numbers_in([*map(str, range(10)), *"abcdefghijklmnopqrstuvwxyz"])  # most hold none
    assert not numbers_in([f"was seen on day {n} with pain" for n in range(50)])
