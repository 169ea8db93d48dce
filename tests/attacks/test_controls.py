"""SCAFFOLD: a client's control variate is its mean gradient, and the update is not."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, RecordDict
from torch import nn

from testbed.attacks.inversion.analytic_linear import analytic_linear
from testbed.attacks.inversion.controls import control_gradients
from testbed.core import Batch, Protocol, Threat, Transcript
from testbed.harness.federation.foreign import Foreign
from testbed.harness.federation.replay import replay
from testbed.subjects.federation import transcript
from testbed.subjects.federation.messages import to_parameters

RATE, STEPS, ROUNDS, CLIENTS = 0.1, 2, 3, 3
X = np.random.default_rng(0).normal(size=(CLIENTS, 1, 12)).astype(np.float32)
FACTORY = (
    "def net():\n    from torch import nn\n    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))\n"
)


def scaffold(path: Path, form: str, own_gradients: dict[tuple[int, int], list[list[torch.Tensor]]]) -> Transcript:
    """SCAFFOLD as its paper has it (option II), with torch alone; each client trains on one record.

    `form` says what a client sends beside its weights: its new control, or the difference to its last one.
    """
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    names = [name for name, _ in model.named_parameters()]
    weights = [p.detach().clone() for p in model.parameters()]
    server = [torch.zeros_like(w) for w in weights]
    own = [[torch.zeros_like(w) for w in weights] for _ in range(CLIENTS)]
    rules = Protocol("fedavg", 1, local_epochs=STEPS, learning_rate=RATE)
    with transcript.Writer(path, protocol=rules) as writer:
        for round_ in range(1, ROUNDS + 1):
            moved: list[list[torch.Tensor]] = []
            changed: list[list[torch.Tensor]] = []
            for client in range(CLIENTS):
                sent = dict(zip(names, weights, strict=True))
                writer.sent(round_, client, sent | {f"c.{k}": v for k, v in zip(names, server, strict=True)})
                at = [w.clone() for w in weights]
                for _ in range(STEPS):
                    leaves = [w.clone().requires_grad_() for w in at]
                    outputs = torch.func.functional_call(
                        model, dict(zip(names, leaves, strict=True)), torch.tensor(X[client])
                    )
                    found = torch.autograd.grad(nn.functional.cross_entropy(outputs, torch.tensor([client])), leaves)
                    own_gradients.setdefault((round_, client), []).append(list(found))
                    at = [w - RATE * (g + c - i) for w, g, c, i in zip(at, found, server, own[client], strict=True)]
                new = [
                    i - c + (before - after) / (STEPS * RATE)
                    for i, c, before, after in zip(own[client], server, weights, at, strict=True)
                ]
                change = [n - i for n, i in zip(new, own[client], strict=True)]
                beside = zip(names, new if form == "new" else change, strict=True)
                returned = dict(zip(names, at, strict=True)) | {f"control.{k}": v for k, v in beside}
                writer.returned(round_, client, returned, {"num-examples": 1})
                own[client] = new
                moved.append(at)
                changed.append(change)
            weights = [sum(parts) / CLIENTS for parts in zip(*moved, strict=True)]  # type: ignore[misc]
            server = [c + sum(parts) / CLIENTS for c, parts in zip(server, zip(*changed, strict=True), strict=True)]
    return transcript.read(path)


@pytest.mark.parametrize("form", ["new", "difference"])
def test_a_control_is_the_mean_gradient_and_reconstructs_in_every_round(form: str, tmp_path: Path) -> None:
    true: dict[tuple[int, int], list[list[torch.Tensor]]] = {}
    view = scaffold(tmp_path / "t", form, true)
    found = control_gradients(view, [])
    assert found.keys() == true.keys()
    for key, steps in true.items():
        for values, parts in zip(found[key].values(), zip(*steps, strict=True), strict=True):
            np.testing.assert_allclose(values, torch.stack(parts).mean(0), atol=2e-6)
    (tmp_path / "net.py").write_text(FACTORY)
    done = replay(tmp_path / "t", "analytic_linear", foreign=Foreign(f"{tmp_path}/net.py:net", (12,)))
    with np.load(io.BytesIO(done.outcome.files["claim.npz"])) as claim:
        for r, c in true:
            np.testing.assert_allclose(claim[f"round{r}.client{c}"][0], X[c, 0], atol=1e-3)
    assert not any("arrays that are no part" in line for line in done.result.threat.not_tested)


def test_without_controls_later_updates_give_mixtures(tmp_path: Path) -> None:
    """Or all that controls are read for were to be had from the weights."""
    view = scaffold(tmp_path / "t", "new", {})
    bare = replace(
        view,
        exchanges=tuple(
            replace(e, returned={k: v for k, v in (e.returned or {}).items() if not k.startswith("control.")})
            for e in view.exchanges
        ),
    )
    question = Batch(tuple(e.key for e in bare.exchanges), (12,), 3)
    threat = Threat("server", knows=frozenset({"architecture"}))
    claim = analytic_linear.run(bare, question, None, 0, threat)
    errors = {key: float(np.abs(x[0] - X[key[1], 0]).max()) for key, x in claim.batches.items()}
    assert max(v for (r, _), v in errors.items() if r == 1) < 1e-3
    assert min(v for (r, _), v in errors.items() if r > 1) > 0.05


def test_arrays_that_the_updates_contradict_are_left_aside(tmp_path: Path) -> None:
    view = scaffold(tmp_path / "t", "new", {})
    rng = np.random.default_rng(5)
    other = tuple(
        replace(
            e,
            returned={
                k: rng.normal(size=v.shape) if k.startswith("control.") else v for k, v in (e.returned or {}).items()
            },
        )
        for e in view.exchanges
    )
    assert control_gradients(replace(view, exchanges=other), []) == {}


def test_numbered_records_of_a_flower_message_get_the_models_names() -> None:
    from testbed import models

    model = nn.Sequential(nn.Linear(2, 3))
    arrays = [p.detach().numpy() for p in model.parameters()]
    content = RecordDict({"arrays": ArrayRecord(arrays), "control": ArrayRecord(arrays)})
    read = to_parameters(content, "arrays") or {}
    assert set(models.by_name(read, model)) == {"0.weight", "0.bias", "control.0.weight", "control.0.bias"}
    assert set(models.to_tensors(models.by_name(read, model), model)) == {"0.weight", "0.bias"}
