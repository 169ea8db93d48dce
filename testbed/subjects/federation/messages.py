"""Reading arrays from a Flower message and writing them into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, RecordDict

from testbed.core import Parameters, frozen
from testbed.subjects.federation.tensors import readable

PARTITION_METRIC = "partition-id"
"""The metric by which a client reports its number."""

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
        arrays |= {f"{prefix}{k}": frozen(v.numpy()) for k, v in entry.items()}
    if odd := [v.dtype for v in arrays.values() if not readable(v.dtype)]:
        raise TypeError(f"arrays of {odd[0]}")
    return arrays or None


def with_parameters(content: RecordDict, parameters: Parameters) -> RecordDict:
    """The message's content with its arrays replaced by these parameters."""
    replaced = RecordDict({k: v for k, v in content.items() if not isinstance(v, ArrayRecord)})
    name = next(iter(content.array_records), "arrays")
    replaced[name] = ArrayRecord({k: _array(v) for k, v in parameters.items()})
    return replaced


def _array(values: Any) -> Any:
    from flwr.app import Array

    return Array(np.ascontiguousarray(values))
