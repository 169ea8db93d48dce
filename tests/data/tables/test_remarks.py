"""A column of numbers with remarks in some cells is flagged if it was read as a category."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.core import Column
from testbed.data.tables.described import described

WORDS = [
    "fasting",
    "sample",
    "late",
    "check",
    "pending",
    "haemolysed",
    "repeat",
    "vein",
    "left",
    "outside",
    "laboratory",
]
QUANTITIES: dict[str, Callable[[np.random.Generator], str]] = {
    "creatinine": lambda r: str(int(r.normal(84, 20))),
    "sodium": lambda r: str(int(r.normal(140, 3))),
    "haemoglobin": lambda r: f"{r.normal(13, 2):.1f}".replace(".", ","),
    "with a unit": lambda r: f"{r.normal(84, 20):.0f} mg/dl",
    "blood pressure": lambda r: f"{int(r.normal(128, 15))}/{int(r.normal(70, 8))}",
    "date": lambda r: f"{r.integers(1, 29):02d}.{r.integers(1, 13):02d}.{r.integers(2018, 2024)}",
}


def doubtful(cells: list[str]) -> bool:
    values = pd.Series(cells, dtype=object)
    codes = pd.factorize(values)[0]
    return described(Column("laboratory", "categorical", ()), {"original": values}, {"original": codes}).doubtful


@pytest.mark.parametrize("write", ["{} ({})", "{} {}", "{}, {}", "{1}"])
@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_quantities_with_remarks_are_in_doubt_as_a_category(name: str, write: str, share: float) -> None:
    rng = np.random.default_rng(0)
    cells = [QUANTITIES[name](rng) for _ in range(2_000)]
    for i in np.flatnonzero(rng.random(len(cells)) < share):
        cells[i] = write.format(cells[i], " ".join(rng.choice(WORDS, 3)))
    assert doubtful(cells)


def test_codes_stages_and_notes_are_no_quantities_with_remarks() -> None:
    rng = np.random.default_rng(0)
    remark = [" ".join(rng.choice(WORDS, 3)) for _ in range(2_000)]
    some = rng.random(2_000) < 0.1
    codes = rng.choice(["I10", "I21.4", "E11.9", "J18.9", "N39.0"], 2_000)
    stages = rng.integers(1, 5, 2_000).astype(str)
    for plain in (codes, stages):
        assert not doubtful([f"{p} {r}" if s else str(p) for p, r, s in zip(plain, remark, some, strict=True)])
    assert not doubtful([f"{age} year old, {r}" for age, r in zip(rng.integers(20, 90, 2_000), remark, strict=True)])
