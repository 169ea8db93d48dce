"""The column view: copies of one-of-a-kind values, and how near released values are to real ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release, Split
from testbed.data.tables.encode import Meta, encode
from testbed.findings.schema import Estimate, Unmeasured
from testbed.harness.release.by_column import ByColumn, by_column
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.utility import utility
from testbed.report import columns
from testbed.report.html import render


def view(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame, person: str | None = None) -> ByColumn:
    frames = encode(original, release, control, Meta(person))
    split = Split(frames.original, frames.control, None)
    return next(iter(by_column(split, Release(frames.synthetic), 10).values()))


def numbers(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"x": np.array(values, float)})


def test_copies_are_the_released_share_of_values_that_one_person_alone_has() -> None:
    # 0 to 19 are the original's alone but for 19, which the control has too; 3, 4 and 5 are released.
    original, control = numbers(*range(20), np.nan), numbers(*range(19, 40), 39)
    found = view(original, numbers(3, 4, 5, 19, 39, 77.5), control)
    assert isinstance(found.copies, Estimate)
    assert (found.copies.value, found.copies.n) == (pytest.approx(3 / 19, rel=1e-3), 19)
    # The control has 20 to 38 alone: 39 belongs to two people, and 19 to both groups.
    assert isinstance(found.control_copies, Estimate)
    assert (found.control_copies.value, found.control_copies.n) == (0.0, 19)


def test_several_rows_of_one_person_hold_a_value_of_one_person() -> None:
    original = pd.DataFrame({"who": [f"p{i // 2}" for i in range(40)], "x": [i // 2 + 0.5 for i in range(40)]})
    control = pd.DataFrame({"who": [f"c{i}" for i in range(30)], "x": [i + 100.5 for i in range(30)]})
    found = view(original, original.head(10), control, "who")
    assert isinstance(found.copies, Estimate)
    assert (found.copies.value, found.copies.n) == (0.25, 20)


def test_a_share_of_few_people_is_not_given() -> None:
    found = view(numbers(*range(9), *[50] * 30), numbers(1, 2, 3), numbers(*[50] * 30))
    assert isinstance(found.copies, Unmeasured)


def test_no_interval_of_a_utility_lies_beyond_what_is_possible() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=300), "b": rng.choice(list("xyz"), 300)})
    other = table.assign(b=rng.choice(list("xy"), 300))  # one column alike, one far off: a wide t interval
    frames = encode(table, other)
    for one in utility(frames.synthetic, frames.original, 0):
        if isinstance(one.measure, Estimate):
            assert -1 <= one.measure.low <= one.measure.high <= 1
    likeness = view(table[["b"]], other[["b"]], table[["b"]]).likeness
    assert isinstance(likeness, Estimate)
    assert 0 <= likeness.low <= likeness.value <= likeness.high <= 1


def test_the_report_has_one_row_for_each_column_with_what_was_found_of_it() -> None:
    rng = np.random.default_rng(1)

    def people(n: int) -> pd.DataFrame:
        table = pd.DataFrame({"age": rng.integers(20, 90, n), "ward": rng.choice(list("ABCD"), n)})
        return table.assign(score=(table["age"] / 7 + rng.normal(size=n)).round(2), empty=np.nan)

    original, control = people(300), people(300)
    result = evaluate(original, original.sample(frac=1, random_state=0), control, data_class="public").result
    rows = {row.column.name: row for row in columns.rows(result)}
    assert list(rows) == ["age", "ward", "score", "empty"]
    assert isinstance(rows["score"].copies, Estimate)
    assert rows["score"].copies.value == 1
    assert isinstance(rows["age"].inference, Estimate)
    assert isinstance(rows["empty"].inference, Unmeasured)
    page = render(result)
    assert "Column by column" in page
    assert page.count("none found") == 4
