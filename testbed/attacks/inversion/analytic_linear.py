"""The bias trick: a linear layer's gradient is its input, up to a known factor."""

from __future__ import annotations

import math

import numpy as np

from testbed.attacks.inversion.updates import first_linear, gradients
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript, Unavailable


def solve(weight: Array, bias: Array) -> Array | None:
    """The input x of a layer from its gradients, dL/dW = dL/db x^T; None if no neuron is active.

    [dL/dW | dL/db] is dL/db times (x, 1), a matrix of rank one, and its first right singular vector is (x, 1) up to
    its length. That is total least squares (Golub and Van Loan 1980): noise of one size on every entry turns the
    answer about at random, and does not shrink it, as noise in the denominator of `by_bias` does.
    """
    both = np.column_stack([weight, bias])
    # Only lengths relative to each other count, so that gradients far below 1 do not vanish in squares.
    largest = float(np.abs(both).max(initial=0.0))
    if largest == 0 or not bias.any():
        return None
    direction = np.linalg.svd(both / largest, full_matrices=False)[2][0]
    return direction[:-1] / direction[-1] if direction[-1] else None


def by_bias(weight: Array, bias: Array) -> Array | None:
    """The same by least squares over the layer's neurons, dL/db taken for exact; None if no neuron is active."""
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
    """Read the record off the first linear layer's gradient: dL/dW = dL/db x^T, exact for a batch of one.

    Threat model: a curious server that follows the protocol and knows the architecture (Phong et al. 2018; Geiping
    et al. 2020, proposition 3.1). It need not know of noise on the update: the record is read off the first singular
    vector of weight and bias gradient together. With `exact_bias` the bias gradient is taken for exact, as published.
    A larger batch gives one mixture. Limit: float precision, and at least one active neuron.
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
