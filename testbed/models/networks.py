"""Factories of networks. Their arguments are plain values, so that the JSON header of a transcript can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from testbed.models.vision import VisionTransformer

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def mlp(shape: Sequence[int], classes: int, hidden: Sequence[int] = (64,), activation: str = "relu") -> nn.Module:
    """Fully connected layers over a flattened record of `shape`."""
    widths = [math.prod(shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for narrow, wide in pairwise(widths):
        layers += [nn.Linear(narrow, wide), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def normalised(kind: str, channels: int) -> list[nn.Module]:
    """The layers for a kind of normalisation: none, group, or batch (by each batch's own statistics)."""
    if kind == "none":
        return []
    if kind == "group":
        return [nn.GroupNorm(math.gcd(8, channels), channels)]
    if kind == "batch":
        return [nn.BatchNorm2d(channels, track_running_stats=False)]
    raise ValueError("norm must be none, group or batch")


def cnn(
    shape: Sequence[int],
    classes: int,
    channels: Sequence[int] = (16, 32),
    activation: str = "gelu",
    norm: str = "none",
) -> nn.Module:
    """Convolutions of 5 x 5, with stride 2 from the second on, and one linear layer."""
    depth, height, width = shape
    layers: list[nn.Module] = []
    for i, wide in enumerate(channels):
        stride = 1 if i == 0 else 2
        layers += [nn.Conv2d(depth, wide, 5, stride=stride, padding=2), *normalised(norm, wide)]
        layers += [ACTIVATIONS[activation]()]
        depth, height, width = wide, math.ceil(height / stride), math.ceil(width / stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(depth * height * width, classes))


def lenet(shape: Sequence[int], classes: int, channels: int = 12) -> nn.Module:
    """Three convolutions of 5 x 5 with sigmoids and one linear layer (Zhu et al. 2019, arXiv 1906.08935).

    All weights are drawn uniformly from [-0.5, 0.5].
    """
    depth, height, width = shape
    layers: list[nn.Module] = []
    for stride in (2, 2, 1):
        layers += [nn.Conv2d(depth, channels, 5, stride=stride, padding=2), nn.Sigmoid()]
        depth, height, width = channels, math.ceil(height / stride), math.ceil(width / stride)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, classes))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    return model


class Residual(nn.Module):
    """Two convolutions whose result is added to their input, which is subsampled and zero-padded if sizes differ."""

    def __init__(self, inward: int, outward: int, stride: int, norm: str) -> None:
        super().__init__()
        self.stride, self.more = stride, outward - inward
        self.body = nn.Sequential(
            nn.Conv2d(inward, outward, 3, stride, 1, bias=norm == "none"),
            *normalised(norm, outward),
            nn.ReLU(),
            nn.Conv2d(outward, outward, 3, 1, 1, bias=norm == "none"),
            *normalised(norm, outward),
        )

    def forward(self, x: Tensor) -> Tensor:
        beside = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return torch.relu(beside + self.body(x))


def resnet20(shape: Sequence[int], classes: int, width: int = 16, norm: str = "batch") -> nn.Module:
    """The residual network of 20 layers for small pictures (He et al. 2016, arXiv 1512.03385, section 4.2)."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, 1, 1, bias=norm == "none")]
    layers += [*normalised(norm, width), nn.ReLU()]
    inward = width
    for stage in range(3):
        outward = width * 2**stage
        for block in range(3):
            layers.append(Residual(inward, outward, 2 if stage and block == 0 else 1, norm))
            inward = outward
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inward, classes))


class Imprinted(nn.Module):
    """A network with a first block that a malicious server can use as bins (Fowl et al. 2022, arXiv 2110.13057).

    The block computes `bins` linear measurements of the input, applies a ReLU, and adds a linear map of the results to
    the input. With a `window`, each measurement is also cut off at that value from above, so that a record influences
    only the measurements whose window it falls into.
    """

    def __init__(self, shape: Sequence[int], bins: int, inner: nn.Module, window: float = 0.0) -> None:
        super().__init__()
        size = math.prod(shape)
        self.window = window
        self.imprint = nn.Linear(size, bins)
        self.connect = nn.Linear(bins, size, bias=False)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        measured = self.imprint(flat)
        kept = measured.clamp(0, self.window) if self.window else torch.relu(measured)
        changed = flat + self.connect(kept)
        return self.inner(changed.reshape(x.shape))


def imprinted(bins: int, inner: Mapping[str, Any], window: float = 0.0) -> nn.Module:
    """An `Imprinted` network around another factory's: `inner` holds its `factory` and `arguments`."""
    factories = {"mlp": mlp, "cnn": cnn, "lenet": lenet, "resnet20": resnet20, "vit": VisionTransformer}
    arguments = dict(inner["arguments"])
    return Imprinted(arguments["shape"], bins, factories[inner["factory"]](**arguments), window)
