"""Other settings than the one that is commonly shown: what they change, and that they are what they say."""

import numpy as np
import pytest
import torch
from torch import nn

from scenarios.realism_sweep import SETTINGS, realism_sweep
from testbed import models
from testbed.core import Cohort, ModelSpec, Protocol
from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate
from testbed.harness.run import run
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.local import local_update

TINY = ModelSpec("mlp", {"shape": [3], "classes": 2, "hidden": [4]})


def people(n: int = 8) -> Cohort:
    rng = np.random.default_rng(0)
    return Cohort(rng.random((n, 3)).astype(np.float32), rng.integers(0, 2, n), np.arange(n))


def test_a_trained_model_and_large_batches_give_less_than_the_setting_commonly_shown() -> None:
    chosen = "as commonly shown; sixteen records; after training"
    found = run(realism_sweep, {"only": chosen, "batches": 4, "iterations": 60, "training_epochs": 30}).result.findings
    assert [str(f.target).split(", ")[1] for f in found] == chosen.split("; ")
    shown, many, trained = (f.measure for f in found)
    assert isinstance(shown, Estimate)
    assert isinstance(many, Estimate)
    assert isinstance(trained, Estimate)
    assert shown.value > many.value > trained.value
    assert shown.low > trained.value
    chart = found[0].series[-1]
    assert chart.labels == chosen.split("; ")
    assert chart.x[0] > chart.x[1] > chart.x[2]


@pytest.mark.parametrize("wrong", [{"data": "heart"}, {"only": "by moonlight"}])
def test_a_table_or_an_unknown_setting_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO-009"):
        run(realism_sweep, wrong)


def test_every_network_of_the_sweep_can_be_differentiated_twice() -> None:
    for network in {s.network for s in SETTINGS}:
        spec = ModelSpec(network, {"shape": [1, 8, 8], "classes": 10})
        model = models.build(spec, 0)
        parameters = {name: p.detach().requires_grad_() for name, p in model.named_parameters()}
        x = nn.Parameter(torch.rand(2, 1, 8, 8))
        loss = models.loss_of(model, parameters, x, torch.tensor([1, 2]))
        parts = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        torch.stack([(g * g).sum() for g in parts]).sum().backward()
        assert x.grad is not None
        assert float(x.grad.abs().sum()) > 0, network


def test_a_federation_starts_from_the_parameters_that_it_is_given() -> None:
    start = {name: v + 1 for name, v in models.get_parameters(models.build(TINY, 0)).items()}
    made = Federation(TINY, Protocol("fedsgd", 4, rounds=1, clients=2), start=start).run([people(), people()])
    for exchange in made.exchanges:
        assert exchange.sent is not None
        assert all(np.array_equal(exchange.sent[name], v) for name, v in start.items())


def test_clients_train_by_the_optimiser_of_the_protocol() -> None:
    start = models.get_parameters(models.build(TINY, 0))
    rules = Protocol("fedavg", 8, learning_rate=0.01, optimizer="adam")
    moved = local_update(TINY, start, people(), rules, [np.arange(8)])
    # Adam's first step moves each weight that has a gradient by the learning rate.
    step = np.abs(moved["3.bias"] - start["3.bias"])
    np.testing.assert_allclose(step, 0.01, rtol=1e-3)
    with pytest.raises(UsageError, match="TB-RUN-007"):
        local_update(TINY, start, people(), Protocol("fedavg", 8, optimizer="lion"), [np.arange(8)])
