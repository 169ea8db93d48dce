"""Reading arrays from a Flower message and writing them into one."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import flwr.app
import numpy as np
from flwr.app import ArrayRecord, RecordDict

from testbed.core import Array, Parameters, frozen
from testbed.subjects.federation.tensors import readable

PARTITION_METRIC = "partition-id"
"""The metric by which a client reports its number."""
REFUSED = 6
"""Flower's code of an error by which a client's mod says that it will not train (a failed precondition)."""

Craft = Callable[[int, int, Parameters], Parameters]
"""`(round, client, parameters) -> parameters` to send instead."""

Observe = Callable[[int, int, Parameters], None]
"""`(round, client, parameters)`: receives what a client returned."""

Answer = Callable[[int, int, Parameters, Parameters], Parameters]
"""`(round, client, sent, returned) -> parameters` to return instead."""


def to_parameters(content: RecordDict, main: str | None = None) -> Parameters | None:
    """The arrays of a message by name, or None if it has none.

    Of several records, the arrays of the one called `main` keep their names; those of others are named after it too, as
    `control.weight`. Raises `TypeError` for arrays that are no plain numbers.
    """
    arrays: dict[str, Any] = {}
    alone = len(content.array_records) == 1
    for name, entry in content.array_records.items():
        prefix = "" if alone or name == main else f"{name}."
        arrays |= {f"{prefix}{k}": values_of(v) for k, v in entry.items()}
    if odd := [v.dtype for v in arrays.values() if not readable(v.dtype)]:
        raise TypeError(f"arrays of {odd[0]}")
    return arrays or None


def model_of(content: RecordDict) -> Parameters | None:
    """The arrays of a message's first record, which is the model, by name; None if it has none.

    What stands beside it, such as a control variate, is left aside.
    """
    return to_parameters(
        RecordDict(dict([next(iter(content.array_records.items()))])) if content.array_records else content
    )


def values_of(array: flwr.app.Array) -> Array:
    """The values of an array of a message, read-only and without a copy.

    NumPy's reader of its own form parses Python code for each array, which costs more than a small array's message.
    Raises what Flower raises for an encoding of an app's own.
    """
    data = array.data
    start = 10 + int.from_bytes(data[8:10], "little")
    if array.stype != "numpy.ndarray" or data[:8] != b"\x93NUMPY\x01\x00" or len(data) < start:
        return frozen(array.numpy())
    kind, shape, order = _form(data[:start])
    if kind.hasobject or not math.prod(shape):
        return frozen(array.numpy())
    return np.frombuffer(data, kind, math.prod(shape), start).reshape(shape, order=order)


@lru_cache(maxsize=4096)
def _form(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], Literal["C", "F"]]:
    """Type, shape and order of an array by the head of NumPy's form, which arrays of many messages share."""
    file = io.BytesIO(head)
    np.lib.format.read_magic(file)
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(file)
    return kind, shape, "F" if by_columns else "C"


def with_parameters(content: RecordDict, parameters: Parameters) -> RecordDict:
    """The message's content with its arrays replaced by these parameters."""
    replaced = RecordDict({k: v for k, v in content.items() if not isinstance(v, ArrayRecord)})
    name = next(iter(content.array_records), "arrays")
    replaced[name] = to_record(parameters)
    return replaced


def with_model(content: RecordDict, parameters: Parameters) -> RecordDict:
    """The message's content with its first record of arrays replaced, and all that stands beside it as it was."""
    beside = list(content.array_records.items())[1:]
    changed = with_parameters(content, parameters)
    for name, record in beside:
        changed[name] = record
    return changed


def to_record(parameters: Parameters) -> ArrayRecord:
    """These arrays as a record of a message."""
    return ArrayRecord({k: _array(v) for k, v in parameters.items()})


def _array(values: Any) -> flwr.app.Array:
    """The bytes that Flower makes of an array; NumPy's writer of its own form costs more than a small array's copy."""
    given = np.ascontiguousarray(values)
    if given.dtype.hasobject or given.dtype.names:
        return flwr.app.Array(given)
    data = _head(given.dtype, given.shape) + given.tobytes()
    return flwr.app.Array(dtype=str(given.dtype), shape=given.shape, stype="numpy.ndarray", data=data)


@lru_cache(maxsize=4096)
def _head(kind: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The head of NumPy's form of an array of this type and shape, which arrays of many messages share."""
    file, example = io.BytesIO(), np.zeros(shape, kind)
    np.save(file, example, allow_pickle=False)
    return file.getvalue()[: file.tell() - example.nbytes]
