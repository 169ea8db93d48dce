"""Training on mixtures of two records."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from testbed.core.errors import UsageError
from testbed.defences.registry import defence
from testbed.subjects.federation.local import Gradient, LocalRule


@defence(where="training", mixes=True)
def mixup(*, seed: int, alpha: float = 1.0) -> LocalRule:
    """Replace each record of a batch by a mixture with another one.

    The weights are drawn from a Beta(alpha, alpha) distribution (Zhang et al. 2018, arXiv 1710.09412). Both classes
    count by their weights. A heuristic: mixtures can be separated, and a batch of one has nobody to be mixed with.
    """

    def rule(inner: Gradient, rng: np.random.Generator) -> Gradient:
        def mixed(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            if not x.is_floating_point():
                raise UsageError(
                    "TB-DEFENCE-010",
                    "Records of words or other codes cannot be mixed.",
                    "The mean of two codes is a third one, which means something else.",
                    "Use mixup on pictures or numbers.",
                )
            share, order = float(rng.beta(alpha, alpha)), torch.from_numpy(rng.permutation(len(x)))
            both = share * x + (1 - share) * x[order]
            one, other = inner(model, both, y), inner(model, both, y[order])
            return {k: share * one[k] + (1 - share) * other[k] for k in one}

        return mixed

    return rule
