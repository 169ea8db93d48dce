"""Gradient matching: find records whose gradient points where the client's did."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from testbed.attacks.inversion.matching import Task, descend, tasks, total_variation
from testbed.attacks.kit import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript


@attack(
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "batch_size"},
    position="server",
    reference="https://arxiv.org/abs/2003.14053",
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

    Threat model: a curious server that knows the architecture and the batch size. Labels are used where the threat
    grants them, else their counts are recovered from the last bias gradient. Of several restarts the one with the
    smallest objective is returned; no other criterion could be known to an attacker. No exactness is claimed.
    """
    rebuilt: dict[tuple[int, int], Array] = {}
    labels: dict[tuple[int, int], Array] = {}
    smooth = tv if len(question.shape) == 3 else 0.0
    for task in tasks(view, question, auxiliary, rng):
        shape = (task.size, *question.shape)
        starts = [task.rng.uniform(question.low, question.high, shape) for _ in range(restarts)]
        objective = _matching(task, smooth)
        runs = [
            descend(objective, torch.tensor(s, dtype=torch.float32), question, iterations, learning_rate)
            for s in starts
        ]
        rebuilt[task.key] = min(runs, key=lambda r: r[1])[0].numpy()
        labels[task.key] = task.y.numpy()
    return Reconstruction(rebuilt, labels)


def _matching(task: Task, tv: float) -> Callable[[Tensor], Tensor]:
    def objective(x: Tensor) -> Tensor:
        value = task.distance(x)
        return value + tv * total_variation(x) if tv else value

    return objective
