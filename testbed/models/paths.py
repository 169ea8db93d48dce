"""The choice between three ways to train many networks of one architecture: matrix, vmap or loop."""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from testbed.core import Array

ELEMENTWISE = (
    nn.ReLU,
    nn.GELU,
    nn.Tanh,
    nn.Sigmoid,
    nn.SiLU,
    nn.ELU,
    nn.LeakyReLU,
    nn.Softplus,
    nn.Hardtanh,
    nn.Identity,
)
NORMALISED = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
"""Layers whose output for a record depends on its batch."""
DRAWN = nn.modules.dropout._DropoutNd  # pyright: ignore[reportPrivateUsage]
"""Layers whose output is random in training."""


def path_for(network: nn.Module, x: Array | None = None) -> str:
    """The fastest way that trains this network correctly: matrix, vmap or loop. Records `x`, if given, test it."""
    tied = len([*network.named_parameters()]) < len([*network.named_parameters(remove_duplicate=False)])
    if tied or any(True for _ in network.buffers()):
        return "loop"  # each model changes its own running statistics in place
    if type(network) is nn.Sequential:  # surely runs one layer after the other
        layers = list(network)[1:] if type(network[0]) is nn.Flatten else list(network)
        learnt = all(p.requires_grad for p in network.parameters())
        if learnt and all(type(m) in (nn.Linear, *ELEMENTWISE) for m in layers):
            return "matrix"
    if not _record_by_record(network, x):
        return "loop"
    return "vmap" if x is None or _vmaps(network, x) else "loop"


def _record_by_record(network: nn.Module, x: Array | None) -> bool:
    """Whether a record's output in training depends only on that record, and is not random.

    Otherwise records that only fill up a batch would change the result, or random masks would depend on which models
    are trained together.
    """
    if any(isinstance(m, (NORMALISED, DRAWN)) for m in network.modules()):
        return False
    if x is None or len(x) < 2:
        return True
    others = np.flatnonzero((x != x[0]).reshape(len(x), -1).any(1))
    if not len(others):
        return False  # equal records cannot show whether they influence each other
    pair = torch.tensor(x[[0, others[0]]])
    training = network.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            outputs = [network.train()(batch)[0] for batch in (pair, pair, pair[[0, 0]])]
    except Exception:  # a user's module may raise anything
        return False
    finally:
        network.train(training)
    return all(torch.allclose(outputs[0], other, rtol=1e-4, atol=1e-6) for other in outputs[1:])


def _vmaps(network: nn.Module, x: Array) -> bool:
    """Whether `torch.func.vmap` can run every step of the network; it cannot run an LSTM."""
    stacked = {k: p.detach()[None].expand(2, *p.shape) for k, p in network.named_parameters()}
    batch = torch.tensor(x[:2]).expand(2, *x[:2].shape)
    try:
        with torch.no_grad():
            torch.func.vmap(partial(called, network), randomness="different")(stacked, batch)
    except Exception:  # a user's module may raise anything
        return False
    return True


def called(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network's outputs for records `x` with these parameters."""
    return cast(Tensor, torch.func.functional_call(network, parameters, (x,)))
