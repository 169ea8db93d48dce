"""A check of the attacker's own gradient: if it is the same for every record, it cannot find any record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.core import Array, Unavailable

DRAWS = 4
"""Random batches on which the gradient is tried, and as many batches of other people's records, if there are any."""
ROUNDING = 1e-7
"""Gradients that differ by at most this share of their length are equal: the rest is rounding error of 32 bits."""

ZERO = Unavailable(
    "zero_own_gradient",
    "the loss of the app that trained: the attacker's own gradient is zero for every record, so the loss assumed "
    "(the model's own, else cross-entropy over its outputs) is probably not the app's",
)
CONSTANT = Unavailable(
    "constant_own_gradient",
    "a model whose gradient depends on the record: the attacker's own gradient is the same for every record, as where "
    "the output is constant or no unit is ever active",
)
NOT_FINITE = Unavailable(
    "own_gradient_not_finite",
    "a loss that is finite: the attacker's own gradient is not, for any record, so the loss assumed is probably not "
    "the app's",
)


def gradient(loss: Tensor, parameters: Sequence[Tensor], *, create_graph: bool = False) -> list[Tensor]:
    """The gradient by each parameter; zeros if the loss does not depend on the parameter."""
    if not loss.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    return list(
        torch.autograd.grad(
            loss, list(parameters), create_graph=create_graph, allow_unused=True, materialize_grads=True
        )
    )


def says_nothing(gradients: Sequence[Sequence[Tensor]]) -> Unavailable | None:
    """The reason why a gradient with these values on different records can find nothing, or None if it can."""
    made = [torch.cat([g.detach().flatten().double() for g in one]) for one in gradients]
    made = [one for one in made if bool(one.isfinite().all())]
    if not made:
        return NOT_FINITE
    lengths = torch.stack([one.norm() for one in made])
    if not bool(lengths.any()):
        return ZERO
    apart = torch.stack([(one - made[0]).norm() for one in made])
    return CONSTANT if len(made) > 1 and float(apart.max()) <= ROUNDING * float(lengths.max()) else None


def tried(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    y: Tensor,
    shape: tuple[int, ...],
    within: tuple[float, float],
    others: Array | None,
    rng: np.random.Generator,
) -> Unavailable | None:
    """`says_nothing` for the gradient on batches with classes `y`: random records, and records of `others`."""
    batches = [rng.uniform(*within, (len(y), *shape)) for _ in range(DRAWS)]
    if others is not None and len(others):
        batches += [others[rng.integers(0, len(others), len(y))] for _ in range(DRAWS)]
    found: list[list[Tensor]] = []
    for records in batches:
        x = torch.tensor(np.asarray(records), dtype=torch.float32, device=y.device)
        found.append(gradient(models.loss_of(model, parameters, x, y), list(parameters.values())))
    return says_nothing(found)


def without_loss(model: nn.Module, parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> bool:
    """Whether the loss is zero for every record and class, so that a score by loss cannot distinguish records."""
    with torch.no_grad():
        if bool(models.losses_of(model, parameters, x, y).any()):
            return False
        outputs = torch.func.functional_call(model, dict(parameters), (x,))
        if outputs.ndim == 2 and outputs.shape[1] > 1:  # a model that memorised every record fits no other class
            return not bool(models.losses_of(model, parameters, x, (y + 1) % outputs.shape[1]).any())
    return True
