"""What a client's own records do in the model that it was sent: layer by layer, neuron by neuron, record by record."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.core import Array, Exchange, Parameters
from testbed.core.guard import Received

MOST = 200
"""Own records that a guard looks at, at most: the first ones."""
SILENT = 1e-6
"""Relative size under which a gradient counts as zero."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One linear or convolutional layer under the client's own records.

    `reach` (n, k) is how much each record moves each of the k neurons: the absolute gradient of its loss by the
    neuron's input, summed over positions. `norms` (n,) is the length of each record's gradient of the weights.
    """

    name: str
    reach: Array
    norms: Array
    dense: bool

    @property
    def active(self) -> Array:
        """Which record moves which neuron (n, k) bool."""
        return self.reach > SILENT * max(float(self.reach.max()), 1e-30)


@functools.lru_cache(maxsize=2)
def traces(seen: Received) -> tuple[Trace, ...]:
    """A trace of every linear and convolutional layer that the records reach, in the model's order."""
    network = models.build(seen.model)
    network.load_state_dict(models.to_tensors(seen.sent, network), strict=False)
    models.as_trained(network, len(seen.records))
    held: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def keep(name: str) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...], made: Tensor) -> None:
            if made.requires_grad:
                made.retain_grad()
                held.append((name, module, given[0].detach(), made))

        return hook

    hooks = [
        m.register_forward_hook(keep(name))
        for name, m in network.named_modules()
        if isinstance(m, nn.Linear | nn.Conv2d)
    ]
    x, y = torch.tensor(seen.records.x[:MOST]), torch.tensor(seen.records.y[:MOST])
    models.record_losses(network, network(x), x, y).sum().backward()
    for hook in hooks:
        hook.remove()
    return tuple(_trace(*one) for one in held if one[3].grad is not None)


def _trace(name: str, module: nn.Module, given: Tensor, made: Tensor) -> Trace:
    assert made.grad is not None
    told = made.grad
    if isinstance(module, nn.Conv2d):
        told = told.flatten(2)  # (n, k, positions)
        seen = nn.functional.unfold(given, module.kernel_size, module.dilation, module.padding, module.stride)  # pyright: ignore[reportArgumentType]
        norms = torch.einsum("nkp,nwp->nkw", told, seen).flatten(1).norm(dim=1)
        return Trace(name, told.abs().sum(2).numpy(), norms.numpy(), dense=False)
    if told.ndim == 2:
        return Trace(name, told.abs().numpy(), (told.norm(dim=1) * given.norm(dim=1)).numpy(), dense=True)
    told, seen = told.flatten(1, -2), given.flatten(1, -2)  # (n, positions, k)
    norms = torch.einsum("npk,npw->nkw", told, seen).flatten(1).norm(dim=1)
    return Trace(name, told.abs().sum(1).numpy(), norms.numpy(), dense=False)


def hidden(seen: Received) -> list[Trace]:
    """The fully connected layers before the last layer: those whose neurons may be active for few records."""
    return [t for t in traces(seen)[:-1] if t.dense]


def matrices(parameters: Parameters, neurons: int, inputs: int) -> Iterator[Array]:
    """Each weight as a matrix (neurons, inputs), of layers with so many neurons and inputs or more."""
    for name, value in parameters.items():
        if name.endswith("weight") and value.ndim >= 2 and value.shape[0] >= neurons:
            matrix = value.reshape(value.shape[0], -1).astype(np.float64)
            if matrix.shape[1] >= inputs:
                yield matrix


def own_update(before: Exchange, learning_rate: float | None) -> dict[str, Array]:
    """The change of the weights that this client asked for in an exchange; empty if it returned nothing.

    With a `learning_rate` it returned a gradient (FedSGD), otherwise new weights.
    """
    if before.sent is None or before.returned is None:
        return {}
    if learning_rate is not None:
        return {k: -learning_rate * v for k, v in before.returned.items()}
    return {k: v - before.sent[k] for k, v in before.returned.items() if k in before.sent}


def rate_of(settings: Mapping[str, Any]) -> float | None:
    """The learning rate, if clients return gradients."""
    return float(settings["learning-rate"]) if settings.get("kind") == "fedsgd" else None
