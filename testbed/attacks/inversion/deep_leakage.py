"""Gradient matching by a second-order method, which works only on small smooth networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from testbed import models
from testbed.attacks.inversion.gradient_matching import Task, tasks
from testbed.attacks.own_gradient import gradient
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-006",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "batch_size"},
    position="server",
    reference="https://arxiv.org/abs/1906.08935",
    uses={"auxiliary", "defence"},
    quick={"iterations": 40, "restarts": 1},
)
def deep_leakage(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 300,
    restarts: int = 2,
) -> Reconstruction:
    """Minimise the squared distance between gradients by L-BFGS with a line search (DLG; Zhu et al. 2019).

    Threat model: a curious server that knows the architecture and the batch size. In contrast to DLG, labels are not
    searched together with the records: their counts are computed before (after Zhao et al. 2020, iDLG). The restart
    with the smallest distance is returned. The squared distance needs second derivatives that are not zero, so the
    attack fails on ReLU networks. If the attacker knows the defences, a gradient is scaled and compared only with what
    they leave possible (`Possible`). The result is not exact.
    """
    rebuilt: dict[tuple[int, int], Array] = {}
    labels: dict[tuple[int, int], Array] = {}
    for task in tasks(view, question, auxiliary, rng):
        shape = (task.size, *question.shape)
        runs: list[tuple[Tensor, float]] = []
        for _ in range(restarts):
            drawn = task.rng.uniform(question.low, question.high, shape)
            runs.append(_searched(task, torch.tensor(drawn, dtype=torch.float32), iterations))
        found = min(runs, key=lambda r: r[1])[0]
        rebuilt[task.key] = found.clamp(question.low, question.high).numpy()
        labels[task.key] = task.y.cpu().numpy()
    return Reconstruction(rebuilt, labels)


def _searched(task: Task, start: Tensor, iterations: int) -> tuple[Tensor, float]:
    """The end of the search, and the squared distance there; infinite if the search diverged."""
    x = start.to(models.DEVICE).requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=iterations, history_size=50, line_search_fn="strong_wolfe")

    # A known defence may have made the gradient very short; the search must not stop for that.
    length = 1.0 if task.possible is None else float(sum(t.square().sum() for t in task.target))

    def distance() -> Tensor:
        optimizer.zero_grad()
        loss = models.loss_of(task.model, task.parameters, x, task.y)
        own = gradient(loss, list(task.parameters.values()), create_graph=True)
        value = (
            torch.stack([((a - b) ** 2).sum() for a, b in zip(task.compared(own), task.target, strict=True)]).sum()
            / length
        )
        (x.grad,) = torch.autograd.grad(value, [x])
        return value.detach()

    optimizer.step(distance)
    ended = float(distance())
    return (x.detach().cpu(), ended) if np.isfinite(ended) and bool(x.isfinite().all()) else (start, float("inf"))
