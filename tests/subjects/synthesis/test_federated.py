"""A generator that hospitals train together: its likelihood, its coding, and the report from three positions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from testbed import models
from testbed.attacks.registry import find as find_attack
from testbed.core import Cohort, Exchange, ModelSpec, Protocol, Records, Threat, Transcript, Unavailable
from testbed.findings.schema import Estimate
from testbed.harness.run import run
from testbed.harness.scenario import find
from testbed.models.generative import Autoregressive
from testbed.subjects.synthesis.binned import Binned

BLOCKS = [2, 3, 2]


def every_record() -> torch.Tensor:
    parts = [torch.eye(b) for b in BLOCKS]
    return torch.stack([torch.cat([a, b, c]) for a in parts[0] for b in parts[1] for c in parts[2]])


def network(seed: int) -> Autoregressive:
    model = models.build(
        ModelSpec("autoregressive", {"shape": [7], "classes": 2, "blocks": BLOCKS, "hidden": 16}), seed
    )
    assert isinstance(model, Autoregressive)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4)
    return model


@pytest.mark.parametrize("seed", range(3))
def test_the_likelihoods_of_all_records_sum_to_one(seed: int) -> None:
    model, x = network(seed), every_record()
    assert float((-model.losses(model(x), x)).exp().sum().detach()) == pytest.approx(1, abs=1e-4)


def test_samples_are_as_frequent_as_their_likelihood() -> None:
    model, x = network(1), every_record()
    drawn = model.sample(20_000, 0)
    assert (drawn.sum(1) == 3).all()
    expected = (-model.losses(model(x), x)).exp().detach()
    found = torch.stack([(drawn == row).all(1).float().mean() for row in x])
    assert (found - expected).abs().max() < 0.015
    assert torch.equal(drawn, model.sample(20_000, 0))


def test_blocks_that_do_not_fill_the_record_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks"):
        Autoregressive([8], 2, BLOCKS)


def test_a_table_comes_back_from_its_coding_bin_by_bin() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(20, 90, 500).astype(float),
            "lab": np.where(rng.random(500) < 0.2, np.nan, rng.normal(size=500)),
            "ward": rng.choice(["a", "b", None], 500),
            "same": 1.0,
        }
    )
    binned = Binned.of(frame)
    records = binned.encode(frame)
    assert records.shape == (500, sum(binned.blocks))
    assert (records.sum(1) == 4).all()
    back = binned.decode(records, rng)
    assert binned.encode(back) == pytest.approx(records)
    assert (back["age"] == back["age"].round()).all()
    assert back["lab"].isna().sum() == frame["lab"].isna().sum()


def test_a_value_that_nobody_had_is_unknown_and_never_echoed() -> None:
    binned = Binned.of(pd.DataFrame({"ward": ["a", "b"], "age": [1.0, 2.0]}))
    coded = binned.encode(pd.DataFrame({"ward": ["secret"], "age": [1e9]}))
    assert binned.decode(coded, np.random.default_rng(0))["ward"].isna().all()


def test_a_client_compares_the_models_it_was_sent() -> None:
    spec = ModelSpec("mlp", {"shape": [4], "classes": 2, "hidden": [8]})
    sent = [models.get_parameters(models.build(spec, s)) for s in range(3)]
    view = Transcript(tuple(Exchange(i + 1, 0, p, p) for i, p in enumerate(sent)), spec, Protocol("fedavg"), "client")
    x = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    people = Cohort(x, np.array([0, 1, 0, 1, 1]), np.arange(5).astype(str))
    client = Threat("client", knows=frozenset({"architecture", "target_records"}), nodes=(0,))
    found = find_attack("global_models").run(view, Records(people), None, 0, client).values
    model = models.build(spec)
    losses = [
        models.losses_of(model, models.to_tensors(p, model), torch.tensor(x), torch.tensor(people.y)).detach().numpy()
        for p in sent
    ]
    assert found == pytest.approx(losses[0] - (losses[1] + losses[2]) / 2, abs=1e-5)
    once = Transcript(view.exchanges[:1], spec, Protocol("fedavg"), "client")
    with pytest.raises(Unavailable):
        find_attack("global_models").run(once, Records(people), None, 0, client)


def test_three_positions_stand_in_one_report_and_the_server_sees_most() -> None:
    params = {"people": 400, "rounds": 6, "epochs": 6, "clients": 4, "hidden": 64, "learning_rate": 0.1}
    done = run(find("federated_synthesizer"), params, seed=3)
    found = {(f.attack.name, f.target): f for f in done.result.findings if f.rule.startswith("TB-MEMBERSHIP-5")}
    assert {k[0] for k in found} == {"update_product", "loss_threshold", "global_models"}
    server = found["update_product", "by the server"].excess
    assert isinstance(server, Estimate)
    assert server.low > 0
    risks = {f.risk for f in done.result.findings}
    assert {"singling_out", "linkability", "attribute_inference", "copying", "membership"} <= risks
    rules = [f.rule for f in done.result.findings]
    assert len(rules) == len(set(rules))
