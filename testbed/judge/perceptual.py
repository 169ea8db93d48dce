"""How far apart two pictures are in the features of a network that has learned to tell objects apart."""

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
"""Pictures are brought to the size that the network was trained on."""
AT_A_TIME = 32
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""EfficientNet-Lite0's blocks and the stride of each stage's first; kernels and widths are the weights' own."""
COMPARED = (0, 2, 4, 10, 15)
"""The last block at each resolution: 112, 56, 28, 14 and 7 places a side."""


def perceptual_distances(ones: Array, others: Array) -> Array:
    """The distance (n,) of each of `ones` to the same place of `others`, both (n, 1 or 3, height, width) in [0, 1].

    The form is that of Zhang et al. 2018 (LPIPS) without its learned weights: at every place the features are brought
    to length 1, and the squared difference is averaged over places and over five depths; in [0, 4], 0 if equal. The
    network is EfficientNet-Lite0 (Tan and Le 2019), so figures compare with each other and not with published LPIPS.
    One channel stands for all three. Raises `ValueError` for shapes that differ or are no pictures.
    """
    if np.shape(ones) != np.shape(others) or np.ndim(ones) != 4 or np.shape(ones)[1] not in (1, 3):
        raise ValueError("both must be (pictures, 1 or 3 channels, height, width), and of one shape")
    found: list[Array] = []
    with torch.inference_mode():
        for start in range(0, len(ones), AT_A_TIME):
            pair = (_unit_features(x[start : start + AT_A_TIME]) for x in (ones, others))
            by_depth = [((a - b) ** 2).sum(1).mean((1, 2)) for a, b in zip(*pair, strict=True)]
            found.append(torch.stack(by_depth).mean(0).numpy())
    return np.concatenate(found) if found else np.empty(0, np.float32)


def class_scores(pictures: Array) -> Array:
    """ImageNet's 1,000 logits (n, 1000) of pictures (n, 1 or 3, height, width) in [0, 1]: a check of the network."""
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
    """The output of each inverted bottleneck in turn."""
    x = _activated(_convolved(x, known["_conv_stem.weight"], 2), known, "_bn0")
    strides = [s if i == 0 else 1 for blocks, s in STAGES for i in range(blocks)]
    for i, stride in enumerate(strides):
        name, came = f"_blocks.{i}.", x
        if f"{name}_expand_conv.weight" in known:
            x = _activated(_convolved(x, known[f"{name}_expand_conv.weight"]), known, f"{name}_bn0")
        x = _activated(_convolved(x, known[f"{name}_depthwise_conv.weight"], stride), known, f"{name}_bn1")
        x = _normed(_convolved(x, known[f"{name}_project_conv.weight"]), known, f"{name}_bn2")
        if stride == 1 and x.shape == came.shape:
            x = x + came
        yield x


def _convolved(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """With as much padding, its larger half last, as gives ceil(size / stride) places; depthwise where one is in."""
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
