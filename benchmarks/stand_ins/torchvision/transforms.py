"""Stands in for `torchvision.transforms`; pictures are arrays (rows, columns, 3) of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, picture: Any) -> Any:
        for transform in self.transforms:
            picture = transform(picture)
        return picture


class ToTensor:
    """A tensor (channels, rows, columns) between 0 and 1."""

    def __call__(self, picture: Any) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float() / 255


class Normalize:
    """Less the mean, over the deviation, by channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (mean, std))

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        return (picture - self.mean) / self.std
