"""Training on labels that are not quite sure."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from testbed.core.errors import UsageError
from testbed.defences.registry import defence
from testbed.subjects.federation.local import Gradient, LocalRule


@defence(where="training")
def label_smoothing(*, seed: int, share: float = 0.1) -> LocalRule:
    """Divide `share` of each label evenly among all classes (Szegedy et al. 2016, arXiv 1512.00567).

    A heuristic, and not a safe one: attackers who train models in the same way find members whose answers lie nearer to
    the smoothed label. The leak may even grow (Kaya and Dumitras 2021).
    """

    def rule(inner: Gradient, rng: np.random.Generator) -> Gradient:
        def smoothed(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            if not x.is_floating_point():
                raise UsageError(
                    "TB-DEFENCE-025",
                    "The labels of words cannot be smoothed here.",
                    "Such a network predicts the next word, and has no class of a record.",
                    "Use label_smoothing with a network that names classes.",
                )
            with torch.no_grad():
                classes = model(x[:1]).shape[1]
            sure = y if y.is_floating_point() else nn.functional.one_hot(y, classes).to(x.dtype)
            return inner(model, x, (1 - share) * sure + share / classes)

        return smoothed

    return rule
