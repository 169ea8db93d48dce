"""The bias trick: a linear layer's gradient is its input, up to a known factor."""

from __future__ import annotations

import math

import numpy as np

from testbed.attacks.inversion.updates import first_linear, gradients
from testbed.attacks.kit import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript, Unavailable


def solve(weight: Array, bias: Array) -> Array | None:
    """The input x with dL/dW = dL/db x^T, by least squares over the layer's neurons; None if no neuron is active."""
    energy = float(bias @ bias)
    return (bias @ weight) / energy if energy > 0 else None


@attack(
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture"},
    position="server",
    reference="https://arxiv.org/abs/2003.14053",
)
def analytic_linear(
    view: Transcript, question: Batch, auxiliary: Cohort | None, rng: np.random.Generator
) -> Reconstruction:
    """Read the record off the first linear layer's gradient: dL/dW = dL/db x^T, exact for a batch of one.

    Threat model: a curious server that follows the protocol and knows the architecture (Phong et al. 2018; Geiping
    et al. 2020, proposition 3.1). Of a larger batch it returns one mixture. Limit: float precision, and at least
    one active neuron.
    """
    width = math.prod(question.shape)
    rebuilt: dict[tuple[int, int], Array] = {}
    for key, _, gradient in gradients(view, question):
        x = solve(*first_linear(gradient, width))
        if x is not None:
            rebuilt[key] = x.reshape(1, *question.shape)
    if not rebuilt:
        raise Unavailable("no_active_neuron", "a gradient that is not zero everywhere")
    return Reconstruction(rebuilt)
