"""By which of three ways many networks of one architecture can be trained at once."""

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


def path_for(network: nn.Module, x: Array | None = None) -> str:
    """The fastest way that trains this network right, where known on these records: matrix, vmap or loop."""
    tied = len([*network.named_parameters()]) < len([*network.named_parameters(remove_duplicate=False)])
    if tied or any(True for _ in network.buffers()):
        return "loop"  # running statistics are changed in place, for each model its own
    if type(network) is nn.Sequential:  # no other forward than one layer after the other
        layers = list(network)[1:] if type(network[0]) is nn.Flatten else list(network)
        learnt = all(p.requires_grad for p in network.parameters())
        if learnt and all(type(m) in (nn.Linear, *ELEMENTWISE) for m in layers):
            return "matrix"
    if not _record_by_record(network, x):
        return "loop"
    return "vmap" if x is None or _vmaps(network, x) else "loop"


def _record_by_record(network: nn.Module, x: Array | None) -> bool:
    """Does a record's output in training depend on that record alone, and on no draw?

    Otherwise records that only fill a batch up would touch it, or a mask would follow from which models are trained
    side by side.
    """
    if any(isinstance(m, (NORMALISED, DRAWN)) for m in network.modules()):
        return False
    if x is None or len(x) < 2:
        return True
    others = np.flatnonzero((x != x[0]).reshape(len(x), -1).any(1))
    if not len(others):
        return False  # nothing can be told of records that are all alike
    pair = torch.tensor(x[[0, others[0]]])
    training = network.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            made = [network.train()(given)[0] for given in (pair, pair, pair[[0, 0]])]
    except Exception:  # whatever a module that is somebody else's may raise
        return False
    finally:
        network.train(training)
    return all(torch.allclose(made[0], other, rtol=1e-4, atol=1e-6) for other in made[1:])


def _vmaps(network: nn.Module, x: Array) -> bool:
    """Does every step of the network know how to be done for many models at once? Those of an LSTM do not."""
    stacked = {k: p.detach()[None].expand(2, *p.shape) for k, p in network.named_parameters()}
    given = torch.tensor(x[:2]).expand(2, *x[:2].shape)
    try:
        with torch.no_grad():
            torch.func.vmap(partial(called, network), randomness="different")(stacked, given)
    except Exception:  # whatever a module that is somebody else's may raise
        return False
    return True


def called(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    return cast(Tensor, torch.func.functional_call(network, parameters, (x,)))
