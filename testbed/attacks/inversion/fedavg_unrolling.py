"""Inversion of a FedAvg update: the attacker trains as the client did, on records that it looks for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import optimize
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from testbed import models
from testbed.attacks.inversion.cosine_tv import cosine_distance, descend, labels_of, total_variation
from testbed.attacks.inversion.updates import gradients, steps
from testbed.attacks.kit import attack, keyed_rng
from testbed.core import Array, Batch, Cohort, Protocol, Reconstruction, Transcript, Unavailable


@attack(
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "batch_size", "hyper_parameters"},
    position="server",
    reference="https://arxiv.org/abs/2206.12395",
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
    """Find records on which the client's local training, done again step by step, gives its update (Dimitrov 2022).

    Threat model: a curious server that set the local epochs, batch size and learning rate and knows the number of
    records, not the order in which they were used. Each epoch has its own copies of the records, held together by a
    prior that does not depend on order, their mean; the copies are matched and averaged at the end. Labels are used
    where the threat grants them, else their counts are recovered; which of them meet in a batch is guessed anew in
    each restart, and the restart with the smallest objective is returned. No exactness is claimed.
    """
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    if question.sizes is None:
        raise Unavailable("no_batch_size", "a threat that knows the number of records")
    if view.protocol.kind != "fedavg" or not view.protocol.learning_rate or view.protocol.optimizer != "sgd":
        raise Unavailable("no_local_training", "FedAvg with local SGD at a learning rate that the server knows")
    model = models.build(view.model)
    sizes = dict(zip(question.keys, question.sizes, strict=True))
    given = dict(zip(question.keys, question.labels, strict=True)) if question.labels is not None else {}
    rebuilt: dict[tuple[int, int], Array] = {}
    labels: dict[tuple[int, int], Array] = {}
    seed = int(rng.integers(2**31))
    for key, exchange, gradient in gradients(view, question):
        assert exchange.sent is not None
        parameters = {k: v.requires_grad_() for k, v in models.to_tensors(exchange.sent, model).items()}
        own, size = keyed_rng(seed, *key), sizes[key]
        target = [torch.from_numpy(gradient[k].astype(np.float32)) for k in parameters]
        if not any(bool(t.any()) for t in target):
            continue
        y = (
            torch.from_numpy(np.array(given[key]))
            if key in given
            else labels_of(model, parameters, gradient, size, auxiliary, question, own)
        )
        plan = _plan(view.protocol, size)
        runs: list[tuple[Tensor, float, Tensor]] = []
        for _ in range(restarts):
            order = y[torch.from_numpy(own.permutation(size))]
            smooth = tv if len(question.shape) == 3 else 0.0
            objective = _retraining(model, parameters, target, order, plan, view.protocol, smooth, epoch_prior)
            start = own.uniform(question.low, question.high, (len(plan), size, *question.shape))
            runs.append(
                (
                    *descend(objective, torch.tensor(start, dtype=torch.float32), question, iterations, learning_rate),
                    order,
                )
            )
        found, _, order = min(runs, key=lambda r: r[1])
        rebuilt[key] = _merged(found.numpy(), order.numpy())
        labels[key] = order.numpy()
    if not rebuilt:
        raise Unavailable("zero_gradient", "an update that is not zero everywhere")
    return Reconstruction(rebuilt, labels)


def _plan(protocol: Protocol, size: int) -> list[list[slice]]:
    """The batches of each epoch, as slices of that epoch's copies."""
    batch, left = min(protocol.batch_size or size, size), steps(protocol, size)
    plan: list[list[slice]] = []
    while left > 0:
        made = min(left, size // batch)
        plan.append([slice(i * batch, (i + 1) * batch) for i in range(made)])
        left -= made
    return plan


def _retraining(
    model: nn.Module,
    parameters: dict[str, Tensor],
    target: list[Tensor],
    y: Tensor,
    plan: list[list[slice]],
    protocol: Protocol,
    tv: float,
    epoch_prior: float,
) -> Callable[[Tensor], Tensor]:
    rate = protocol.learning_rate or 0.0

    def objective(copies: Tensor) -> Tensor:
        weights, velocity = dict(parameters), {k: torch.zeros_like(v) for k, v in parameters.items()}
        for epoch, batches in enumerate(plan):
            for rows in batches:
                loss = models.loss_of(model, weights, copies[epoch, rows], y[rows])
                gradient = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
                for name, part in zip(tuple(weights), gradient, strict=True):
                    velocity[name] = protocol.momentum * velocity[name] + part
                    weights[name] = weights[name] - rate * velocity[name]
        made = [parameters[k] - weights[k] for k in parameters]
        value = cosine_distance(made, target)
        if tv:
            value = value + tv * total_variation(copies.flatten(0, 1))
        if len(plan) > 1 and epoch_prior:
            means = copies.mean(1)
            value = value + epoch_prior * ((means - means.mean(0)) ** 2).mean()
        return value

    return objective


def _merged(copies: Array, y: Array) -> Array:
    """The mean over epochs (size, ...) of copies (epochs, size, ...), after matching those of one class."""
    total = copies[0].astype(np.float64)
    for other in copies[1:]:
        cost = cdist(copies[0].reshape(len(y), -1), other.reshape(len(y), -1), "sqeuclidean")
        cost[y[:, None] != y[None, :]] = 1e12
        total += other[optimize.linear_sum_assignment(cost)[1]]
    return total / len(copies)
