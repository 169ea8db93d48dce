"""Messages of NVIDIA FLARE: a mapping whose entry `DXO` holds the kind of its data, the data, and their meta."""

from __future__ import annotations

import numbers
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from testbed.core import Array, Parameters
from testbed.subjects.federation.tensors import plain

MODELS = ("WEIGHTS", "WEIGHT_DIFF")
"""Kinds of data that are a model, or its change."""


def content(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message's data exchange object: `kind`, `data` and `meta`; empty if it has none."""
    return message.get("DXO") or {}


def arrays_of(message: Mapping[str, Any]) -> Parameters | None:
    """The arrays of a message, or None: the model's by their names, and those of its meta after their entry's name."""
    told = content(message)
    arrays: dict[str, Array] = {}
    if told.get("kind") in MODELS:
        arrays |= plain_arrays(told["data"])
    for entry, value in told.get("meta", {}).items():
        if isinstance(value, Mapping) and value and all(hasattr(v, "shape") for v in value.values()):
            arrays |= {f"{entry}.{name}": array for name, array in plain_arrays(value).items()}
    return arrays or None


def plain_arrays(arrays: Mapping[str, Any]) -> dict[str, Array]:
    """Arrays or tensors as a transcript takes them. Raises `UsageError` for other things than plain numbers."""
    return {str(name): plain(v.detach().cpu() if hasattr(v, "detach") else v) for name, v in arrays.items()}


def added(sent: Parameters, differences: Parameters) -> Parameters:
    """New weights, as 64-bit sums: no digit of a 32-bit difference is lost. Other arrays stay as they are."""
    return {
        name: sent[name].astype(np.float64) + change if name in sent and sent[name].dtype.kind == "f" else change
        for name, change in differences.items()
    }


def numbers_in(entries: Mapping[str, Any]) -> dict[str, float]:
    """Those entries that are single numbers."""
    found = {k: v.item() if hasattr(v, "item") and np.ndim(v) == 0 else v for k, v in entries.items()}
    return {str(k): float(v) for k, v in found.items() if isinstance(v, numbers.Real)}


def in_order(name: str) -> list[tuple[int, str]]:
    """A key by which site-2 comes before site-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
