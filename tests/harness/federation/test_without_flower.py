"""Reading and judging a transcript need no Flower: replays in a process in which it cannot be imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from testbed import models
from testbed.core import Cohort, Exchange, ModelSpec, Protocol, Transcript
from testbed.harness.federation.owned import STEP, _shown
from testbed.harness.run import run
from testbed.harness.scenario import find
from testbed.subjects.federation import transcript
from testbed.subjects.federation.federation import Federation
from tests.subjects.federation.test_writer import alone

LOOP = """
import torch

def make_net():
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
"""


def replayed(folder: Path, *options: str) -> dict[str, Any]:
    command = ["testbed", "replay", *options, "--attack", "analytic_linear", "--out", "out", "--json"]
    done = alone(f"from testbed.cli import main\nsys.argv = {command!r}\nmain()", folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    return result["findings"][0]


def test_a_run_is_judged_by_its_truth_under_its_defences(tmp_path: Path) -> None:
    params = {"clients": 2, "rounds": 3, "defence": "clip:1+gaussian:0.001"}
    done = run(find("curious_server"), params, seed=3)
    for name, content in done.outcome.files.items():
        (tmp_path / name).write_bytes(content)
    found = replayed(tmp_path, "true.transcript", "--truth", "truth.npz")
    with_flower = json.loads(done.result.findings[0].model_dump_json())
    assert found["plain"] == with_flower["plain"]
    for arm in ("measure", "control", "baseline", "positive_control", "excess"):
        assert found[arm]["value"] == pytest.approx(with_flower[arm]["value"], abs=1e-4)


def test_a_foreign_app_is_judged_by_the_records_of_its_owner(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(LOOP)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 6)).astype(np.float32), np.array([0, 1, 0])
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    model = {name: p.detach() for name, p in network.named_parameters()}
    with transcript.Writer(tmp_path / "t", protocol=Protocol("fedsgd", batch_size=1, learning_rate=0.1)) as writer:
        for client in range(3):
            np.savez(tmp_path / f"{client}.npz", x=x[client : client + 1], y=y[client : client + 1])
            writer.sent(1, client, model)
            network.zero_grad()
            output = network(torch.tensor(x[client : client + 1]))
            torch.nn.functional.cross_entropy(output, torch.tensor(y[client : client + 1])).backward()
            gradient = {name: p.grad for name, p in network.named_parameters()}
            writer.returned(1, client, gradient, {"num-examples": 1})
    others = rng.normal(size=(200, 6)).astype(np.float32)
    np.savez(tmp_path / "controls.npz", x=others, y=np.arange(200) % 2)
    records = [word for c in range(3) for word in ("--records", f"{c}={c}.npz")]
    found = replayed(tmp_path, "t", "--model", "loop.py:make_net", *records, "--controls", "controls.npz")
    assert (found["measure"]["value"], found["positive_control"]["value"]) == (1.0, 1.0)


@pytest.mark.parametrize("kind", ["fedsgd", "fedavg"])
def test_the_positive_control_is_what_a_federation_sends(kind: str) -> None:
    spec = ModelSpec("mlp", {"shape": [6], "classes": 2, "hidden": [4]})
    start, rng = models.get_parameters(models.build(spec, 0)), np.random.default_rng(0)
    people = Cohort(rng.random((3, 6)).astype(np.float32), np.array([0, 1, 1]), np.arange(3).astype(str))
    view = Transcript((Exchange(1, 0, start, None),), spec, Protocol(kind))  # type: ignore[arg-type]
    rules = Protocol(kind, 1, learning_rate=STEP, rounds=1, clients=3)  # type: ignore[arg-type]
    federation = Federation(spec, rules, start=start).run([people.take([i]) for i in range(3)])
    shown = _shown(view, people)
    assert shown is not None
    for mine, theirs in zip(shown.exchanges, federation.exchanges, strict=True):
        for name, values in (theirs.returned or {}).items():
            np.testing.assert_array_equal((mine.returned or {})[name], values)
    for name, values in (federation.final or {}).items():
        np.testing.assert_allclose((shown.final or {})[name], values, atol=1e-6)
