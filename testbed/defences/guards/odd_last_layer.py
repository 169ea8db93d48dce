"""A guard of the server against wrong classes: a client whose last layer moves unlike everybody else's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.core import Array, Parameters
from testbed.core.guard import CANNOT_TELL, Gathered, Memory
from testbed.defences.guards.registry import guard
from testbed.defences.guards.updates import FEWEST, flat, summed


@guard(
    side="server",
    threshold=6.0,
    reference="https://arxiv.org/abs/2207.01982",
    notices={"client_mislabelling", "client_gradient_ascent"},
)
def odd_last_layer(seen: Gathered, memory: Memory) -> Mapping[int, float]:
    """For each client the distance of its last layer's updates from the median of all, in units of the median distance.

    Updates are summed over rounds. Wrong classes show in the neurons of the last layer (Jebreel et al. 2022). It needs
    four clients. Limit: honest clients whose classes differ much from the others' look the same.
    """
    totals = summed(memory, {c: flat(last_layer(u)) for c, u in seen.updates.items()})
    if len(totals) < FEWEST:
        return dict.fromkeys(totals, CANNOT_TELL)
    stacked = np.stack(list(totals.values()))
    away = np.linalg.norm(stacked - np.median(stacked, axis=0), axis=1)
    typical = float(np.median(away))
    return {c: float(a) / typical if typical > 0 else CANNOT_TELL for c, a in zip(totals, away, strict=True)}


def last_layer(update: Parameters) -> dict[str, Array]:
    """The weight and the bias of the last fully connected layer; everything, if there is none."""
    names = [k for k, v in update.items() if k.endswith("weight") and v.ndim == 2]
    if not names:
        return dict(update)
    bias = names[-1].removesuffix("weight") + "bias"
    return {k: update[k] for k in (names[-1], bias) if k in update}
