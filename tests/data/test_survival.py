"""Data sets with a time of observation."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.core.errors import UsageError
from testbed.data.survival import FOLLOWED, followed


@pytest.mark.parametrize(("name", "people"), [("framingham", 4434), ("pbc2", 312), ("support2", 9105)])
def test_each_person_has_one_time_and_died_then_or_not(name: str, people: int) -> None:
    made = followed(name)
    assert len(made.people) == len(np.unique(made.people.persons)) == people
    assert made.shape == (1,)
    assert (made.people.x >= 0).all()
    assert 0.05 < made.people.y.mean() < 0.95
    assert name in FOLLOWED


@pytest.mark.parametrize(
    ("name", "columns", "id"),
    [
        ("heart", None, "TB-DATA-088"),
        ("digits", None, "TB-DATA-088"),
        ("heart", ("age", "no such column"), "TB-DATA-088"),
        ("heart", ("age", "chol"), "TB-DATA-089"),
        ("heart", ("sex", "fbs"), "TB-DATA-089"),
    ],
)
def test_without_times_and_deaths_it_is_refused(name: str, columns: tuple[str, str] | None, id: str) -> None:
    with pytest.raises(UsageError, match=id):
        followed(name, columns)
