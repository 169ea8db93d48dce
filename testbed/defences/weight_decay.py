"""Training that keeps weights small."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from testbed.defences.registry import defence
from testbed.subjects.federation.local import Gradient, LocalRule


@defence(where="training")
def weight_decay(*, seed: int, decay: float = 0.01) -> LocalRule:
    """Add `decay` times each weight to its gradient (L2 regularisation; Shokri et al. 2017, arXiv 1610.05820).

    A heuristic: a network that fits its members less gives less of them away, and is still no guarantee.
    """

    def rule(inner: Gradient, rng: np.random.Generator) -> Gradient:
        def decayed(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            weights = dict(model.named_parameters())
            return {k: g + decay * weights[k].detach() for k, g in inner(model, x, y).items()}

        return decayed

    return rule
