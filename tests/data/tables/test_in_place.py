"""Numbers changed inside their cells, in the forms that files hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.core import Array
from testbed.data.tables import in_place
from testbed.data.tables.one_column import as_quantity
from testbed.defences.tables import kind_of, with_numbers

NUMBERS = np.arange(40) * 1.3 + 20.4


def to_five(values: Array) -> list[tuple[float, ...]]:
    return [(v,) for v in np.rint(values / 5) * 5]


def spelt(form: str, comma: bool = True) -> pd.Series:
    texts = [form.format(f"{n:.1f}") for n in NUMBERS]
    return pd.Series([t.replace(".", ",") if comma else t for t in texts])


@pytest.mark.parametrize("form", ["{} kg", "{}mmHg", "€ {}", "{} %", "-{} °C", "CHF {}", "{}*", "{} (H)", "{}"])
@pytest.mark.parametrize("comma", [True, False])
def test_unit_sign_and_flag_stay_and_the_number_alone_is_rounded(form: str, comma: bool) -> None:
    cells = spelt(form, comma)
    made = pd.Series(with_numbers("x", cells, to_five))
    before = as_quantity("x", {"original": cells, "synthetic": cells})
    after = as_quantity("x", {"original": cells, "synthetic": made})
    assert before is not None
    assert after is not None
    assert after.unit == before.unit
    assert after.values["synthetic"].tolist() == [v for (v,) in to_five(before.values["synthetic"])]
    assert made[0] == form.format("20")


@pytest.mark.parametrize("form", ["{} kg", "{} mg/dl", "{}"])
def test_a_band_has_the_unit_at_both_ends_and_is_read_again(form: str) -> None:
    cells = spelt(form)
    made = pd.Series(with_numbers("x", cells, lambda v: [(a, a + 5) for a in np.floor(v / 5) * 5]))
    assert made[0] == f"[{form.format('20')}, {form.format('25')}["
    read = as_quantity("x", {"original": cells, "synthetic": made})
    assert read is not None
    assert read.values["original"].tolist() == read.values["synthetic"].tolist()


def test_every_cell_keeps_its_own_unit_and_is_rounded_in_it() -> None:
    few = ["71,4 kg", "71400 g", "1.234,5 kg", None, "n/a", "<5 kg", "-3,9 kg", "(3,9) kg"]
    made: list[Any] = with_numbers("x", pd.concat([pd.Series(few), spelt("{} kg")]), to_five)
    assert made[: len(few)] == ["70 kg", "71400 g", "1235 kg", None, "n/a", "<5 kg", "-5 kg", "(3,9) kg"]


def test_numbers_among_texts_are_rounded_too() -> None:
    cells = pd.Series(["71,4 kg", 68.2, 3, "70,1 kg", None], dtype=object)
    assert with_numbers("x", cells, to_five) == ["70 kg", "70", "5", "70 kg", None]


def test_a_code_for_missing_values_is_not_rounded() -> None:
    cells = pd.concat([pd.Series([f"{i / 10:.1f} mmol" for i in range(40, 140)]), pd.Series(["-999 mmol"] * 12)])
    made: list[Any] = with_numbers("x", cells.reset_index(drop=True), lambda v: [(n,) for n in np.rint(v / 5) * 5])
    assert made[:3] == ["5 mmol", "5 mmol", "5 mmol"]
    assert set(made[100:]) == {"-999 mmol"}


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("time", [f"{h:02d}:{m:02d}" for h in range(6, 12) for m in range(0, 60, 7)]),
        ("time", [f"{h}:{m:02d}:59" for h in range(6, 12) for m in range(0, 60, 7)]),
        ("several", [f"P{d}DT{h}H" for d in range(9) for h in range(1, 20, 3)]),
        ("several", [f"{a} years {b} months" for a in range(1, 9) for b in range(1, 10, 2)]),
        ("several", [f"{a}-{a + 4}" for a in range(0, 95, 5)] * 2),
    ],
)
def test_cells_of_several_numbers_are_no_numbers_to_round(kind: str, cells: list[str]) -> None:
    assert kind_of("x", pd.Series(cells)) == kind


@pytest.mark.parametrize(
    ("cell", "minutes", "then"),
    [
        ("20:05", 30, "20:00"),
        ("9:59", 15, "9:45"),
        ("08:44:31", 60, "08:00"),
        ("unknown", 60, "unknown"),
        (None, 5, None),
    ],
)
def test_a_time_goes_back_to_the_last_full_step(cell: str | None, minutes: int, then: str | None) -> None:
    assert in_place.earlier(cell, minutes) == then
