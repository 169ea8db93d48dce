"""LOKI: every client gets bins of its own, so that a sum of updates keeps clients apart, even after local training."""

from __future__ import annotations

import math

import numpy as np
import torch

from testbed import models
from testbed.attacks.inversion.imprint import BIAS, CONNECT, WEIGHT
from testbed.attacks.inversion.updates import gradients
from testbed.attacks.registry import attack
from testbed.core import Act, Array, Batch, Cohort, ModelSpec, Parameters, Reconstruction, Transcript, Unavailable

WINDOW = 1e-4
"""The size of measurements: small, so that the block adds little to a record."""
FITS = 0.2
"""The share of a bin by which local training may move a record."""
PARTS = 8
"""One of this many inputs is measured; the weights of the others begin at 0, where an update is stored exactly."""
ASKED = 256


def act(
    question: Batch,
    auxiliary: Cohort,
    rng: np.random.Generator,
    model: ModelSpec,
    *,
    bins: int = 256,
    clients: int = 1,
    learning_rate: float = 0.0,
    steps: int = 1,
) -> Act:
    """Puts `bins` neurons for each of the `clients` before the model; at a client only its own block can be active.

    Neuron i of a block is active for records whose measurement lies between its i-th quantile in the auxiliary records
    and the next one; the measurement is a random combination of the inputs that vary most. With a `learning_rate`
    (FedAvg), the block is connected to the model so weakly that `steps` local steps move nine of ten records by at most
    a fifth of their bin. Without one (FedSGD), it is connected strongly enough to be read from a rounded sum.
    """
    width = math.prod(question.shape)
    flat = auxiliary.x.reshape(len(auxiliary), -1).astype(np.float64)
    chosen = np.argsort(-flat.std(0), kind="stable")[: math.ceil(width / PARTS)]
    centre = flat.mean(0)
    direction = np.zeros(width)
    direction[chosen] = rng.normal(size=len(chosen))
    # Relative to the mean record, so that edges are near 0 and biases are stored precisely.
    along = np.where(direction != 0, centre, 0)
    direction -= along * (direction @ along) / max(float(along @ along), 1e-12)
    direction /= max(float((flat @ direction).std()), 1e-12)
    measured = flat @ direction
    edges = np.quantile(measured, np.arange(bins + 1) / bins)
    edges += np.concatenate([[-3.0], np.zeros(bins - 1), [3.0]])  # no record lies beyond the outermost edges
    scale = WINDOW / np.maximum(np.diff(edges), 1e-6)
    silent = -10 * WINDOW - scale.max() * float(np.abs(measured).max() + 10)
    toward = rng.normal(size=width)
    toward /= np.linalg.norm(toward)
    inner = {"factory": model.factory, "arguments": dict(model.arguments)}
    spec = ModelSpec("imprinted", {"bins": bins * clients, "window": WINDOW, "inner": inner})

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        bias = np.full(bins * clients, silent)
        bias[(client % clients) * bins : (client % clients + 1) * bins] = -scale * edges[:-1]
        made = {
            **parameters,
            WEIGHT: np.tile(scale[:, None] * direction, (clients, 1)).astype(np.float32),
            BIAS: bias.astype(np.float32),
            CONNECT: np.zeros((width, bins * clients), np.float32),
        }
        pull = np.abs(_input_gradients(spec, made, auxiliary) @ toward)
        tie = 1 / max(float(np.median(pull)), 1e-12)
        if learning_rate:
            moves = learning_rate * steps * float(np.quantile(pull, 0.9)) * (float((flat**2).sum(1).mean()) + 1)
            tie = FITS * WINDOW / max(moves, 1e-30)
        made[CONNECT] = np.repeat(tie * toward[:, None], bins * clients, 1).astype(np.float32)
        return made

    return Act(spec, craft)


def _input_gradients(spec: ModelSpec, parameters: Parameters, people: Cohort) -> Array:
    """The gradient (n, width) of each record's loss by the record itself, for some people."""
    network = models.build(spec)
    few = people.take(np.arange(min(ASKED, len(people))))
    x = torch.tensor(few.x, requires_grad=True)
    loss = models.loss_of(network, models.to_tensors(parameters, network), x, torch.tensor(few.y)) * len(few)
    return torch.autograd.grad(loss, x)[0].flatten(1).double().numpy()


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-104",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "auxiliary", "hyper_parameters"},
    position="server",
    reference="https://arxiv.org/abs/2303.12233",
    act=act,
    sums=True,
)
def loki(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    threshold: float = 1e-3,
) -> Reconstruction:
    """Read every client's records from the sum of all updates, by bins that only this client received (Zhao 2023).

    Threat model: a malicious server that chooses the architecture, sends clients different parameters, and holds
    auxiliary records. It may see only the clients' sum, and clients may make local steps (the authors scale up a
    convolution; here the block is connected weakly). A record that is alone in a bin over all local steps is exact,
    except for the rounding of weights: about 60 dB if clients send weights.
    """
    rebuilt: dict[tuple[int, int], Array] = {}
    for key, _, gradient in gradients(view, question, (WEIGHT, BIAS)):
        if WEIGHT not in gradient:
            raise Unavailable("no_imprint", "a federation in which this attack acted")
        weight, bias = gradient[WEIGHT], gradient[BIAS]
        heard = np.flatnonzero(np.abs(bias) > threshold * max(float(np.abs(bias).max()), 1e-30))
        records = weight[heard] / bias[heard, None]
        slack = 0.05 * (question.high - question.low)
        within = (records > question.low - slack).all(1) & (records < question.high + slack).all(1)
        rebuilt[key] = records[within].reshape(-1, *question.shape)
    return Reconstruction(rebuilt)
