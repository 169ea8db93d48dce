"""Gradient matching with two further hints: the statistics of normalising layers, and agreement of several searches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from testbed import models
from testbed.attacks.inversion.gradient_matching import Task, descend, tasks, total_variations
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Cohort, Reconstruction, Transcript, Unavailable

SEEN = 512
ALIGNED_EVERY = 25
NORMALISING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-007",
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "batch_size", "auxiliary"},
    position="server",
    reference="https://arxiv.org/abs/2104.07586",
    uses={"defence"},
    quick={"iterations": 30, "seeds": 2},
)
def see_through(
    view: Transcript,
    question: Batch,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    iterations: int = 300,
    learning_rate: float = 0.1,
    tv: float = 0.02,
    statistics: float = 0.03,
    group: float = 0.01,
    seeds: int = 4,
) -> Reconstruction:
    """Match gradients by several searches that stay near their mean and near layers' statistics (Yin et al. 2021).

    Threat model: as `cosine_tv`, with records of other people. The mean and variance of each normalising layer's inputs
    are kept near those of the auxiliary records; the authors use the running statistics of a batch normalisation, which
    are not among the parameters here. After a normalisation, the gradient does not depend on brightness and contrast,
    so only this hint determines them; a network without normalisation has no such hint. After half of the iterations,
    the records of all searches are matched to those of the first (least squared distance) and drawn towards their mean.
    The search that matches the gradient best is returned. Known defences are met as in `cosine_tv`. The result is not
    exact.
    """
    if auxiliary is None or not len(auxiliary):
        raise Unavailable("no_auxiliary", "records of other people")
    rebuilt: dict[tuple[int, int], Array] = {}
    labels: dict[tuple[int, int], Array] = {}
    smooth = tv if len(question.shape) == 3 else 0.0
    seen = torch.tensor(auxiliary.x[:SEEN], dtype=torch.float32, device=models.DEVICE)
    for task in tasks(view, question, auxiliary, rng):
        drawn = task.rng.uniform(question.low, question.high, (seeds, task.size, *question.shape))
        with torch.no_grad():
            known = [t.detach() for t in _moments(task, seen)]
        objective = _objective(task, known, smooth, statistics, group, iterations)
        found, _ = descend(objective, torch.tensor(drawn, dtype=torch.float32), question, iterations, learning_rate)
        ended = torch.stack([task.distance(x.to(models.DEVICE)).detach() for x in found])
        rebuilt[task.key] = found[int(ended.argmin())].numpy()
        labels[task.key] = task.y.cpu().numpy()
    return Reconstruction(rebuilt, labels)


def _objective(
    task: Task, known: list[Tensor], tv: float, statistics: float, group: float, iterations: int
) -> Callable[[Tensor], Tensor]:
    """An objective with one value for each search (seeds, size, ...); the mean of the searches is updated at times."""
    asked = 0
    centre: Tensor | None = None

    def objective(x: Tensor) -> Tensor:
        nonlocal asked, centre
        value = task.distances(x)
        if tv:
            value = value + tv * total_variations(x)
        if statistics and known:
            value = value + statistics * torch.stack([_apart(_moments(task, one), known) for one in x])
        if group and asked >= iterations // 2 and len(x) > 1:
            if centre is None or asked % ALIGNED_EVERY == 0:
                centre = _aligned(x.detach(), task.y)
            value = value + group * (x - centre).pow(2).flatten(1).mean(1)
        asked += 1
        return value

    return objective


def _aligned(x: Tensor, y: Tensor) -> Tensor:
    """The mean over searches, for each search in the order of its own records (seeds, size, ...)."""
    flat = x.flatten(2).cpu().double().numpy()
    other = (y[:, None] != y[None, :]).cpu().numpy() * 1e12  # only records of the same class are matched
    order = np.stack([linear_sum_assignment(((flat[0][:, None] - one[None]) ** 2).sum(2) + other)[1] for one in flat])
    mean = torch.stack([one[torch.as_tensor(o, device=x.device)] for one, o in zip(x, order, strict=True)]).mean(0)
    back = [torch.as_tensor(np.argsort(o), device=x.device) for o in order]
    return torch.stack([mean[b] for b in back])


def _moments(task: Task, x: Tensor) -> list[Tensor]:
    """Mean and variance, over records and positions, of every input channel of the normalising layers."""
    seen: list[Tensor] = []

    def look(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0].transpose(0, 1).flatten(1))

    hooks = [m.register_forward_pre_hook(look) for m in task.model.modules() if isinstance(m, NORMALISING)]
    try:
        torch.func.functional_call(task.model, task.parameters, (x,))
    finally:
        for hook in hooks:
            hook.remove()
    return [moment for held in seen for moment in (held.mean(1), held.var(1, unbiased=False))]


def _apart(own: list[Tensor], known: list[Tensor]) -> Tensor:
    """The relative distance of two sets of statistics, averaged over layers."""
    return torch.stack([(a - b).norm() / b.norm().clamp_min(1e-6) for a, b in zip(own, known, strict=True)]).mean()
