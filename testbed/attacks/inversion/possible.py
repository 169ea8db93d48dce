"""Gradient matching within the bounds that a known defence leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from testbed import models
from testbed.attacks.inversion.updates import bounds
from testbed.core import Array, Batch, Exchange, Protocol

BETWEEN = 0.4
"""Weight of a number whose value lies between two known ends: it is more often near what was sent than near an end."""
FEWEST = 10
"""Fewest numbers known exactly; below, all numbers as they were sent are a better guess than bounds alone."""


@dataclass(frozen=True, slots=True)
class Possible:
    """Between which ends each number of a gradient lay before the clients' defences, up to a factor that all share."""

    low: list[Tensor]
    high: list[Tensor]

    def compared(self, own: Sequence[Tensor], target: Sequence[Tensor]) -> list[Tensor]:
        """What an attacker who knows the defence compares with the target instead of its `own` gradient.

        `own` is first scaled to the target, by the lengths of the numbers that are known exactly. A number that is not
        possible differs from the target by its distance to the possible ones (censored regression; Tobin 1958, as in
        `analytic_linear.consistent`). One that is possible differs by `BETWEEN` of its own difference if it has two
        ends, and not at all if it has one end or none. If hardly any number is known exactly, all that have an end
        count as they are. Li et al. 2022 (arXiv 2203.15696) apply the defence to the own gradient instead.
        """
        exact = [(lo == hi) & (t != 0) for lo, hi, t in zip(self.low, self.high, target, strict=True)]
        few = sum(int(e.sum()) for e in exact) < FEWEST
        if few:
            exact = [lo.isfinite() | hi.isfinite() for lo, hi in zip(self.low, self.high, strict=True)]
        ours, theirs = (
            torch.stack([torch.where(e, g, 0.0).square().sum() for e, g in zip(exact, of, strict=True)]).sum()
            for of in (own, target)
        )
        factor = (theirs / ours.clamp_min(1e-24)).sqrt()
        found: list[Tensor] = []
        for number, sent, low, high in zip(own, target, self.low, self.high, strict=True):
            scaled = factor * number
            nearest = scaled.clamp(low, high)
            ends = low.isfinite().float() + high.isfinite().float()
            weight = (ends > 0).float() if few else BETWEEN * (ends == 2)
            found.append(sent + scaled - nearest + weight * (nearest - sent))
        return found


def possible(
    exchange: Exchange, protocol: Protocol, question: Batch, gradient: dict[str, Array], names: Sequence[str]
) -> Possible | None:
    """The possible values of these parameters' gradients; None if the defences are not known or say nothing."""
    known = bounds(exchange, protocol, question, gradient)
    if known is None:
        return None
    low, high = ([torch.from_numpy(part[k].astype(np.float32)).to(models.DEVICE) for k in names] for part in known)
    return Possible(low, high)
