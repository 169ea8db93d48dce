"""Network factories. Arguments are plain values, so that a transcript's JSON header can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def mlp(shape: Sequence[int], classes: int, hidden: Sequence[int] = (64,), activation: str = "relu") -> nn.Module:
    """Fully connected layers over a flattened record of `shape`."""
    widths = [math.prod(shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for narrow, wide in pairwise(widths):
        layers += [nn.Linear(narrow, wide), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def cnn(shape: Sequence[int], classes: int, channels: Sequence[int] = (16, 32), activation: str = "gelu") -> nn.Module:
    """Convolutions of 5 x 5, each after the first with stride 2, and one linear layer; no normalisation."""
    depth, height, width = shape
    layers: list[nn.Module] = []
    for i, wide in enumerate(channels):
        stride = 1 if i == 0 else 2
        layers += [nn.Conv2d(depth, wide, 5, stride=stride, padding=2), ACTIVATIONS[activation]()]
        depth, height, width = wide, math.ceil(height / stride), math.ceil(width / stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(depth * height * width, classes))


class Imprinted(nn.Module):
    """A network behind a block that a malicious server can fill with bins (Fowl et al. 2022, arXiv 2110.13057).

    The block adds to each input a multiple of one number, the sum of `bins` rectified linear measurements.
    """

    def __init__(self, shape: Sequence[int], bins: int, inner: nn.Module) -> None:
        super().__init__()
        size = math.prod(shape)
        self.imprint = nn.Linear(size, bins)
        self.connect = nn.Linear(bins, size, bias=False)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        changed = flat + self.connect(torch.relu(self.imprint(flat)))
        return self.inner(changed.reshape(x.shape))


def imprinted(bins: int, inner: Mapping[str, Any]) -> nn.Module:
    """An `Imprinted` network around another factory's: `inner` holds its `factory` and `arguments`."""
    factories = {"mlp": mlp, "cnn": cnn}
    arguments = dict(inner["arguments"])
    return Imprinted(arguments["shape"], bins, factories[inner["factory"]](**arguments))
