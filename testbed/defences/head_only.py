"""Training of the last layers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from testbed.core import Array
from testbed.core.defence import Bounds
from testbed.defences.registry import defence
from testbed.subjects.federation.local import Gradient, LocalRule


def before(update: Mapping[str, Array], *, layers: int = 1) -> Bounds:
    """The head's gradient is unchanged, and that of the frozen layers can have been anything."""
    free = set(update) - trained(update, layers)
    sent = {name: np.asarray(values, np.float64) for name, values in update.items()}
    low = {name: np.full_like(v, -np.inf) if name in free else v for name, v in sent.items()}
    return low, {name: np.full_like(v, np.inf) if name in free else v for name, v in sent.items()}


def trained(parameters: Iterable[str], layers: int) -> set[str]:
    """The names of the parameters of the last `layers` layers."""
    names = list(parameters)
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    return {name for name in names if name.rpartition(".")[0] in owners[-layers:]}


@defence(where="training", bounds=before)
def head_only(*, seed: int, layers: int = 1) -> LocalRule:
    """Train the last `layers` layers; all earlier parameters stay as the server sent them, and their gradient is 0.

    As in the fine-tuning of a pretrained network. A heuristic: the head's gradient holds what the frozen layers see of
    a record (its features), and the count of each class.
    """

    def rule(inner: Gradient, rng: np.random.Generator) -> Gradient:
        def head(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            found = inner(model, x, y)
            kept = trained(found, layers)
            return {k: g if k in kept else torch.zeros_like(g) for k, g in found.items()}

        return head

    return rule
