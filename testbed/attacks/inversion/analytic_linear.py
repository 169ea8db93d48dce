"""The bias trick: a linear layer's gradient is a multiple of its input, and the bias gradient gives the factor."""

from __future__ import annotations

import math

import numpy as np

from testbed.attacks.inversion.updates import first_linear, gradients
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript, Unavailable


def solve(weight: Array, bias: Array) -> Array | None:
    """The input x of a layer from its gradients, dL/dW = dL/db x^T; None if no neuron is active.

    [dL/dW | dL/db] is dL/db times (x, 1), a matrix of rank one. Its first right singular vector is (x, 1), except for
    its length. This is total least squares (Golub and Van Loan 1980): noise of equal size on all entries rotates the
    result at random, but does not shrink it. Noise in the denominator of `by_bias` does.
    """
    both = np.column_stack([weight, bias])
    # Scaled, so that squares of very small gradients do not become zero.
    largest = float(np.abs(both).max(initial=0.0))
    if largest == 0 or not bias.any():
        return None
    direction = np.linalg.svd(both / largest, full_matrices=False)[2][0]
    return direction[:-1] / direction[-1] if direction[-1] else None


def by_bias(weight: Array, bias: Array) -> Array | None:
    """The same input by least squares over neurons, assuming that dL/db is exact; None if no neuron is active."""
    energy = float(bias @ bias)
    return (bias @ weight) / energy if energy > 0 else None


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-001",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture"},
    position="server",
    reference="https://arxiv.org/abs/2003.14053",
    suits="linear",
    width=32,
)
def analytic_linear(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    exact_bias: bool = False,
) -> Reconstruction:
    """Compute the record from the first linear layer's gradient: dL/dW = dL/db x^T, exact for a batch of one.

    Threat model: a curious server that follows the protocol and knows the architecture (Phong et al. 2018; Geiping
    et al. 2020, proposition 3.1). The record is the first singular vector of weight and bias gradient together, which
    also works if the update is noisy. With `exact_bias` the bias gradient is assumed to be exact, as published. A
    larger batch gives a mixture of its records. Limits: float precision, and at least one active neuron.
    """
    width = math.prod(question.shape)
    rebuilt: dict[tuple[int, int], Array] = {}
    for key, _, gradient in gradients(view, question):
        x = (by_bias if exact_bias else solve)(*first_linear(gradient, width))
        if x is not None and np.isfinite(x).all():
            rebuilt[key] = x.reshape(1, *question.shape)
    if not rebuilt:
        raise Unavailable("no_active_neuron", "a gradient that is not zero everywhere")
    return Reconstruction(rebuilt)
