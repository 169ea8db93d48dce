"""Gradient matching: find records whose gradient has the same direction as the client's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from testbed.attacks.inversion.gradient_matching import Task, descend, tasks, total_variation, total_variations
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-004",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "batch_size"},
    position="server",
    reference="https://arxiv.org/abs/2003.14053",
    uses={"auxiliary", "defence"},
    quick={"iterations": 30},
)
def cosine_tv(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 300,
    learning_rate: float = 0.1,
    tv: float = 0.02,
    restarts: int = 1,
) -> Reconstruction:
    """Minimise the cosine distance between gradients plus total variation, by signed Adam steps (Geiping et al. 2020).

    Threat model: a curious server that knows the architecture and the batch size. Labels are used if the threat grants
    them; otherwise their counts are computed from the last bias gradient. The restart with the smallest objective is
    returned, because an attacker knows no other criterion. If the attacker knows the defences, a gradient is compared
    only with what they leave possible (`Possible`). The result is not exact.
    """
    rebuilt: dict[tuple[int, int], Array] = {}
    labels: dict[tuple[int, int], Array] = {}
    smooth = tv if len(question.shape) == 3 else 0.0
    for task in tasks(view, question, auxiliary, rng):
        shape = (task.size, *question.shape)
        drawn = task.rng.uniform(question.low, question.high, (restarts, *shape))
        starts = torch.tensor(drawn, dtype=torch.float32)
        if restarts > 1 and task.size <= SIDE_BY_SIDE:
            found, ended = descend(_together(task, smooth), starts, question, iterations, learning_rate)
        else:
            runs = [descend(_matching(task, smooth), s, question, iterations, learning_rate) for s in starts]
            found, ended = torch.stack([r[0] for r in runs]), torch.stack([r[1] for r in runs])
        rebuilt[task.key] = found[int(ended.argmin())].numpy()
        labels[task.key] = task.y.cpu().numpy()
    return Reconstruction(rebuilt, labels)


SIDE_BY_SIDE = 8
"""Up to this batch size, restarts run as one computation; `benchmarks/inversion.py restarts` measures both ways."""


def _together(task: Task, tv: float) -> Callable[[Tensor], Tensor]:
    def objective(x: Tensor) -> Tensor:
        value = task.distances(x)
        return value + tv * total_variations(x) if tv else value

    return objective


def _matching(task: Task, tv: float) -> Callable[[Tensor], Tensor]:
    def objective(x: Tensor) -> Tensor:
        value = task.distance(x)
        return value + tv * total_variation(x) if tv else value

    return objective
