"""An attacker who has a network's weights sees its gradients; who only asks it does not."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from testbed.core import Opened
from testbed.defences import named
from testbed.findings.schema import Estimate
from testbed.harness.model.audit import audit_model
from testbed.harness.model.defended import behind
from testbed.models.ensemble import Training
from testbed.subjects.predictors import load
from testbed.subjects.predictors.subject import Subject
from testbed.subjects.predictors.torch_module import Inside

N, INPUTS = 400, 12


def people(seed: int) -> pd.DataFrame:
    """People whose class is a coin, which can only be learnt by heart."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(N, INPUTS)).astype(np.float32), columns=[f"x{i}" for i in range(INPUTS)])
    return frame.assign(label=rng.integers(0, 2, N))


@cache
def by_heart(learnt: int) -> nn.Module:
    """A network that learnt the people of this seed by heart."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(INPUTS, 128), nn.ReLU(), nn.Linear(128, 2))
    frame = people(learnt)
    x, y = torch.tensor(frame.drop(columns="label").to_numpy()), torch.tensor(frame.label.to_numpy())
    descent = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(150):
        descent.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        descent.step()
    return network.eval()


def subject(learnt: int, **more: Any) -> Subject:
    frames = {"members": people(1), "controls": people(2)}
    return load.from_factory(lambda: by_heart(learnt), None, "logits", frames, "label", None, **more)


def excess(of: Subject, attack: str) -> Any:
    [found] = [
        f
        for f in audit_model(of, [people(1), people(2)], data_class="public", attack=attack)[0].findings
        if isinstance(f.measure, Estimate) and f.measure.metric == "tpr_at_fpr"
    ]
    assert found.excess is not None
    return found.excess


def test_a_network_that_learnt_by_heart_shows_it_inside() -> None:
    found = excess(subject(1), "white_box_model")
    assert found.value > 0.15
    assert found.low > 0


def test_a_network_of_other_people_shows_nothing_of_these() -> None:
    assert excess(subject(3), "white_box_model").low <= 0


def test_the_report_says_who_has_the_weights_and_a_service_gives_none_away() -> None:
    whole = subject(1)
    result, _, _ = audit_model(whole, [people(1), people(2)], data_class="public", quick=True)
    assert result.threat.access == "white"
    assert "white_box_model" in {f.attack.name for f in result.findings}
    for defence in ("round:2", "query_budget:100000"):
        served = behind(whole, named.configured(defence), 0)
        assert not isinstance(served.model, Opened)


def test_networks_trained_again_are_opened_too() -> None:
    trained = subject(1, training=Training(1, 64))
    assert trained.recipe is not None
    [again] = trained.recipe.many(trained.members, np.ones((1, N), bool), np.random.default_rng(0))
    assert isinstance(again, Opened)
    assert isinstance(trained.model, Opened)
    assert again.signals(trained.controls).shape == trained.model.signals(trained.controls).shape


def test_each_record_is_differentiated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counting(network: Any, x: Any, *more: Any) -> Any:
        asked.append(len(x))
        return np.arange(len(x), dtype=float)[:, None] + 100 * len(asked)

    monkeypatch.setattr("testbed.models.inside.signals", counting)
    inside, whole = Inside(None, "logits"), subject(1).members
    first = inside(whole.take(np.arange(10)))
    later = inside(whole.take(np.array([3, 12, 9, 3])))
    assert asked == [10, 1]
    assert later[[0, 2, 3], 0].tolist() == first[[3, 9, 3], 0].tolist()
