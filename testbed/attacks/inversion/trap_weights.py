"""Trap weights: a server that sends crafted parameters makes neurons fire for one record of a batch each."""

from __future__ import annotations

import math

import numpy as np

from testbed.attacks.inversion.updates import first_linear, first_linear_names, gradients
from testbed.attacks.registry import attack
from testbed.core import Act, Array, Batch, Cohort, ModelSpec, Parameters, Reconstruction, Transcript
from testbed.core.randomness import keyed_rng

RATES = (0.5, 0.005)
"""Shares of people for whom the readiest and the rarest neuron fires: for batches of 2 to 200."""


def act(question: Batch, auxiliary: Cohort, rng: np.random.Generator, model: ModelSpec) -> Act:
    """Give each neuron of the first layer half negative and half positive weights, and a bias that makes it rare.

    Biases come from the quantiles of auxiliary records, one share of people after the other between `RATES`, so that
    the batch size need not be known and inputs may be normalised.
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
    """Read a record off every neuron that fired for it alone, known by a second neuron that says the same.

    Threat model: a malicious server that chooses parameters, not the architecture, and holds auxiliary records
    (Boenisch et al. 2021). A neuron's weight gradient over its bias gradient is the mean of the records it fired
    for, weighed by their loss; two neurons agree on it only where that is one record (relative difference below
    `tolerance`). Limit: records for which two neurons of this layer fire alone.
    """
    rebuilt: dict[tuple[int, int], Array] = {}
    for key, _, gradient in gradients(view, question):
        weight, bias = first_linear(gradient, math.prod(question.shape))
        found = agreeing(weight, bias, tolerance)
        rebuilt[key] = np.clip(found, question.low, question.high).reshape(-1, *question.shape)
    return Reconstruction(rebuilt)


def agreeing(weight: Array, bias: Array, tolerance: float) -> Array:
    """Quotients weight / bias (n, width) that two or more neurons share, each once."""
    heard = np.abs(bias) > 1e-6 * max(float(np.abs(bias).max()), 1e-30)
    candidates = weight[heard] / bias[heard, None]
    found: list[Array] = []
    left = np.ones(len(candidates), bool)
    # Those heard loudest are the most precise.
    for i in np.argsort(-np.abs(bias[heard]), kind="stable"):
        if not left[i]:
            continue
        distance = np.linalg.norm(candidates - candidates[i], axis=1)
        same = left & (distance <= tolerance * np.linalg.norm(candidates[i]))
        left &= ~same
        if same.sum() > 1:
            found.append(candidates[i])
    return np.array(found).reshape(-1, weight.shape[1])
