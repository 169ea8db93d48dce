"""Membership from a record's losses while a student network learns from the model."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import nn

from testbed.attacks.model.predictions import SMALLEST, asked
from testbed.attacks.model.shadow_models import MOST_ROWS
from testbed.attacks.model.shadows import NEEDS, Shadows
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Predictor, Recipe, Records, Scores, Unavailable
from testbed.core.threads import one_thread, torch_on_one_thread

FEWEST_OTHERS = 50
BATCH = 32


@attack(
    subject="model",
    rule="TB-MEMBERSHIP-315",
    risk="membership",
    claim=Scores,
    needs=NEEDS | {"auxiliary", "queries"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2208.14933",
    classes_only=True,
)
def loss_trajectory(
    view: Predictor,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 16,
    students: int = 4,
    snapshots: int = 8,
    hidden: int = 64,
) -> Scores:
    """Score a record by a classifier of its losses during the model's distillation (TrajectoryMIA; Liu 2022).

    Threat model: as `lira`, with records of other people. A student network learns the model's answers for these other
    people. Each record has a loss under the student at each of `snapshots`, and a last one under the model itself. The
    same is done for `students` shadow models, from which a classifier learns to recognise members by their losses. All
    students start from the same weights and use the same batches. Raises `Unavailable` without a recipe or with fewer
    than 50 other people.
    """
    if auxiliary is None or len(auxiliary) < FEWEST_OTHERS:
        raise Unavailable("no_reference", f"{FEWEST_OTHERS} records of other people or more (--reference)")
    made = Shadows.trained(view, question, auxiliary, rng, recipe, shadows)
    assert isinstance(question.people, Cohort)
    targets = question.people.take(made.order)
    seed = int(rng.integers(2**31))
    taught = [
        _features(model, answers, targets, auxiliary, seed, snapshots, hidden)
        for model, answers in zip((view, *made.models[:students]), made.answers, strict=False)
    ]
    seen, member = np.concatenate(taught[1:]), made.included[:students].ravel()
    rows = np.random.default_rng(seed).permutation(len(seen))[:MOST_ROWS]
    learner = HistGradientBoostingClassifier(max_leaf_nodes=8, learning_rate=0.05, random_state=0)
    with one_thread():
        learner.set_params(early_stopping=False).fit(seen[rows], member[rows])
        return made.as_asked(learner.decision_function(taught[0]))


def _features(
    model: Predictor, answers: Array, targets: Cohort, others: Cohort, seed: int, snapshots: int, hidden: int
) -> Array:
    """The losses (n, snapshots + 1) of the records asked about: under the student, then under the model itself."""
    known = others.x.reshape(len(others), -1).astype(np.float32)
    centre, spread = known.mean(0), np.where(known.std(0) > 0, known.std(0), 1)
    _, soft = asked(model, Records(others))
    x = torch.tensor((known - centre) / spread)
    wanted = torch.tensor(soft, dtype=torch.float32)
    wanted = wanted / wanted.sum(1, keepdim=True)
    doubt = torch.tensor((targets.x.reshape(len(targets), -1) - centre) / spread, dtype=torch.float32)
    y = torch.tensor(targets.y)
    losses: list[Array] = []
    with torch_on_one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, wanted.shape[1]))
        optimizer = torch.optim.Adam(student.parameters(), 3e-3)
        for _ in range(snapshots):
            for rows in torch.randperm(len(x)).split(BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(student(x[rows]), wanted[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                losses.append(nn.functional.cross_entropy(student(doubt), y, reduction="none").double().numpy())
    own = -np.log(np.maximum(answers[np.arange(len(targets)), targets.y], SMALLEST))
    return np.column_stack([*losses, own])
