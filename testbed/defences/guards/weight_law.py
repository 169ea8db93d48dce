"""A guard against crafted weights in the first round: weights that no initialisation draws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from testbed import models
from testbed.core import Array, Parameters
from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard

DRAWS = 16
"""Fresh initialisations to compare with."""
LEAST = 64
"""Numbers that a layer must have."""


@guard(
    side="client",
    threshold=12,
    reference="https://arxiv.org/abs/2112.02918",
    notices={"imprint", "loki", "trap_weights", "crafted_neurons"},
)
def weight_law(seen: Received, memory: Memory) -> float:
    """How many standard deviations a layer's weights of a client's first round lie from fresh initialisations of it.

    The largest over all layers and six statistics: size, mean and kurtosis of the weights, spread of the rows' lengths
    and of their numbers of negative weights, and the mean of the biases. Trap weights have as many negative as positive
    weights in every neuron, and negative biases (Boenisch et al. 2021). It can tell nothing after the first round.
    Limit: a federation that begins with a trained model gives false alarms.
    """
    if seen.before is not None:
        return CANNOT_TELL
    drawn = [list(_laws(models.get_parameters(models.build(seen.model, 1000 + i)))) for i in range(DRAWS)]
    given = list(_laws(seen.sent))
    if len(given) != len(drawn[0]):
        return float("inf")
    fresh = np.array(drawn)
    away = np.abs(np.array(given) - fresh.mean(0)) / (fresh.std(0, ddof=1) * np.sqrt(1 + 1 / DRAWS) + 1e-3)
    return float(away.max(initial=0.0))


def _laws(parameters: Parameters) -> Iterator[float]:
    for name, value in parameters.items():
        if name.endswith("weight") and value.ndim >= 2 and value.size >= LEAST:
            yield from _weight_laws(value.reshape(value.shape[0], -1).astype(np.float64))
            bias = parameters.get(name.removesuffix("weight") + "bias")
            if bias is not None and len(bias) >= 8:
                yield float(bias.mean() / max(float(np.abs(value).mean()), 1e-30))


def _weight_laws(rows: Array) -> Iterator[float]:
    size = max(float(rows.std()), 1e-30)
    yield float(np.log(size))
    yield float(rows.mean() / size * np.sqrt(rows.size))
    yield float(((rows - rows.mean()) ** 4).mean() / size**4)
    if min(rows.shape) >= 8:
        lengths = np.linalg.norm(rows, axis=1)
        yield float(lengths.std() / max(float(lengths.mean()), 1e-30) * np.sqrt(rows.shape[1]))
        yield float(np.log((rows < 0).sum(1).var() / rows.shape[1] + 1e-3))
