"""Arrays in and out of a Flower message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, RecordDict

from testbed.core import Parameters, frozen

PARTITION_METRIC = "partition-id"


Craft = Callable[[int, int, Parameters], Parameters]


Observe = Callable[[int, int, Parameters], None]


Answer = Callable[[int, int, Parameters, Parameters], Parameters]


def to_parameters(content: RecordDict) -> Parameters | None:
    """The arrays of a message by name, or None where it carries none."""
    arrays: dict[str, Any] = {}
    for name, entry in content.array_records.items():
        prefix = "" if len(content.array_records) == 1 else f"{name}."
        arrays |= {f"{prefix}{k}": frozen(v.numpy()) for k, v in entry.items()}
    return arrays or None


def with_parameters(content: RecordDict, parameters: Parameters) -> RecordDict:
    """The same message with other arrays."""
    replaced = RecordDict({k: v for k, v in content.items() if not isinstance(v, ArrayRecord)})
    name = next(iter(content.array_records), "arrays")
    replaced[name] = ArrayRecord({k: _array(v) for k, v in parameters.items()})
    return replaced


def _array(values: Any) -> Any:
    from flwr.app import Array

    return Array(np.ascontiguousarray(values))
