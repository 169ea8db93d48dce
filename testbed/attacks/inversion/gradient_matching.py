"""The common parts of gradient matching: the update to match, the batch's labels, and the descent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.attacks.inversion.labels import label_counts
from testbed.attacks.inversion.possible import Possible, possible
from testbed.attacks.inversion.updates import gradients, steps
from testbed.attacks.own_gradient import gradient as gradient_of
from testbed.attacks.own_gradient import tried
from testbed.core import Array, Batch, Cohort, Transcript, Unavailable
from testbed.core.randomness import keyed_rng


@dataclass(frozen=True, slots=True)
class Task:
    """One update to match: the model with the parameters that were sent, and the returned gradient `target`.

    `y` (size,) are the batch's classes, granted or computed. `rng` depends on the exchange, not on the order of keys.
    `possible` are the values of the gradient before the clients' defences, if the attacker knows these.
    """

    key: tuple[int, int]
    model: nn.Module
    parameters: dict[str, Tensor]
    target: list[Tensor]
    y: Tensor
    size: int
    rng: np.random.Generator
    possible: Possible | None = None
    steps: int = 1
    """Local steps of the client that answered with this update."""

    def compared(self, own: Sequence[Tensor]) -> list[Tensor]:
        """What is compared with the target: the gradient itself, or to one who knows the defence, what it rules out."""
        return list(own) if self.possible is None else self.possible.compared(own, self.target)

    def distance(self, x: Tensor) -> Tensor:
        """1 minus the cosine between the gradient on records `x` and the target."""
        loss = models.loss_of(self.model, self.parameters, x, self.y)
        own = gradient_of(loss, list(self.parameters.values()), create_graph=True)
        return cosine_distance(self.compared(own), self.target)

    def distances(self, x: Tensor) -> Tensor:
        """The same distance (runs,) for several batches (runs, size, ...)."""
        fixed = {k: v.detach() for k, v in self.parameters.items()}

        def one(records: Tensor) -> Tensor:
            def loss(parameters: dict[str, Tensor]) -> Tensor:
                return models.loss_of(self.model, parameters, records, self.y)

            own = cast(dict[str, Tensor], torch.func.grad(loss)(fixed))
            return cosine_distance(self.compared([own[k] for k in fixed]), self.target)

        return torch.func.vmap(one)(x)


def tasks(view: Transcript, question: Batch, auxiliary: Cohort | None, rng: np.random.Generator) -> Iterator[Task]:
    """A task for each exchange asked about whose update is not zero.

    Labels are used if the threat grants them; otherwise their counts are computed from the last bias gradient. Raises
    `Unavailable` without a model or batch sizes, if every update is zero, or if the attacker's own gradient is the same
    for every record, so that no search can follow it.
    """
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    if view.protocol.personal:
        raise Unavailable("personal_layers", "the layers that clients keep: the gradient cannot be computed without")
    if question.sizes is None:
        raise Unavailable("no_batch_size", "a threat that knows the batch size")
    sizes = dict(zip(question.keys, question.sizes, strict=True))
    given = dict(zip(question.keys, question.labels, strict=True)) if question.labels is not None else {}
    seed, found = int(rng.integers(2**31)), 0
    why = Unavailable("zero_gradient", "an update that is not zero everywhere")
    for key, exchange, gradient in gradients(view, question):
        assert exchange.sent is not None
        step = min(view.protocol.batch_size or sizes[key], sizes[key])
        model = models.build(view.model)
        tensors = models.to_tensors(exchange.sent, model)
        model = models.as_trained(model, step).to(models.DEVICE)
        parameters = {k: v.to(models.DEVICE).requires_grad_() for k, v in tensors.items()}
        target = [torch.from_numpy(gradient[k].astype(np.float32)).to(models.DEVICE) for k in parameters]
        if not any(bool(t.any()) for t in target):
            continue
        known = possible(exchange, view.protocol, question, gradient, list(parameters))
        own = keyed_rng(seed, *key)
        if key in given:
            y = torch.from_numpy(np.array(given[key]))
        else:
            y = _labels(model, parameters, gradient, sizes[key], auxiliary, question, own, known is not None)
        y = y.to(models.DEVICE)
        draws = keyed_rng(seed, *key, "own gradient")
        others = None if auxiliary is None else auxiliary.x
        nothing = tried(model, parameters, y, question.shape, (question.low, question.high), others, draws)
        if nothing is not None:
            why = nothing
            continue
        found += 1
        made = steps(view.protocol, sizes[key], exchange)
        yield Task(key, model, parameters, target, y, sizes[key], own, known, made)
    if not found:
        raise Unavailable(why.code, why.needs)


def _labels(
    model: nn.Module,
    parameters: dict[str, Tensor],
    gradient: dict[str, Array],
    size: int,
    auxiliary: Cohort | None,
    question: Batch,
    rng: np.random.Generator,
    bounded: bool,
) -> Tensor:
    """The batch's classes (size,) in ascending order, computed from the last bias gradient.

    If its numbers are `bounded` by what a known defence leaves, they may have been made smaller. Raises `Unavailable`
    if the last layer has no bias for each class, or is not trained.
    """
    name = [k for k, _ in model.named_parameters() if k.endswith("bias")][-1:]
    if not name or name[0] not in gradient or gradient[name[0]].shape != (question.classes,):
        raise Unavailable("no_labels", "the batch's labels, or a last layer with a bias for each class that is trained")
    noise = rng.uniform(question.low, question.high, (64, *question.shape))
    inputs = noise if auxiliary is None else auxiliary.x[:256]
    fixed = {k: v.detach() for k, v in parameters.items()}
    asked = torch.tensor(inputs, dtype=torch.float32, device=models.DEVICE)
    counts = label_counts(model, fixed, gradient[name[0]], size, asked, shrunken=bounded)
    return torch.from_numpy(np.repeat(np.arange(question.classes), counts))


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels. Nothing is padded, so borders are not changed by the prior."""
    return total_variations(x[None])[0]


def total_variations(x: Tensor) -> Tensor:
    """The total variation (runs,) of several batches (runs, ...)."""
    down, across = (x[..., 1:, :] - x[..., :-1, :]).abs(), (x[..., 1:] - x[..., :-1]).abs()
    return down.flatten(1).mean(1) + across.flatten(1).mean(1)


def cosine_distance(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """1 minus the cosine of two gradients, over all parameters together."""
    dot = torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()
    norms = [torch.stack([(a**2).sum() for a in g]).sum().sqrt() for g in (one, other)]
    return 1 - dot / (norms[0] * norms[1]).clamp_min(1e-12)


def descend(
    objective: Callable[[Tensor], Tensor], start: Tensor, question: Batch, iterations: int, learning_rate: float
) -> tuple[Tensor, Tensor]:
    """The records after `iterations` signed Adam steps within the records' range, and the objective there.

    An objective of several runs gives one value for each run; the runs do not influence each other.
    """
    x = start.to(models.DEVICE).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=learning_rate)
    drops = [int(iterations * share) for share in (3 / 8, 5 / 8, 7 / 8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, 0.1)
    for _ in range(iterations):
        optimizer.zero_grad()
        (x.grad,) = torch.autograd.grad(objective(x).sum(), [x])
        x.grad.sign_()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(question.low, question.high)
    return x.detach().cpu(), objective(x).detach().cpu()
