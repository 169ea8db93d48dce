"""Records that a user brings for a replay: what is read of them, and what is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.core.errors import InputError
from testbed.data import own_records

X = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize("y", [np.array([0, 1, 1, 0]), np.array([[0.0], [1.0], [1.0], [0.0]]), np.zeros((4, 1, 1))])
def test_classes_in_a_column_are_one_number_a_record(tmp_path: Path, y: Any) -> None:
    np.savez(tmp_path / "r.npz", x=X, y=y, persons=np.array([["a"], ["a"], ["b"], ["c"]]))
    read = own_records.read(tmp_path / "r.npz", "controls")
    assert read.y.tolist() == y.reshape(-1).tolist()
    assert read.y.dtype == np.int64
    assert read.persons.tolist() == ["a", "a", "b", "c"]


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"y": np.eye(4)}, "give the class as a number"),
        ({"y": np.zeros((4, 2))}, "several values of y a record"),
        ({"y": np.zeros(4), "persons": np.array([["a", "b"]] * 4)}, "several names of persons"),
        ({"y": np.array([0, np.nan, 1, 0])}, "have no class"),
        ({"y": np.zeros(3)}, "3 classes"),
    ],
)
def test_other_shapes_are_refused_in_words(tmp_path: Path, arrays: dict[str, Any], why: str) -> None:
    np.savez(tmp_path / "r.npz", x=X, **arrays)
    with pytest.raises(InputError, match=why):
        own_records.read(tmp_path / "r.npz", "controls")
