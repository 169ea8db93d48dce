"""Imprint: a malicious server adds bins to the model, and reads records from their gradients."""

from __future__ import annotations

import math

import numpy as np

from testbed.attacks.inversion.updates import gradients
from testbed.attacks.registry import attack
from testbed.core import Act, Array, Batch, Cohort, ModelSpec, Parameters, Reconstruction, Transcript, Unavailable

WEIGHT, BIAS, CONNECT = "imprint.weight", "imprint.bias", "connect.weight"


def act(question: Batch, auxiliary: Cohort, rng: np.random.Generator, model: ModelSpec, *, bins: int = 256) -> Act:
    """Puts a linear layer before the model whose neuron i is active for records brighter than the i-th quantile.

    All neurons have the same measurement, the record's mean; quantiles come from auxiliary records. The layer's outputs
    are added to the record with equal weights, so that every active neuron has the same gradient.
    """
    width = math.prod(question.shape)
    measured = np.sort(auxiliary.x.reshape(len(auxiliary), -1).mean(1, dtype=np.float64))
    edges = np.quantile(measured, (np.arange(bins) + 0.5) / bins)
    # Equal quantiles would make two neurons equal, and their difference empty.
    edges = np.maximum.accumulate(edges + np.arange(bins) * 1e-9)
    connect = rng.normal(0, 1 / math.sqrt(width), (width, 1)) * 1e-3
    crafted = {
        WEIGHT: np.full((bins, width), 1 / width, dtype=np.float32),
        BIAS: (-edges).astype(np.float32),
        CONNECT: np.repeat(connect, bins, axis=1).astype(np.float32),
    }

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        return {**parameters, **crafted}

    inner = {"factory": model.factory, "arguments": dict(model.arguments)}
    return Act(ModelSpec("imprinted", {"bins": bins, "inner": inner}), craft, {"edges": edges})


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-101",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "auxiliary"},
    position="server",
    reference="https://arxiv.org/abs/2110.13057",
    act=act,
)
def imprint(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    threshold: float = 1e-5,
) -> Reconstruction:
    """Subtract the gradients of neighbouring neurons, which leaves the records between two quantiles.

    Threat model: a malicious server that chooses the architecture and its parameters, and holds auxiliary records
    (Fowl et al. 2022, Robbing the Fed). Exact for each record that is alone in its bin; the batch size need not be
    known. Limit: with k equally likely bins and a batch of B records, a share (1 - 1/k)^(B-1) is alone.
    """
    rebuilt: dict[tuple[int, int], Array] = {}
    for key, _, gradient in gradients(view, question, (WEIGHT, BIAS)):
        if WEIGHT not in gradient:
            raise Unavailable("no_imprint", "a federation in which this attack acted")
        rebuilt[key] = read_bins(gradient[WEIGHT], gradient[BIAS], question, threshold)
    return Reconstruction(rebuilt)


def read_bins(weight: Array, bias: Array, question: Batch, threshold: float) -> Array:
    """A record (k, *shape) for each of the k bins whose bias gradient is not rounding, if it lies in range."""
    biases = np.diff(bias, append=0.0)
    found = np.flatnonzero(np.abs(biases) > threshold * max(float(np.abs(biases).max()), 1e-30))
    if not len(found) or not bias.any():
        return np.empty((0, *question.shape))
    above = np.where((found + 1 < len(weight))[:, None], weight[np.minimum(found + 1, len(weight) - 1)], 0.0)
    records = (above - weight[found]) / biases[found, None]
    slack = 0.05 * (question.high - question.low)
    within = (records > question.low - slack).all(1) & (records < question.high + slack).all(1)
    return records[within].reshape(-1, *question.shape)
