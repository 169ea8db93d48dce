"""Arrays of Flower's messages: as Flower reads them, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array

from testbed.subjects.federation.messages import to_record, values_of

ARRAYS: list[Any] = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    np.arange(4, dtype=">i2"),
    np.array([True, False]),
    np.array(3.5),
    np.zeros((0, 3)),
    np.ones(3, np.complex64),
    np.array(["two", "words"]),
]


@pytest.mark.parametrize("values", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_values_are_those_that_flower_reads(values: Any) -> None:
    array = Array(values)
    read, expected = values_of(array), array.numpy()
    assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(read, expected)
    assert not read.flags.writeable
    assert read.size == 0 or read.ndim == 0 or not read.flags.owndata


@pytest.mark.parametrize("values", [*ARRAYS, np.arange(6)[::2]], ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_are_written_to_the_byte_as_flower_writes_them(values: Any) -> None:
    ours, theirs = to_record({"w": values})["w"], Array(np.ascontiguousarray(values))
    assert (ours.dtype, ours.shape, ours.stype, ours.data) == (theirs.dtype, theirs.shape, theirs.stype, theirs.data)


@pytest.mark.parametrize("damage", ["stype", "cut", "head", "object", "empty"])
def test_what_flower_refuses_is_refused(damage: str) -> None:
    array = Array(np.arange(6, dtype=np.float32))
    if damage == "stype":
        array.stype = "somebody's own"
    elif damage == "object":
        array.data = array.data.replace(b"'<f4'", b"'|O' ")
    else:
        array.data = {"cut": array.data[:-1], "head": array.data[:5], "empty": b""}[damage]
    for read in (values_of, Array.numpy):
        with pytest.raises((ValueError, TypeError, EOFError)):
            read(array)
