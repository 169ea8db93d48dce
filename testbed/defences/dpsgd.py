"""DP-SGD in each client's local training."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.core.defence import Exposure, Guarantee
from testbed.core.errors import UsageError
from testbed.defences.accounting import DELTA, check, gaussian_distance, told
from testbed.defences.registry import defence
from testbed.subjects.federation.local import Gradient, LocalRule, gradient


def proven(exposure: Exposure, *, epsilon: float, clip: float = 1.0, delta: float = DELTA) -> Guarantee:
    """`epsilon`, as the noise is chosen for it: a record enters at most `uses` batches over all rounds.

    Raises `UsageError` for a delta that says nothing.
    """
    check(delta)
    method = f"Gaussian mechanism, uses of a record: {exposure.uses}, rounds: {exposure.rounds}, {told(delta)}"
    return Guarantee(epsilon, delta, "record", method)


def multiplier(epsilon: float, delta: float, uses: int) -> float:
    """The noise, in units of `clip`, under which `uses` batches of one record are (epsilon, delta) private.

    A replaced record changes the sum of clipped gradients by at most 2 `clip`, in each batch that it enters. The order
    of the batches does not depend on the records, so these are `uses` Gaussian mechanisms.
    """
    return 2 * math.sqrt(uses) / gaussian_distance(epsilon, delta)


@defence(where="training", guarantee=proven)
def dpsgd(*, seed: int, exposure: Exposure, epsilon: float, clip: float = 1.0, delta: float = DELTA) -> LocalRule:
    """Clip each record's gradient to an L2 norm of `clip`, sum them, and add Gaussian noise, in every local step.

    Abadi et al. 2016 (arXiv 1607.00133). The noise is chosen for `epsilon` over all rounds, for one replaced record,
    against everybody who sees the client's updates. Batches are dealt and not drawn (Poisson), so sampling saves no
    epsilon. Raises `UsageError` for a network with batch normalisation, which mixes the records of a batch.
    """
    noise = multiplier(epsilon, delta, exposure.uses)

    def rule(inner: Gradient, rng: np.random.Generator) -> Gradient:
        def private(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            _check(model)
            each = _each(inner, model, x, y)
            lengths = torch.stack([g.double().flatten(1).square().sum(1) for g in each.values()]).sum(0).sqrt()
            scale = (clip / lengths.clamp_min(1e-12)).clamp_max(1.0).float()
            total = {k: torch.tensordot(scale, g, 1) for k, g in each.items()}
            drawn = {k: torch.from_numpy(rng.normal(0.0, noise * clip, tuple(t.shape))) for k, t in total.items()}
            return {k: ((t + drawn[k]) / len(x)).float() for k, t in total.items()}

        return private

    return rule


def _each(inner: Gradient, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The gradient of each record (n, ...) by parameter, all at once if nothing else changes the gradient."""
    if inner is not gradient:
        alone = [inner(model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
        return {k: torch.stack([one[k] for one in alone]) for k in alone[0]}

    def loss(parameters: dict[str, Tensor], record: Tensor, label: Tensor) -> Tensor:
        return models.loss_of(model, parameters, record[None], label[None])

    fixed = {k: p.detach() for k, p in model.named_parameters()}
    return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(fixed, x, y)  # type: ignore[no-any-return]


def _check(model: nn.Module) -> None:
    if any(isinstance(m, nn.modules.batchnorm._NormBase) for m in model.modules()):  # pyright: ignore[reportPrivateUsage]
        raise UsageError(
            "TB-DEFENCE-009",
            "DP-SGD does not go together with batch normalisation.",
            "It makes one record's gradient depend on all records of the batch, so a bound per record means nothing.",
            "Use a model without batch normalisation, or a defence of whole updates, such as gaussian.",
        )
