"""Soteria: the last layer's gradient leaves without the features that tell most of a record."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from testbed.core import Array
from testbed.core.defence import Bounds
from testbed.core.errors import UsageError
from testbed.defences.registry import defence
from testbed.subjects.federation.local import Gradient, LocalRule


def before(update: Mapping[str, Array], **_: float) -> Bounds:
    """Where a feature's whole column of the last weight is 0, it can have been anything; all else is unchanged.

    Balunovic et al. 2022 (arXiv 2111.04706) leave out the whole layer, with which Soteria has no effect.
    """
    sent = {name: np.asarray(values, np.float64) for name, values in update.items()}
    last = [name for name, v in sent.items() if v.ndim == 2][-1:]
    unknown = {name: ~sent[name].any(0) & np.ones(v.shape, bool) for name, v in sent.items() if name in last}
    low = {name: np.where(unknown[name], -np.inf, v) if name in last else v for name, v in sent.items()}
    return low, {name: np.where(unknown[name], np.inf, v) if name in last else v for name, v in sent.items()}


@defence(where="training", bounds=before)
def soteria(*, seed: int, share: float = 0.6) -> LocalRule:
    """Set to 0 the last layer's gradient by that `share` of the features from which a record is best reconstructed.

    Sun et al. 2021 (arXiv 2012.06043) choose the features r with the smallest |dr/dx| / |r|, summed over a batch, as
    their code does. A heuristic: every other layer's gradient leaves unchanged, and whoever knows the rule compares
    with those alone. Raises `UsageError` for records that are no numbers, and for a network that does not end in a
    fully connected layer.
    """

    def rule(inner: Gradient, rng: np.random.Generator) -> Gradient:
        def cut(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            name = _last(model, x)
            gone = _telling(model, name, x, share)
            return {k: torch.where(gone, 0.0, g) if k == f"{name}.weight" else g for k, g in inner(model, x, y).items()}

        return cut

    return rule


def _last(model: nn.Module, x: Tensor) -> str:
    weighted = [n for n, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None]
    if not x.is_floating_point() or not isinstance(model.get_submodule(weighted[-1]), nn.Linear):
        raise UsageError(
            "TB-DEFENCE-011",
            "Soteria does not work on this model.",
            "It needs records of numbers, and a fully connected last layer whose features it can cut out.",
            "Use another defence, such as topk or head_only, or a model that ends in a linear layer.",
        )
    return weighted[-1]


def _telling(model: nn.Module, last: str, x: Tensor, share: float) -> Tensor:
    """A mask (features,) of the features from which a record is best reconstructed."""
    seen: list[Tensor] = []
    hook = model.get_submodule(last).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    records = x.detach().clone().requires_grad_()
    try:
        model(records)
    finally:
        hook.remove()
    features = seen[0].flatten(1)
    total = features.sum(0)  # a record's features depend on this record alone
    (each,) = torch.autograd.grad(total, records, torch.eye(len(total)), is_grads_batched=True)
    moved = (each.flatten(2).norm(dim=2).T / features.detach().abs().clamp_min(1e-10)).sum(0)
    gone = torch.zeros(len(moved), dtype=torch.bool)
    gone[torch.argsort(moved, stable=True)[: round(share * len(moved))]] = True
    return gone
