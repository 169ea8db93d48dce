"""Membership scores against slow definitions, and the defect that a loop over records invites."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from testbed import models
from testbed.attacks.registry import find
from testbed.core import Cohort, Exchange, ModelSpec, Protocol, Records, Threat, Transcript, Unavailable

SPEC = ModelSpec("mlp", {"shape": [5], "classes": 3, "hidden": [7]})
THREAT = Threat("server", knows=frozenset({"architecture", "target_records"}))
RNG = np.random.default_rng(3)
PEOPLE = Cohort(RNG.random((12, 5)).astype(np.float32), RNG.integers(0, 3, 12), np.arange(12).astype(str))
SENT = models.get_parameters(models.build(SPEC, 1))
RETURNED = {k: v + RNG.normal(0, 0.1, v.shape).astype(np.float32) for k, v in SENT.items()}
ALONE = np.zeros(12, dtype=int)


def view(kind: str = "fedavg", clients: int = 1) -> Transcript:
    exchanges = tuple(Exchange(1, c, SENT, RETURNED) for c in range(clients))
    return Transcript(exchanges, SPEC, Protocol(kind, clients=clients), "server", RETURNED)  # type: ignore[arg-type]


def gradient_of(record: int) -> dict[str, np.ndarray]:
    """The gradient of one record by itself, zeroed before: the slow way."""
    model = models.build(SPEC, 1)
    model.zero_grad()
    x, y = torch.tensor(PEOPLE.x[record : record + 1]), torch.tensor(PEOPLE.y[record : record + 1])
    torch.nn.functional.cross_entropy(model(x), y).backward()
    return {k: p.grad.numpy() for k, p in model.named_parameters() if p.grad is not None}


def test_the_product_is_that_of_each_records_own_gradient_with_the_update() -> None:
    scores = find("update_product").run(view(), Records(PEOPLE, ALONE), None, 0, THREAT).values
    for record in range(12):
        own = gradient_of(record)
        expected = -sum(float((own[k] * (RETURNED[k] - SENT[k])).sum()) for k in own)
        assert scores[record] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_gradient_that_was_sent_pulls_the_other_way() -> None:
    scores = find("update_product").run(view("fedsgd"), Records(PEOPLE, ALONE), None, 0, THREAT).values
    own = gradient_of(4)
    assert scores[4] == pytest.approx(sum(float((own[k] * RETURNED[k]).sum()) for k in own), rel=1e-4, abs=1e-6)


def test_only_the_suspected_client_counts_and_without_one_all_do() -> None:
    asked = np.array([0] * 6 + [1] * 6)
    two = find("update_product").run(view(clients=2), Records(PEOPLE, asked), None, 0, THREAT).values
    one = find("update_product").run(view(), Records(PEOPLE, ALONE), None, 0, THREAT).values
    all_ = find("update_product").run(view(clients=2), Records(PEOPLE, None), None, 0, THREAT).values
    assert two == pytest.approx(one)
    assert all_ == pytest.approx(2 * one)


def test_the_loss_is_the_final_models() -> None:
    scores = find("loss_threshold").run(view(), Records(PEOPLE), None, 0, THREAT).values
    model = models.build(SPEC, 1)
    model.load_state_dict({k: torch.tensor(v) for k, v in RETURNED.items()})
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(
            model(torch.tensor(PEOPLE.x)), torch.tensor(PEOPLE.y), reduction="none"
        )
    assert scores == pytest.approx(-losses.numpy(), rel=1e-5)


def test_nothing_seen_is_unavailable() -> None:
    blind = Transcript((Exchange(1, 0, None, None),), SPEC, Protocol(), "server", None)
    for name in ("update_product", "loss_threshold"):
        with pytest.raises(Unavailable):
            find(name).run(blind, Records(PEOPLE, ALONE), None, 0, THREAT)
