"""Perceptual distance: how far apart two pictures are in the features of an image classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from testbed.core import Array
from testbed.data.datasets import weights

SIDE = 224
"""Height and width to which pictures are resized: the size that the network was trained on."""
AT_A_TIME = 32
"""Pictures compared at once, to bound the memory."""
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""EfficientNet-Lite0: for each stage the number of blocks and the stride of the first one."""
COMPARED = (0, 2, 4, 10, 15)
"""The blocks whose features are compared, the last ones at 112, 56, 28, 14 and 7 pixels a side."""


def perceptual_distances(ones: Array, others: Array) -> Array:
    """Perceptual distances (n,), in [0, 4] and 0 if equal, between pictures `ones[i]` and `others[i]`.

    Both arrays are (n, 1 or 3, height, width) in [0, 1]; a single channel is used for all three. The distance has the
    form of LPIPS (Zhang et al. 2018) without its learned weights: features are scaled to length 1 at every pixel, and
    their squared difference is averaged over pixels and over five depths. The network is EfficientNet-Lite0 (Tan and
    Le 2019), so the figures cannot be compared with published LPIPS. Raises `ValueError` if the shapes differ or are
    not those of pictures.
    """
    if np.shape(ones) != np.shape(others) or np.ndim(ones) != 4 or np.shape(ones)[1] not in (1, 3):
        raise ValueError("both must be (pictures, 1 or 3 channels, height, width), and of one shape")
    distances: list[Array] = []
    with torch.inference_mode():
        for start in range(0, len(ones), AT_A_TIME):
            pair = (_unit_features(x[start : start + AT_A_TIME]) for x in (ones, others))
            by_depth = [((a - b) ** 2).sum(1).mean((1, 2)) for a, b in zip(*pair, strict=True)]
            distances.append(torch.stack(by_depth).mean(0).numpy())
    return np.concatenate(distances) if distances else np.empty(0, np.float32)


def class_scores(pictures: Array) -> Array:
    """Logits (n, 1000) of ImageNet's classes for pictures (n, 1 or 3, height, width) in [0, 1]; a network test."""
    known = _weights()
    with torch.inference_mode():
        *_, last = _blocks(_prepared(pictures), known)
        head = _activated(_convolved(last, known["_conv_head.weight"]), known, "_bn1")
        return functional.linear(head.mean((2, 3)), known["_fc.weight"], known["_fc.bias"]).numpy()


@cache
def _weights() -> Mapping[str, Tensor]:
    return weights.load()


def _prepared(pictures: Array) -> Tensor:
    x = torch.as_tensor(np.ascontiguousarray(pictures, np.float32)).expand(-1, 3, -1, -1)
    return (functional.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True) * 255 - 127) / 128


def _unit_features(pictures: Array) -> list[Tensor]:
    blocks = list(_blocks(_prepared(pictures), _weights()))
    return [functional.normalize(blocks[i], dim=1) for i in COMPARED]


def _blocks(x: Tensor, known: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """The output of each block (inverted bottleneck), in order."""
    x = _activated(_convolved(x, known["_conv_stem.weight"], 2), known, "_bn0")
    strides = [s if i == 0 else 1 for blocks, s in STAGES for i in range(blocks)]
    for i, stride in enumerate(strides):
        name, entered = f"_blocks.{i}.", x
        if f"{name}_expand_conv.weight" in known:
            x = _activated(_convolved(x, known[f"{name}_expand_conv.weight"]), known, f"{name}_bn0")
        x = _activated(_convolved(x, known[f"{name}_depthwise_conv.weight"], stride), known, f"{name}_bn1")
        x = _normed(_convolved(x, known[f"{name}_project_conv.weight"]), known, f"{name}_bn2")
        if stride == 1 and x.shape == entered.shape:
            x = x + entered
        yield x


def _convolved(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """A convolution padded so that it gives ceil(size / stride) pixels; an odd padding has its larger half last.

    It is depthwise if the weight has one input channel.
    """
    size, kernel = x.shape[-1], weight.shape[-1]
    padding = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before, after = padding // 2, padding - padding // 2
    groups = x.shape[1] if weight.shape[1] == 1 else 1
    return functional.conv2d(functional.pad(x, (before, after, before, after)), weight, stride=stride, groups=groups)


def _normed(x: Tensor, known: Mapping[str, Tensor], name: str) -> Tensor:
    mean, variance, scale, shift = (known[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, variance, scale, shift, eps=1e-3)


def _activated(x: Tensor, known: Mapping[str, Any], name: str) -> Tensor:
    return functional.relu6(_normed(x, known, name))
