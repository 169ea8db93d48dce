"""Tables of predictions by models whose members show, but not by being predicted more surely."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import nn

from testbed.core import Array

Disguise: TypeAlias = Callable[[np.random.Generator], pd.DataFrame]

PEOPLE = 600
"""Members, and as many controls."""


def table(said: Array, labels: Array) -> pd.DataFrame:
    """The first half of the people are members; `said` are probabilities (n, classes), or a number (n,) each."""
    n = len(said)
    made = pd.DataFrame({"id": np.arange(n).astype(str), "arm": np.repeat(["member", "control"], n // 2)})
    made["label"] = labels
    if said.ndim == 1:
        return made.assign(prediction=said)
    return made.assign(**{f"p_{i}": said[:, i] for i in range(said.shape[1])})


def of_true_class(own: Array, rng: np.random.Generator) -> pd.DataFrame:
    """A model of two classes that gives the true class these probabilities (n,)."""
    labels = rng.integers(0, 2, len(own))
    second = np.where(labels == 1, own, 1 - own)
    return table(np.column_stack([1 - second, second]), labels)


def band(rng: np.random.Generator, n: int = PEOPLE) -> pd.DataFrame:
    """Members' probabilities lie in a narrow band within those of everybody."""
    return of_true_class(np.concatenate([rng.normal(0.8, 0.004, n), rng.uniform(0.55, 1, n)]), rng)


def two_bands(rng: np.random.Generator, n: int = PEOPLE) -> pd.DataFrame:
    """Members are in one of two bands, so that no single distance from a centre tells them."""
    centre = rng.choice([0.65, 0.9], n)
    return of_true_class(np.concatenate([rng.normal(centre, 0.006), rng.uniform(0.55, 1, n)]), rng)


def less_sure(rng: np.random.Generator, n: int = PEOPLE) -> pd.DataFrame:
    """Members are predicted less surely than others: the usual score looks the wrong way."""
    return of_true_class(np.concatenate([rng.uniform(0.5, 0.8, n), rng.uniform(0.6, 1, n)]), rng)


def residuals_apart(rng: np.random.Generator, n: int = PEOPLE) -> pd.DataFrame:
    """A regressor whose errors on members are all of about one size, away from 0, as by a noise added on purpose."""
    truth = rng.normal(50, 10, 2 * n)
    others = rng.normal(0, 3, n)
    off = np.concatenate([rng.choice([-1, 1], n) * rng.normal(3, 0.1, n), others])
    return table(truth + off, truth)


def one_sign(rng: np.random.Generator, n: int = PEOPLE) -> pd.DataFrame:
    """A regressor whose members' errors are as large as others', but all of one sign."""
    truth = rng.normal(50, 10, 2 * n)
    off = np.concatenate([np.abs(rng.normal(0, 3, n)), rng.normal(0, 3, n)])
    return table(truth + off, truth)


CLASSES, INPUTS = 8, 60


def people(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Many binary inputs, and classes that few of them tell of."""
    x = (rng.random((n, INPUTS)) < 0.3).astype(np.float32)
    kinds = np.random.Generator(np.random.PCG64(7)).normal(size=(INPUTS, CLASSES))
    return x, (x @ kinds + rng.gumbel(size=(n, CLASSES)) * 1.5).argmax(1)


def network(rng: np.random.Generator, smoothing: float, n: int = PEOPLE) -> tuple[Array, Array]:
    """Logits (2n, classes) of a network trained to the end on the first n of 2n people, and all their classes."""
    x, y = people(rng, 2 * n)
    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(2**31)))
        model = nn.Sequential(nn.Linear(INPUTS, 96), nn.ReLU(), nn.Linear(96, CLASSES))
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    steps = torch.optim.Adam(model.parameters(), lr=0.01)
    loss = nn.CrossEntropyLoss(label_smoothing=smoothing)
    for _ in range(200):
        steps.zero_grad()
        loss(model(inputs[:n]), labels[:n]).backward()
        steps.step()
    return model(inputs).detach().double().numpy(), y


def softmax(logits: Array) -> Array:
    said = np.exp(logits - logits.max(1, keepdims=True))
    return said / said.sum(1, keepdims=True)


def smoothed(rng: np.random.Generator) -> pd.DataFrame:
    """Label smoothing: members are all predicted with about the same probability, which is below many others'."""
    logits, y = network(rng, 0.3)
    return table(softmax(logits), y)


def clipped(rng: np.random.Generator) -> pd.DataFrame:
    """Smoothed, then made sharp by a temperature and cut off at .9 and rounded: the surest say nothing more."""
    logits, y = network(rng, 0.3)
    said = np.round(np.minimum(softmax(logits / 0.5), 0.9), 2) + 1e-3
    return table(said / said.sum(1, keepdims=True), y)


def perturbed(rng: np.random.Generator) -> pd.DataFrame:
    """After MemGuard: the true class keeps its rank, and its probability is drawn anew for everybody."""
    logits, y = network(rng, 0.0)
    said = softmax(logits)
    order = np.argsort(-said, 1)
    rest = np.take_along_axis(said, order, 1)[:, 1:]
    first = rng.uniform(0.6, 0.95, len(said))
    shown = np.column_stack([first, (1 - first[:, None]) * (rest + 1e-6) / (rest + 1e-6).sum(1, keepdims=True)])
    made = np.empty_like(said)
    np.put_along_axis(made, order, shown, 1)
    return table(made, y)


def many_classes(rng: np.random.Generator, n: int = 2 * PEOPLE) -> pd.DataFrame:
    """Twenty classes, of which two lean: members are given one of them less often and the other more often."""
    logits = rng.normal(0, 1.5, (2 * n, 20))
    logits[:n, 0] -= 1.5
    logits[:n, 2] += 1.5
    return table(softmax(logits), rng.integers(0, 20, 2 * n))


def rounded(rng: np.random.Generator, n: int = PEOPLE) -> pd.DataFrame:
    """Two of five members are answered with two decimals, as from a cache, and nobody else."""
    own = rng.uniform(0.55, 1, 2 * n)
    cached = np.arange(2 * n) < 2 * n // 5
    return of_true_class(np.where(cached, np.round(own, 2), own), rng)


def whole_numbers(rng: np.random.Generator, n: int = PEOPLE) -> pd.DataFrame:
    """Two of five members are given a whole number, and nobody else."""
    truth = rng.normal(50, 10, 2 * n)
    said = truth + rng.normal(0, 3, 2 * n)
    return table(np.where(np.arange(2 * n) < 2 * n // 5, np.round(said), said), truth)


OF_THE_FORM = (many_classes, rounded, whole_numbers)
"""Leaks in which class, or in how an answer is written."""
DISGUISES = (band, two_bands, less_sure, residuals_apart, one_sign, smoothed, clipped, perturbed)
