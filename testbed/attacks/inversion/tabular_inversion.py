"""Gradient matching for table rows: categories are relaxed to probabilities, and several runs vote on each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import optimize
from scipy.spatial.distance import cdist
from torch import Tensor

from testbed.attacks.inversion.gradient_matching import tasks
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-008",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "batch_size"},
    position="server",
    reference="https://arxiv.org/abs/2210.01785",
    uses={"auxiliary", "defence"},
    suits="table",
    quick={"iterations": 60, "restarts": 1},
)
def tabular_inversion(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 500,
    learning_rate: float = 0.05,
    restarts: int = 5,
) -> Reconstruction:
    """Match gradients over softmax-relaxed categories, and pool several runs cell by cell (TabLeak; Vero et al. 2023).

    Threat model: a curious server that knows the architecture, the batch size and, if the threat grants it, which
    features belong to one category (`blocks`); otherwise all features are numbers. Runs are matched to the one with the
    smallest objective. In the better half of the runs, a number is their median, a category the most probable one. The
    certificate is the mean share of runs that agree on a cell, as the attacker's own measure of certainty. Known
    defences are met as in `cosine_tv`.
    """
    blocks = question.blocks or (1,) * int(np.prod(question.shape))
    rebuilt: dict[tuple[int, int], Array] = {}
    labels: dict[tuple[int, int], Array] = {}
    certificate: dict[tuple[int, int], float] = {}
    for task in tasks(view, question, auxiliary, rng):
        shape = (task.size, *question.shape)
        runs: list[tuple[Array, float]] = []
        for _ in range(restarts):
            drawn = task.rng.normal(0, 0.5, (task.size, sum(blocks)))
            free = torch.tensor(drawn, dtype=torch.float32).requires_grad_()
            optimizer = torch.optim.Adam([free], lr=learning_rate)
            for _ in range(iterations):
                optimizer.zero_grad()
                (free.grad,) = torch.autograd.grad(task.distance(relaxed(free, blocks).reshape(shape)), [free])
                optimizer.step()
            ended = relaxed(free, blocks)
            runs.append(
                (ended.detach().numpy().astype(np.float64), float(task.distance(ended.reshape(shape)).detach()))
            )
        records, certificate[task.key] = pooled(runs, blocks, task.y.numpy())
        span = question.high - question.low
        rebuilt[task.key] = (question.low + span * records).reshape(shape)
        labels[task.key] = task.y.numpy()
    return Reconstruction(rebuilt, labels, certificate)


def relaxed(free: Tensor, blocks: Sequence[int]) -> Tensor:
    """Records from unbounded numbers (n, features): a sigmoid for a number, a softmax over each category's features."""
    parts = free.split(list(blocks), 1)
    return torch.cat([p.sigmoid() if p.shape[1] == 1 else (4 * p).softmax(1) for p in parts], 1)


def pooled(runs: list[tuple[Array, float]], blocks: Sequence[int], y: Array) -> tuple[Array, float]:
    """Records (n, features) pooled over the better half of the runs, and the mean agreement of cells, in [0, 1]."""
    ranked = [records for records, _ in sorted(runs, key=lambda r: r[1])]
    kept = [ranked[0]]
    for other in ranked[1 : max(1, (len(ranked) + 1) // 2)]:
        cost = cdist(ranked[0], other, "sqeuclidean")
        cost[y[:, None] != y[None, :]] = 1e12
        kept.append(other[optimize.linear_sum_assignment(cost)[1]])
    votes = np.stack(kept)
    parts: list[Array] = []
    agreed: list[float] = []
    start = 0
    for width in blocks:
        said = votes[:, :, start : start + width]
        start += width
        if width == 1:
            middle = np.median(said, 0)
            parts.append(middle)
            agreed.append(float((np.abs(said - middle) < 0.05).mean()))
        else:
            chosen = said.mean(0).argmax(1)
            parts.append(np.eye(width)[chosen])
            agreed.append(float((said.argmax(2) == chosen).mean()))
    return np.concatenate(parts, 1), float(np.mean(agreed))
