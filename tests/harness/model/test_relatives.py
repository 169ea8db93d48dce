"""Networks whose answers hide that members are surer: smoothed, distilled, calibrated, rounded and masked ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from testbed.core import Array
from testbed.core.randomness import keyed_rng
from testbed.harness.model.audit import audit_model
from testbed.subjects.predictors import load

N, INPUTS, CLASSES = 600, 100, 10


@cache
def people() -> tuple[Tensor, Array]:
    """Members, then controls, then as many others: each kind of people buys its own things, with much noise."""
    rng = keyed_rng(0, "relatives")
    kinds = rng.random((CLASSES, INPUTS)) < 0.3
    y = rng.integers(0, CLASSES, 3 * N)
    x = np.where(rng.random((3 * N, INPUTS)) < 0.7, rng.random((3 * N, INPUTS)) < 0.3, kinds[y])
    return torch.tensor(x, dtype=torch.float32), y


def logits(wanted: Tensor, smoothing: float = 0.0, steps: int = 120) -> Tensor:
    """The logits (3 N, classes) of a network trained on the members; `wanted` are their classes or probabilities."""
    x, _ = people()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(INPUTS, 64), nn.Tanh(), nn.Linear(64, CLASSES))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[:N]), wanted, label_smoothing=smoothing).backward()
        optimizer.step()
    with torch.no_grad():
        return network(x)


def members() -> Tensor:
    return torch.tensor(people()[1][:N])


def plain() -> Array:
    return logits(members()).softmax(1).double().numpy()


def smoothed() -> Array:
    return logits(members(), smoothing=0.3).softmax(1).double().numpy()


def distilled() -> Array:
    """A student that learns the softened answers of a teacher about the teacher's own members."""
    return logits((logits(members())[:N] / 4).softmax(1)).softmax(1).double().numpy()


def calibrated() -> Array:
    """The temperature with which other people's classes are most likely."""
    found, others = logits(members()), torch.tensor(people()[1][2 * N :])
    losses = {t: float(nn.functional.cross_entropy(found[2 * N :] / t, others)) for t in (1, 2, 3, 4, 6, 8, 12)}
    return (found / min(losses, key=lambda t: losses[t])).softmax(1).double().numpy()


def rounded() -> Array:
    return plain().round(2)


def masked() -> Array:
    """Each record's probabilities are replaced by those of somebody else, in its own order of classes.

    As MemGuard wants it, no classifier of sorted probabilities sees a member, and the predicted class stays.
    """
    answers = plain()
    profile = np.sort(answers[2 * N :])[keyed_rng(1, "masks").integers(0, N, len(answers))]
    made = np.empty_like(answers)
    np.put_along_axis(made, np.argsort(answers, axis=1), profile, axis=1)
    return made


def pushed() -> Array:
    """The cheaper mask: whoever is surer than other people are on average is given their mean confidence, and noise."""
    answers = plain()
    usual = answers[2 * N :].max(1).mean()
    top = np.minimum(answers.max(1), usual) + keyed_rng(2, "masks").normal(0, 0.005, len(answers))
    rest = np.where(np.arange(CLASSES) == answers.argmax(1)[:, None], 0.0, answers) + 1e-9
    made = rest / rest.sum(1, keepdims=True) * (1 - top)[:, None]
    made[np.arange(len(made)), answers.argmax(1)] = top
    return made


def verdict(answers: Array) -> str:
    y = people()[1]
    frame = pd.DataFrame(answers[: 2 * N], columns=[f"p_{i}" for i in range(CLASSES)])
    frame = frame.assign(id=range(2 * N), arm=np.repeat(["member", "control"], N), label=y[: 2 * N])
    result, _, _ = audit_model(load.from_predictions(frame), [frame], person="id", data_class="public")
    return result.decision.verdict


def test_a_network_with_smoothed_labels_fails_by_its_answers_alone() -> None:
    assert verdict(smoothed()) == "fail"


@pytest.mark.slow
@pytest.mark.parametrize("relative", [plain, calibrated, pushed])
def test_its_relatives_fail_too(relative: Callable[[], Array]) -> None:
    assert verdict(relative()) == "fail"


@pytest.mark.slow
@pytest.mark.parametrize("relative", [distilled, rounded])
def test_relatives_that_show_less_never_pass(relative: Callable[[], Array]) -> None:
    """With 600 people the excess is surely above 0, but not surely above the limit: a person must look."""
    assert verdict(relative()) == "review"


@pytest.mark.slow
def test_a_perfect_mask_does_not_pass() -> None:
    """Only right and wrong are left: members are always right."""
    assert verdict(masked()) != "pass"
