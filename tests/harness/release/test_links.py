"""The links that the testbed chooses: every column on one side, and the parts of one cell never apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from testbed.core import Column, Release, Table
from testbed.core.randomness import keyed_rng
from testbed.harness.release.linkability import Pair, pairs, whole_columns
from testbed.harness.release.setting import Setting


def chosen(names: Sequence[str]) -> list[Pair]:
    persons = np.array([f"p{i}" for i in range(8)])
    columns = tuple(Column(n, "numeric") for n in names)
    table = Table(columns, tuple(np.arange(8.0) for _ in names), persons)
    return pairs(Setting(table, None, Release(table), None, 0, lambda _: None), ())


@pytest.mark.parametrize(
    "names",
    [
        ["age", "morphology (1)", "morphology (2)", "sex"],
        ["BP (1)", "BP (2)", "BP (3)", "BP2 (1)", "BP2 (2)", "ward", "stay"],
        ["a (1)", "a (2)", "b"],
    ],
)
def test_parts_of_one_cell_stand_on_one_side_of_every_link(names: list[str]) -> None:
    for left, right in chosen(names):
        assert sorted([*left, *right]) == sorted(names)
        for own in whole_columns(names):
            assert set(own) <= set(left) or set(own) <= set(right)


def test_columns_without_parts_are_divided_one_by_one() -> None:
    names = ["age", "dose (mg)", "sex", "stay (2 weeks)", "ward"]
    drawn = keyed_rng(0, "halves of columns").permutation(5)
    assert chosen(names) == [
        (("age", "sex", "ward"), ("dose (mg)", "stay (2 weeks)")),
        (("age", "dose (mg)", "sex"), ("stay (2 weeks)", "ward")),
        (tuple(names[i] for i in sorted(drawn[:3])), tuple(names[i] for i in sorted(drawn[3:]))),
    ]
    assert len(chosen(["BP (1)", "BP (2)"])) > 0  # both are one column's: each stands alone
