"""NVIDIA FLARE: its messages as a transcript has them, and a job on its simulator, recorded and replayed."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from testbed import models
from testbed.core import Cohort, ModelSpec, Protocol
from testbed.harness.federation.foreign import Foreign
from testbed.harness.federation.replay import replay
from testbed.subjects.federation import transcript
from testbed.subjects.federation.flare_messages import added, arrays_of, in_order, numbers_in
from testbed.subjects.federation.local import local_update

NET = """
from torch import nn
def network():
    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 3))
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = network()
    def forward(self, x):
        return self.layers(x)
"""
CLIENT = """
import sys
import numpy as np, torch
import nvflare.client as flare
from net import Net
flare.init()
held = np.load(f"{sys.argv[1]}/{flare.get_site_name()}.npz")
x, y = torch.tensor(held["x"]), torch.tensor(held["y"])
model, loss = Net(), torch.nn.CrossEntropyLoss()
while flare.is_running():
    given = flare.receive()
    model.load_state_dict(given.params)
    before = float(loss(model(x), y))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    loss(model(x), y).backward()
    optimizer.step()
    flare.send(flare.FLModel(params=model.state_dict(), metrics={"loss": before}, meta={"num-examples": 1}))
"""
JOB = """
import sys
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe import SimEnv
from net import Net
from testbed.subjects.federation.flare import TranscriptRecorder
if __name__ == "__main__":
    folder, transfer = sys.argv[1:]
    recipe = FedAvgRecipe(
        name="hello", model=Net(), min_clients=2, num_rounds=2, train_script="client.py", train_args=folder,
        params_transfer_type=transfer,
    )
    recorder = TranscriptRecorder(f"{folder}/t.transcript", batch_size=1, learning_rate=0.1)
    recipe.add_server_input_filter(recorder)
    recipe.execute(SimEnv(num_clients=2, workspace_root=f"{folder}/runs"))
"""
LAYER = {"w": np.array([[1.5, 2.0]], np.float32)}


def message(kind: str, data: object, **meta: object) -> dict[str, object]:
    """A message as FLARE's documentation of Shareable and DXO describes it."""
    return {"__headers__": {"__content_type__": "DXO"}, "DXO": {"kind": kind, "data": data, "meta": meta}}


def test_a_model_and_the_arrays_beside_it_are_read_by_name() -> None:
    told = message("WEIGHTS", LAYER, scaffold_c_diff={"w": np.ones((1, 2))}, NUM_STEPS_CURRENT_ROUND=3, configs={})
    read = arrays_of(told) or {}
    assert {name: values.tolist() for name, values in read.items()} == {
        "w": [[1.5, 2.0]],
        "scaffold_c_diff.w": [[1.0, 1.0]],
    }
    assert arrays_of(message("WEIGHTS", {"w": torch.ones(2, requires_grad=True)}))
    assert arrays_of(message("METRICS", {"loss": 0.5})) is None
    assert arrays_of({"__headers__": {}}) is None


def test_differences_become_new_weights_of_which_no_digit_is_lost() -> None:
    change = {"w": np.array([[1e-7, -3e-9]], np.float32), "c.w": np.ones(1)}
    new = added(LAYER, change)
    assert (new["w"] - LAYER["w"]).astype(np.float32).tobytes() == change["w"].tobytes()
    assert new["c.w"].tolist() == [1.0]


def test_metrics_are_the_single_numbers_of_a_message() -> None:
    told = {"loss": np.float32(0.5), "n": 4, "ok": True, "tensor": torch.tensor(2.0), "name": "x", "w": np.ones(2)}
    assert numbers_in(told) == {"loss": 0.5, "n": 4.0, "ok": 1.0, "tensor": 2.0}


def test_sites_are_numbered_as_people_count() -> None:
    assert sorted(["site-10", "site-2", "clinic", "site-1"], key=in_order) == ["clinic", "site-1", "site-2", "site-10"]


@pytest.mark.slow
@pytest.mark.parametrize("transfer", ["FULL", "DIFF"])
def test_a_job_on_the_simulator_is_recorded_and_its_patients_are_reconstructed(transfer: str, tmp_path: Path) -> None:
    pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed (pip install nvflare)")
    for name, text in {"net.py": NET, "client.py": CLIENT, "job.py": JOB}.items():
        (tmp_path / name).write_text(text)
    x = np.random.default_rng(0).random((2, 1, 12)).astype(np.float32)
    for site in (0, 1):
        np.savez(tmp_path / f"site-{site + 1}.npz", x=x[site], y=np.array([site]))
    command = [sys.executable, "job.py", str(tmp_path), transfer]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = transcript.read(tmp_path / "t.transcript")
    assert [(e.key, e.status, e.config["client"]) for e in seen.exchanges] == [
        ((r, c), "ok", f"site-{c + 1}") for r in (0, 1) for c in (0, 1)
    ]
    models.register("of the job", _network)
    for e in seen.exchanges:
        sent, returned = e.sent or {}, e.returned or {}
        person = Cohort(x[e.client], np.array([e.client]), np.array(["p"]))
        plain = {name.removeprefix("layers."): values for name, values in sent.items()}
        rules = Protocol("fedavg", 1, learning_rate=0.1)
        ours = local_update(ModelSpec("of the job"), plain, person, rules, [np.array([0])])
        for name, values in ours.items():
            theirs, before = returned[f"layers.{name}"], plain[name]
            if transfer == "FULL":
                assert theirs.tobytes() == values.tobytes()
            else:
                assert (theirs - before).astype(np.float32).tobytes() == (values - before).tobytes()
    means = {k: np.mean([(e.returned or {})[k] for e in seen.exchanges[2:]], 0) for k in seen.final or {}}
    for name, values in (seen.final or {}).items():
        np.testing.assert_allclose(values, means[name], atol=1e-6)
    assert [e.kind for e in seen.asked] == ["evaluate"] * 4
    done_ = replay(tmp_path / "t.transcript", "analytic_linear", foreign=Foreign(f"{tmp_path}/net.py:Net", (12,)))
    with np.load(io.BytesIO(done_.outcome.files["claim.npz"])) as claim:
        for r in (0, 1):
            for c in (0, 1):
                np.testing.assert_allclose(claim[f"round{r}.client{c}"][0], x[c][0], atol=1e-3)


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 3))
