"""Networks that the testbed trains itself for release, under defences of their training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from testbed import models
from testbed.core import Act, Array, Cohort, ModelSpec, Predictor
from testbed.core.defence import Defence, Exposure, Fit
from testbed.subjects.federation.local import Rule, one_thread, ruled


@dataclass(frozen=True, slots=True)
class Schedule:
    """Plain training by gradient descent with momentum: epochs, records in a batch, and the step."""

    epochs: int = 30
    batch: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9

    def exposure(self, people: int) -> Exposure:
        """How often a record is used: once an epoch. The recipient sees the last model."""
        steps = self.epochs * math.ceil(people / self.batch)
        return Exposure(rounds=steps, uses=self.epochs, clients=1, position="recipient")


def training(spec: ModelSpec, schedule: Schedule, defences: Sequence[Defence]) -> Fit:
    """A training of this network under the defences that change each of its steps."""

    def fit(people: Cohort, rng: np.random.Generator, soft: Array | None = None) -> Predictor:
        rules = [
            Rule(d.name, number, d.build(number, schedule.exposure(len(people))))
            for d in defences
            for number in [d.drawn(int(rng.integers(2**62)))]
        ]
        compute = ruled(rules, 0, 0)
        model = models.build(spec, int(rng.integers(2**31)))
        optimizer = torch.optim.SGD(model.parameters(), lr=schedule.learning_rate, momentum=schedule.momentum)
        x = torch.tensor(people.x)
        y = torch.tensor(people.y) if soft is None else torch.tensor(soft.astype(np.float32))
        with one_thread():
            for _ in range(schedule.epochs):
                order = rng.permutation(len(people))
                for start in range(0, len(people), schedule.batch):
                    rows = torch.from_numpy(order[start : start + schedule.batch])
                    found = compute(model, x[rows], y[rows])
                    for name, p in model.named_parameters():
                        p.grad = found[name] if p.requires_grad else None
                    optimizer.step()
        return answering(model, models.input_of(spec)[1])

    return fit


def answering(model: torch.nn.Module, classes: int) -> Predictor:
    """The network as a predictor of class probabilities."""

    def ask(people: Cohort) -> Array:
        with one_thread(), torch.no_grad():
            return torch.softmax(model(torch.tensor(people.x)).double(), 1).numpy()

    return Predictor(ask, classes)


@dataclass(frozen=True, slots=True)
class Trains:
    """A training as a recipe for attackers who train models of this kind."""

    fit: Fit

    def __call__(self, people: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
        return self.fit(people, rng)
