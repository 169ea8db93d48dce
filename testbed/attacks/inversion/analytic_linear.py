"""The bias trick: a linear layer's gradient is a multiple of its input, and the bias gradient gives the factor."""

from __future__ import annotations

import math

import numpy as np

from testbed import models
from testbed.attacks.inversion.updates import bounds, first_linear, gradients
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript, Unavailable

ROUNDS = 1000
"""Most rounds of alternating least squares."""
SATISFIED = 1e-3
"""Weight of a number whose fit lies within its bounds: it only keeps the fit where it is."""


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


def consistent(sent: Array, low: Array, high: Array) -> Array | None:
    """The same input from [dL/dW | dL/db] of which only bounds are known, shaped (k, width + 1).

    Finds u v^T within the bounds by alternating least squares. Each number counts with its nearest possible value,
    and not at all while the fit lies within its bounds (censored regression; Tobin 1958). It begins at the best fit of
    the numbers as they were `sent`, and at the neuron with most numbers that are known exactly; the fit that violates
    the bounds least is returned. If all numbers are known exactly, or fewer than there are neurons, it is `solve`.
    """
    largest = float(np.abs(sent).max(initial=0.0))
    exact = low == high
    if largest == 0 or exact.all() or (exact & (sent != 0)).sum() < min(sent.shape):
        return solve(sent[:, :-1], sent[:, -1])
    sent, low, high = sent / largest, low / largest, high / largest
    starts = [np.linalg.svd(sent, full_matrices=False)[2][0], sent[int((exact & (sent != 0)).sum(1).argmax())]]
    found = [_fit(sent, low, high, start) for start in starts]
    v = min(found, key=lambda f: f[1])[0]
    return v[:-1] / v[-1] if v[-1] else None


def _fit(sent: Array, low: Array, high: Array, v: Array) -> tuple[Array, float]:
    """The direction v of a fit u v^T within the bounds, and by how much the fit violates them."""
    exact = low == high
    v = v / np.linalg.norm(v)
    u = _fitted(sent, np.ones_like(sent), v)
    for _ in range(ROUNDS):
        before = v
        u = _fitted(*_possible(np.outer(u, v), low, high, exact), v)
        v = _fitted(*(part.T for part in _possible(np.outer(u, v), low, high, exact)), u)
        length = float(np.linalg.norm(v))
        if length == 0:
            return before, math.inf
        u, v = u * length, v / length
        if np.abs(v - before).max() <= 1e-10:
            break
    fit = np.outer(u, v)
    return v, float(np.square(fit - np.clip(fit, low, high)).sum())


def _possible(fit: Array, low: Array, high: Array, exact: Array) -> tuple[Array, Array]:
    """The possible values nearest to a fit, and their weights: small where the fit itself is possible."""
    nearest = np.clip(fit, low, high)
    missed: Array = exact | (nearest != fit)
    return nearest, np.where(missed, 1.0, SATISFIED)


def _fitted(values: Array, weights: Array, other: Array) -> Array:
    """For each row the factor by which `other` fits it best, by weighted least squares; 0 if nothing tells."""
    energy = weights @ other**2
    return np.divide((weights * values) @ other, energy, out=np.zeros(len(values)), where=energy > 1e-300)


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-001",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture"},
    position="server",
    reference="https://arxiv.org/abs/2003.14053",
    uses={"defence"},
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
    larger batch gives a mixture of its records. If the attacker knows the defences, the record must only fit the bounds
    that they leave (`consistent`). Limits: float precision, and at least one active neuron.
    """
    width, network = math.prod(question.shape), models.known(view.model)
    rebuilt: dict[tuple[int, int], Array] = {}
    for key, exchange, gradient in gradients(view, question):
        layer = first_linear(gradient, width, network)
        known = bounds(exchange, view.protocol, question, gradient)
        if known is not None and not exact_bias:
            low, high = (np.column_stack(first_linear(part, width)) for part in known)
            x = consistent(np.column_stack(layer), low, high)
        else:
            x = (by_bias if exact_bias else solve)(*layer)
        if x is not None and np.isfinite(x).all():
            rebuilt[key] = x.reshape(1, *question.shape)
    if not rebuilt:
        raise Unavailable("no_active_neuron", "a gradient that is not zero everywhere")
    return Reconstruction(rebuilt)
