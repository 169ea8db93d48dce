"""Training of the last layers alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from testbed.defences.registry import defence
from testbed.subjects.federation.local import Gradient, LocalRule


@defence(where="training")
def head_only(*, seed: int, layers: int = 1) -> LocalRule:
    """Train the last `layers` layers; all earlier parameters stay as the server sent them, and their gradient is 0.

    As in the fine-tuning of a pretrained network. A heuristic: the head's gradient holds what the frozen layers see of
    a record (its features), and the count of each class.
    """

    def rule(inner: Gradient, rng: np.random.Generator) -> Gradient:
        def head(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            found = inner(model, x, y)
            owners = list(dict.fromkeys(name.rpartition(".")[0] for name in found))
            trained = set(owners[-layers:])
            return {k: g if k.rpartition(".")[0] in trained else torch.zeros_like(g) for k, g in found.items()}

        return head

    return rule
