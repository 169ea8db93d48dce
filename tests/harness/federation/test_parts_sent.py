"""Apps that send a head or adapters: what arrives is named, with the way out, and the documented way out works."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import testbed
from testbed.core import Protocol
from testbed.core.errors import InputError
from testbed.findings.schema import Estimate, Unmeasured
from testbed.subjects.federation import transcript
from tests.conftest import ROOT

CLIENTS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's factories, and recordings of apps that send a head, adapters, or all under names of their own."""
    folder = tmp_path_factory.mktemp("parts")
    page = (ROOT / "docs" / "transcript.md").read_text(encoding="utf-8")
    (folder / "app.py").write_text(next(t for t in re.findall(r"```python\n(.*?)```", page, re.S) if "Adapted" in t))
    spec = importlib.util.spec_from_file_location("page_app", folder / "app.py")
    assert spec is not None
    assert spec.loader is not None
    app: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    rng = np.random.default_rng(3)
    people = [(rng.normal(size=(1, 8)).astype(np.float32), np.array([c % 3])) for c in range(CLIENTS)]
    for client, (x, y) in enumerate(people):
        np.savez(folder / f"{client}.npz", x=x, y=y)
    np.savez(folder / "controls.npz", x=rng.normal(size=(130, 8)).astype(np.float32), y=rng.integers(0, 3, 130))
    for name, network, prefix in (("head", app.head(), ""), ("lora", app.lora(), ""), ("renamed", app.body(), "net-")):
        sent = {prefix + n: p for n, p in network.named_parameters() if p.requires_grad}
        rules = Protocol("fedsgd", batch_size=1, learning_rate=0.1)
        with transcript.Writer(folder / f"{name}.transcript", protocol=rules) as writer:
            for client, (x, y) in enumerate(people):
                writer.sent(1, client, sent)
                network.zero_grad()
                torch.nn.functional.cross_entropy(network(torch.tensor(x)), torch.tensor(y)).backward()
                writer.returned(1, client, {n: p.grad for n, p in sent.items()}, {"num-examples": 1})
    return folder


def judged(folder: Path, name: str, attack: str, model: str | None, **params: Any) -> Any:
    asked: dict[str, Any] = {
        "records": {c: folder / f"{c}.npz" for c in range(CLIENTS)},
        "knows": ["labels"],
        "params": params,
    }
    asked |= {"controls": folder / "controls.npz", "shape": (8,), "model": model and f"{folder}/app.py:{model}"}
    return testbed.replay(folder / f"{name}.transcript", attack, **asked).result.findings[0]


@pytest.mark.parametrize("name", ["head", "lora"])
def test_the_documented_factories_give_a_verdict_with_a_positive_control(folder: Path, name: str) -> None:
    found = judged(folder, name, "deep_leakage", name, iterations=120)
    assert isinstance(found.measure, Estimate)
    assert isinstance(found.positive_control, Estimate)
    assert found.positive_control.value > 0.5
    assert found.measure.value == 1.0


ARRIVES = {"head": "2.weight (3 x 24), 2.bias (3)", "lora": "0.down.weight (4 x 8), 0.up.weight (24 x 4)"}


@pytest.mark.parametrize("attack", ["analytic_linear", "spear", "cocktail_party"])
@pytest.mark.parametrize(("name", "model"), [("head", None), ("head", "body"), ("head", "head"), ("lora", "lora")])
def test_attacks_on_the_first_layer_say_what_arrives_and_what_the_model_has(
    folder: Path, attack: str, name: str, model: str | None
) -> None:
    why = judged(folder, name, attack, model).measure
    assert isinstance(why, Unmeasured)
    assert why.unmeasured == "no_linear_input_layer"
    assert f"what arrives is {ARRIVES[name]}" in why.needs
    if model is not None:
        assert "the model has 0." in why.needs
        assert "requires_grad_(False) on what is not sent" in why.needs


def test_a_head_as_wide_as_a_record_is_not_taken_for_the_first_layer(tmp_path: Path) -> None:
    """Its inputs are what the frozen body makes of a record, and no record."""
    (tmp_path / "app.py").write_text(
        "from torch import nn\ndef head():\n    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))\n"
        "    net[0].requires_grad_(False)\n    return net\n"
    )
    rng = np.random.default_rng(0)
    with transcript.Writer(tmp_path / "t", protocol=Protocol("fedsgd", batch_size=1)) as writer:
        writer.sent(1, 0, {"2.weight": rng.normal(size=(3, 8)), "2.bias": np.zeros(3)})
        writer.returned(1, 0, {"2.weight": rng.normal(size=(3, 8)), "2.bias": np.ones(3)}, {"num-examples": 1})
    plain = testbed.replay(tmp_path / "t", "analytic_linear", model=f"{tmp_path}/app.py:head", shape=(8,))
    assert "no_linear_input_layer" in plain.result.findings[0].plain
    unknown = testbed.replay(tmp_path / "t", "analytic_linear").result  # nothing says that a body is there
    assert any("what earlier layers make of them" in line for line in unknown.threat.not_tested)


@pytest.mark.parametrize(
    ("name", "model", "error"),
    [
        ("head", "body", "TB-MODEL-011.*2 of the 4 parameters.*The recording holds 2.weight, 2.bias.*requires_grad_"),
        ("lora", "body", "TB-MODEL-003.*differs is 0.down.weight.*requires_grad_"),
        ("head", "lora", "TB-MODEL-011|TB-MODEL-003"),
    ],
)
def test_a_factory_that_trains_something_else_is_refused_with_the_way_out(
    folder: Path, name: str, model: str, error: str
) -> None:
    with pytest.raises(InputError, match=error):
        judged(folder, name, "deep_leakage", model)


@pytest.mark.parametrize("attack", ["analytic_linear", "spear", "deep_leakage", "update_product"])
def test_arrays_of_other_names_than_the_models_are_refused_by_every_attack(folder: Path, attack: str) -> None:
    """analytic_linear read them, and had no positive control."""
    with pytest.raises(InputError, match=r"TB-MODEL-003.*differs is net-0\.bias"):
        judged(folder, "renamed", attack, "body")
