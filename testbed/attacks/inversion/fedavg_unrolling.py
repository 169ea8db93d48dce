"""Inversion of a FedAvg update: the attacker simulates the client's training on the records that it searches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import optimize
from scipy.spatial.distance import cdist
from torch import Tensor

from testbed import models
from testbed.attacks.inversion.gradient_matching import Task, cosine_distance, descend, tasks, total_variation
from testbed.attacks.own_gradient import gradient
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Protocol, Reconstruction, Transcript, Unavailable


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-005",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "batch_size", "hyper_parameters"},
    position="server",
    reference="https://arxiv.org/abs/2206.12395",
    uses={"auxiliary", "defence"},
    quick={"iterations": 25},
)
def fedavg_unrolling(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 300,
    learning_rate: float = 0.1,
    tv: float = 0.02,
    epoch_prior: float = 1.0,
    restarts: int = 1,
) -> Reconstruction:
    """Find records with which the client's local training, simulated step by step, gives its update (Dimitrov 2022).

    Threat model: a curious server that set the local epochs, batch size and learning rate, and knows the number of
    records, but not their order. Each epoch has its own copies of the records. A prior on their mean, which does not
    depend on order, keeps the copies similar; at the end they are matched and averaged. Labels are used if the threat
    grants them; otherwise their counts are computed. Each restart guesses which labels share a batch, and the restart
    with the smallest objective is returned. Known defences are met as in `cosine_tv`. FedProx's pull is simulated too;
    SCAFFOLD's correction is not. The result is not exact.
    """
    if view.protocol.kind != "fedavg" or not view.protocol.learning_rate or view.protocol.optimizer != "sgd":
        raise Unavailable("no_local_training", "FedAvg with local SGD at a learning rate that the server knows")
    rebuilt: dict[tuple[int, int], Array] = {}
    labels: dict[tuple[int, int], Array] = {}
    smooth = tv if len(question.shape) == 3 else 0.0
    for task in tasks(view, question, auxiliary, rng):
        plan = _plan(view.protocol, task.size, task.steps)
        runs: list[tuple[Tensor, float, Tensor]] = []
        for _ in range(restarts):
            order = task.y[torch.from_numpy(task.rng.permutation(task.size)).to(task.y.device)]
            objective = _retraining(task, order, plan, view.protocol, smooth, epoch_prior)
            drawn = task.rng.uniform(question.low, question.high, (len(plan), task.size, *question.shape))
            start = torch.tensor(drawn, dtype=torch.float32)
            found, ended = descend(objective, start, question, iterations, learning_rate)
            runs.append((found, float(ended), order))
        found, _, order = min(runs, key=lambda r: r[1])
        rebuilt[task.key] = _merged(found.numpy(), order.cpu().numpy())
        labels[task.key] = order.cpu().numpy()
    return Reconstruction(rebuilt, labels)


def _plan(protocol: Protocol, size: int, left: int) -> list[list[slice]]:
    """For each epoch, its batches as slices of the epoch's copies, until no step is `left`."""
    batch = min(protocol.batch_size or size, size)
    plan: list[list[slice]] = []
    while left > 0:
        made = min(left, size // batch)
        plan.append([slice(i * batch, (i + 1) * batch) for i in range(made)])
        left -= made
    return plan


def _retraining(
    task: Task, y: Tensor, plan: list[list[slice]], protocol: Protocol, tv: float, epoch_prior: float
) -> Callable[[Tensor], Tensor]:
    parameters = task.parameters
    rate, pull = protocol.learning_rate or 0.0, protocol.proximal_mu or 0.0

    def objective(copies: Tensor) -> Tensor:
        weights, velocity = dict(parameters), {k: torch.zeros_like(v) for k, v in parameters.items()}
        for epoch, batches in enumerate(plan):
            for rows in batches:
                loss = models.loss_of(task.model, weights, copies[epoch, rows], y[rows])
                parts = gradient(loss, list(weights.values()), create_graph=True)
                for name, part in zip(tuple(weights), parts, strict=True):
                    pulled = part + pull * (weights[name] - parameters[name]) if pull else part
                    velocity[name] = protocol.momentum * velocity[name] + pulled
                    weights[name] = weights[name] - rate * velocity[name]
        made = [parameters[k] - weights[k] for k in parameters]
        value = cosine_distance(task.compared(made), task.target)
        if tv:
            value = value + tv * total_variation(copies.flatten(0, 1))
        if len(plan) > 1 and epoch_prior:
            means = copies.mean(1)
            value = value + epoch_prior * ((means - means.mean(0)) ** 2).mean()
        return value

    return objective


def _merged(copies: Array, y: Array) -> Array:
    """The mean (size, ...) over epochs of copies (epochs, size, ...), after matching copies of the same class."""
    total = copies[0].astype(np.float64)
    for other in copies[1:]:
        cost = cdist(copies[0].reshape(len(y), -1), other.reshape(len(y), -1), "sqeuclidean")
        cost[y[:, None] != y[None, :]] = 1e12
        total += other[optimize.linear_sum_assignment(cost)[1]]
    return total / len(copies)
