"""Gradient matching: find records whose gradient points where the client's did."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.attacks.inversion.labels import label_counts
from testbed.attacks.inversion.updates import gradients
from testbed.attacks.kit import attack, keyed_rng
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript, Unavailable


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbours within the picture; nothing is padded, so borders are not pulled."""
    return (x[..., 1:, :] - x[..., :-1, :]).abs().mean() + (x[..., 1:] - x[..., :-1]).abs().mean()


def cosine_distance(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """1 - cos of two gradients, over all parameters at once."""
    dot = torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()
    norms = [torch.stack([(a**2).sum() for a in g]).sum().sqrt() for g in (one, other)]
    return 1 - dot / (norms[0] * norms[1]).clamp_min(1e-12)


@attack(
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "batch_size"},
    position="server",
    reference="https://arxiv.org/abs/2003.14053",
)
def cosine_tv(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 300,
    learning_rate: float = 0.1,
    tv: float = 0.02,
    restarts: int = 1,
) -> Reconstruction:
    """Minimise the cosine distance between gradients plus total variation, by signed Adam steps (Geiping et al. 2020).

    Threat model: a curious server that knows the architecture and the batch size. Labels are used where the threat
    grants them, else their counts are recovered from the last bias gradient. Of several restarts the one with the
    smallest objective is returned; no other criterion could be known to an attacker. No exactness is claimed.
    """
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    if question.sizes is None:
        raise Unavailable("no_batch_size", "a threat that knows the batch size")
    model = models.build(view.model)
    sizes = dict(zip(question.keys, question.sizes, strict=True))
    given = dict(zip(question.keys, question.labels, strict=True)) if question.labels is not None else {}
    rebuilt: dict[tuple[int, int], Array] = {}
    labels: dict[tuple[int, int], Array] = {}
    seed = int(rng.integers(2**31))
    for key, exchange, gradient in gradients(view, question):
        assert exchange.sent is not None
        parameters = {k: v.requires_grad_() for k, v in models.to_tensors(exchange.sent, model).items()}
        own = keyed_rng(seed, *key)  # independent of the order in which exchanges are asked about
        if key in given:
            y = torch.from_numpy(np.array(given[key]))
        else:
            y = labels_of(model, parameters, gradient, sizes[key], auxiliary, question, own)
        target = [torch.from_numpy(gradient[k].astype(np.float32)) for k in parameters]
        if not any(bool(t.any()) for t in target):
            continue
        starts = [own.uniform(question.low, question.high, (sizes[key], *question.shape)) for _ in range(restarts)]
        matching = _matching(model, parameters, target, y, tv if len(question.shape) == 3 else 0.0)
        runs = [
            descend(matching, torch.tensor(s, dtype=torch.float32), question, iterations, learning_rate) for s in starts
        ]
        rebuilt[key] = min(runs, key=lambda r: r[1])[0].numpy()
        labels[key] = y.numpy()
    if not rebuilt:
        raise Unavailable("zero_gradient", "an update that is not zero everywhere")
    return Reconstruction(rebuilt, labels)


def labels_of(
    model: nn.Module,
    parameters: dict[str, Tensor],
    gradient: dict[str, Array],
    size: int,
    auxiliary: Cohort | None,
    question: Batch,
    rng: np.random.Generator,
) -> Tensor:
    """The batch's classes (size,) in ascending order, from the last bias gradient."""
    name = [k for k in gradient if k.endswith("bias")][-1]
    noise = rng.uniform(question.low, question.high, (64, *question.shape))
    inputs = noise if auxiliary is None else auxiliary.x[:256]
    fixed = {k: v.detach() for k, v in parameters.items()}
    counts = label_counts(model, fixed, gradient[name], size, torch.tensor(inputs, dtype=torch.float32))
    return torch.from_numpy(np.repeat(np.arange(question.classes), counts))


def _matching(
    model: nn.Module, parameters: dict[str, Tensor], target: list[Tensor], y: Tensor, tv: float
) -> Callable[[Tensor], Tensor]:
    def objective(x: Tensor) -> Tensor:
        loss = models.loss_of(model, parameters, x, y)
        own = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        value = cosine_distance(list(own), target)
        return value + tv * total_variation(x) if tv else value

    return objective


def descend(
    objective: Callable[[Tensor], Tensor], start: Tensor, question: Batch, iterations: int, learning_rate: float
) -> tuple[Tensor, float]:
    """Where `iterations` signed Adam steps within the records' range end, and the objective there."""
    x = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=learning_rate)
    drops = [int(iterations * share) for share in (3 / 8, 5 / 8, 7 / 8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, 0.1)
    for _ in range(iterations):
        optimizer.zero_grad()
        (x.grad,) = torch.autograd.grad(objective(x), [x])
        x.grad.sign_()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(question.low, question.high)
    return x.detach(), float(objective(x).detach())
