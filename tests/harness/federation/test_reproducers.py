"""What once went wrong on other people's apps, each as the few lines that show it. Other files hold the kinds.

Their names (F1, D, ...) are those under which the faults were found.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from torch import nn
from torch.nn import functional

import testbed
from testbed.core import Array, Protocol
from testbed.findings.schema import Unmeasured
from testbed.harness.federation.foreign import Foreign
from testbed.harness.federation.replay import replay
from testbed.harness.outcome import Done
from tests.subjects.federation.test_tap import CLIENTS, fedavg, run

HERE = "tests.harness.federation.test_reproducers"
RECORD = np.array([[0.13, -0.13, 0.64, 0.1, -0.54, 1.7, -2.2, 0.4]], np.float32)
"""Standardised values, most of which lie outside 0 to 1."""


def one_output() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 1))


def one_sigmoid() -> nn.Module:
    return nn.Sequential(*one_output(), nn.Sigmoid())


def two_outputs() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 2))


def pictures() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))


def losses(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What each app minimises; every record has the class 1."""
    made = network(x)
    if made.shape[1] > 1:
        return functional.cross_entropy(made, torch.ones(len(x), dtype=torch.long))
    made = made if isinstance(list(network)[-1], nn.Sigmoid) else made.sigmoid()  # type: ignore[arg-type]
    return functional.binary_cross_entropy(made[:, 0], torch.ones(len(x)))


def step(
    folder: Path, network: nn.Module, x: Array = RECORD, kind: Any = "fedsgd", batch: int = 1, numbered: bool = False
) -> Path:
    """An app of one client that trains one epoch in batches, recorded by a loop."""
    sent = [p.detach().numpy().copy() for p in network.parameters()]
    names = list(map(str, range(len(sent)))) if numbered else [n for n, _ in network.named_parameters()]
    rules = Protocol(kind, batch_size=batch, local_epochs=1, learning_rate=0.1)
    with testbed.transcript.Writer(folder / "t", protocol=rules) as writer:
        writer.sent(1, 0, dict(zip(names, sent, strict=True)))
        gradient: list[Array] = []
        for rows in torch.tensor(x).split(batch):
            network.zero_grad()
            losses(network, rows).backward()
            gradient = [p.grad.numpy().copy() for p in network.parameters()]  # type: ignore[union-attr]
            with torch.no_grad():
                for p in network.parameters():
                    p -= 0.1 * p.grad  # type: ignore[operator]
        moved = [p.detach().numpy() for p in network.parameters()]
        returned = dict(zip(names, gradient if kind == "fedsgd" else moved, strict=True))
        writer.returned(1, 0, returned, {"num-examples": len(x)})
    return folder / "t"


def replayed(path: Path, attack: str, model: str | None = None, few: bool = False, **more: Any) -> Done:
    foreign = Foreign(model and f"{HERE}:{model}", **more)
    return replay(path, attack, pairs=["iterations=3"] if few else [], foreign=foreign)


def claimed(done: Done) -> Array:
    with np.load(io.BytesIO(done.outcome.files["claim.npz"])) as claim:
        return claim["round1.client0"]


@pytest.mark.parametrize("model", ["one_output", "one_sigmoid"])
@pytest.mark.parametrize("attack", ["cosine_tv", "deep_leakage"])
def test_f1_and_d_noise_is_no_claim_where_cross_entropy_has_no_gradient(
    tmp_path: Path, model: str, attack: str
) -> None:
    path = step(tmp_path, globals()[model]())
    done = replayed(path, attack, model, shape=(8,))
    assert done.outcome.files == {}
    (found,) = done.result.findings
    assert isinstance(found.measure, Unmeasured)
    assert found.measure.unmeasured == "zero_own_gradient"


@pytest.mark.parametrize(("model", "loss"), [("one_output", "bce_with_logits"), ("one_sigmoid", "bce")])
def test_f1_and_d_the_loss_that_the_app_trains_gives_the_record(tmp_path: Path, model: str, loss: str) -> None:
    path = step(tmp_path, globals()[model]())
    done = replayed(path, "analytic_linear", model, shape=(8,), loss=loss)
    np.testing.assert_allclose(claimed(done), RECORD, atol=1e-4)


def test_f2_a_client_of_several_steps_is_asked_about_as_many_records_as_it_says(tmp_path: Path) -> None:
    path = step(tmp_path, two_outputs(), np.repeat(RECORD, 6, 0), "fedavg", batch=2)
    done = replayed(path, "fedavg_unrolling", "two_outputs", shape=(8,), few=True)
    assert claimed(done).shape == (6, 8)


def test_f3_records_are_searched_in_the_range_that_is_named(tmp_path: Path) -> None:
    path = step(tmp_path, two_outputs())
    assumed = replayed(path, "cosine_tv", "two_outputs", shape=(8,), few=True)
    named = replayed(path, "cosine_tv", "two_outputs", shape=(8,), few=True, within=(-3.0, 3.0))
    assert claimed(assumed).min() >= 0
    assert claimed(named).min() < -0.5
    assert "records with values outside 0 to 1, which is assumed: no --range was given" in (
        assumed.result.threat.not_tested
    )


@pytest.mark.parametrize("attack", ["spear", "analytic_linear"])
def test_e_exact_attacks_clip_nothing_and_tell_that_the_range_is_another(tmp_path: Path, attack: str) -> None:
    done = replayed(step(tmp_path, two_outputs()), attack, "two_outputs", shape=(8,))
    np.testing.assert_allclose(claimed(done), RECORD, atol=1e-4)
    assert "whether records lie between 0 and 1: 50% of the claimed values do not (--range)" in (
        done.result.threat.not_tested
    )


@pytest.mark.parametrize(
    ("factory", "numbered", "code"), [(pictures, False, "convolution_first"), (two_outputs, True, "numbered_arrays")]
)
def test_f4_and_f6_arrays_without_a_model_are_not_taken_for_its_first_layer(
    tmp_path: Path, factory: Any, numbered: bool, code: str
) -> None:
    x = RECORD if factory is two_outputs else np.ones((1, 1, 4, 4), np.float32)
    done = replayed(step(tmp_path, factory(), x, numbered=numbered), "analytic_linear")
    assert done.outcome.files == {}
    (found,) = done.result.findings
    assert isinstance(found.measure, Unmeasured)
    assert found.measure.unmeasured == code
    assert "--model" in found.measure.needs


class Twice(FedAvg):
    """Sends each client two messages a round."""

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Any:
        first = list(super().configure_train(server_round, arrays, config, grid))
        return [*first, *(Message(m.content, m.metadata.dst_node_id, m.metadata.message_type) for m in first)]


def test_f9_two_messages_to_a_client_in_a_round_are_both_recorded_with_what_was_sent() -> None:
    strategy = testbed.record(fedavg(Twice))
    run(strategy)
    seen = strategy.transcript().exchanges
    assert len(seen) == 2 * CLIENTS
    assert all(e.sent is not None and e.returned is not None for e in seen)
