"""Trap weights: a malicious server sends parameters with which a neuron is active for a single record of a batch."""

from __future__ import annotations

import math

import numpy as np

from testbed import models
from testbed.attacks.inversion.updates import first_linear, first_linear_names, gradients
from testbed.attacks.registry import attack
from testbed.core import Act, Array, Batch, Cohort, ModelSpec, Parameters, Reconstruction, Transcript
from testbed.core.randomness import keyed_rng

RATES = (0.5, 0.005)
"""Shares of people for whom the most and the least active neuron is active: for batches of 2 to 200."""


def act(question: Batch, auxiliary: Cohort, rng: np.random.Generator, model: ModelSpec) -> Act:
    """Gives each neuron of the first layer half negative, half positive weights, and a bias that keeps it mostly off.

    Biases are quantiles of auxiliary records, at shares of people between the two `RATES`. The batch size need not be
    known, and inputs may be normalised.
    """
    width = math.prod(question.shape)
    known = auxiliary.x.reshape(len(auxiliary), width).astype(np.float64)
    seed = int(rng.integers(2**31))

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        layer, offset = first_linear_names(parameters, width)
        neurons = parameters[layer].shape[0]
        rng = keyed_rng(seed, "neurons")  # the same in every round and for every client
        signs = np.repeat([-1.0, 1.0], [width // 2, width - width // 2])
        weight = np.abs(rng.normal(0, 1 / math.sqrt(width), (neurons, width)))
        weight *= np.array([rng.permutation(signs) for _ in range(neurons)])
        rates = np.geomspace(*RATES, neurons)
        outputs = known @ weight.T
        bias = -np.array([np.quantile(outputs[:, i], 1 - rates[i]) for i in range(neurons)])
        return {**parameters, layer: weight.astype(np.float32), offset: bias.astype(np.float32)}

    return Act(None, craft, {})


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-102",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "auxiliary"},
    position="server",
    reference="https://arxiv.org/abs/2112.02918",
    act=act,
)
def trap_weights(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    tolerance: float = 1e-4,
) -> Reconstruction:
    """Read a record from every neuron that was active for it alone, confirmed by a second neuron.

    Threat model: a malicious server that chooses parameters, but not the architecture, and holds auxiliary records
    (Boenisch et al. 2021). A neuron's weight gradient divided by its bias gradient is the mean of the records for which
    it was active, weighted by their loss gradients. Two neurons agree on this mean only if it is a single record
    (relative difference below `tolerance`). Limit: records for which two neurons of this layer are active alone.
    """
    rebuilt: dict[tuple[int, int], Array] = {}
    network = models.known(view.model)
    for key, _, gradient in gradients(view, question):
        weight, bias = first_linear(gradient, math.prod(question.shape), network)
        found = agreeing(weight, bias, tolerance)
        rebuilt[key] = found.reshape(-1, *question.shape)
    return Reconstruction(rebuilt)


def agreeing(weight: Array, bias: Array, tolerance: float) -> Array:
    """The distinct quotients weight / bias (n, width) that two or more neurons share."""
    heard = np.abs(bias) > 1e-6 * max(float(np.abs(bias).max()), 1e-30)
    candidates = weight[heard] / bias[heard, None]
    found: list[Array] = []
    left = np.ones(len(candidates), bool)
    # Neurons with the largest gradients are the most precise.
    for i in np.argsort(-np.abs(bias[heard]), kind="stable"):
        if not left[i]:
            continue
        distance = np.linalg.norm(candidates - candidates[i], axis=1)
        same = left & (distance <= tolerance * np.linalg.norm(candidates[i]))
        left &= ~same
        if same.sum() > 1:
            found.append(candidates[i])
    return np.array(found).reshape(-1, weight.shape[1])
