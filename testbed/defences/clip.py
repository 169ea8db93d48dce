"""Clipping of a client's update, without noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array
from testbed.core.defence import Bounds
from testbed.defences.registry import defence
from testbed.defences.updates import on_update, within

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.clientapp.typing import Mod


def before(update: Mapping[str, Array], **_: float) -> Bounds:
    """Every number is as it was, up to a factor that all of them share."""
    same = {name: np.asarray(values, np.float64) for name, values in update.items()}
    return same, same


@defence(bounds=before)
def clip(*, seed: int, norm: float = 1.0) -> Mod:
    """Scale each update to an L2 norm of at most `norm`. A heuristic: the update keeps its direction, so nothing is
    hidden. Clipping protects only together with noise (Abadi et al. 2016, arXiv 1607.00133)."""

    def change(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
        return {k: v.astype(np.float32) for k, v in within(update, norm).items()}

    return on_update(change, seed, "clip")
