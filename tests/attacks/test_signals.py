"""What a server sees of records: against loops over one record at a time, and what a sum leaves of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from scenarios.federated_membership import DECIDES, federated_membership
from testbed import models
from testbed.attacks.membership.signals import Signals, gradient_norms, signals
from testbed.attacks.membership.update_signals import standing_out
from testbed.attacks.registry import find
from testbed.core import Cohort, Exchange, ModelSpec, Protocol, Records, Threat, Transcript, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate, Unmeasured
from testbed.harness.run import run
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.local import one_thread
from testbed.subjects.federation.tap import summed

MLP = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [16]})
CNN = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [4, 8]})
MADE = ModelSpec("autoregressive", {"shape": [6], "classes": 2, "blocks": [2, 2, 2], "hidden": 8})
SERVER = Threat("server", knows=frozenset({"architecture", "target_records"}))


def people(n: int, seed: int = 0) -> Cohort:
    rng = keyed_rng(seed, "people")
    return Cohort(rng.random((n, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, n), np.arange(n).astype(str))


def recorded(spec: ModelSpec = MLP, clients: int = 5, **protocol: Any) -> Transcript:
    rules = Protocol(**{"kind": "fedavg", "batch_size": 4, "learning_rate": 0.1, "rounds": 3, **protocol})
    return Federation(spec, rules, 1).run([people(8 + i, i + 1) for i in range(clients)])


def gradients(spec: ModelSpec, parameters: Any, cohort: Cohort) -> list[dict[str, np.ndarray[Any, Any]]]:
    """One backward pass a record."""
    network = models.build(spec)
    found = []
    for i in range(len(cohort)):
        at = {k: v.requires_grad_() for k, v in models.to_tensors(parameters, network).items()}
        loss = models.losses_of(network, at, torch.tensor(cohort.x[i : i + 1]), torch.tensor(cohort.y[i : i + 1]))[0]
        made = torch.autograd.grad(loss, list(at.values()))
        found.append({k: g.double().numpy() for k, g in zip(at, made, strict=True)})
    return found


@pytest.mark.parametrize("spec", [MLP, CNN])
@pytest.mark.parametrize("kind", ["fedavg", "fedsgd"])
def test_signals_equal_a_loop_over_single_records(spec: ModelSpec, kind: str) -> None:
    view, asked = recorded(spec, 2, kind=kind), people(12)
    made = Signals(view, asked)
    for exchange in view.exchanges:
        assert exchange.sent is not None
        assert exchange.returned is not None
        at = exchange.round - 1, exchange.client
        update = {
            k: -np.asarray(v, float) if kind == "fedsgd" else np.asarray(v, float) - exchange.sent[k]
            for k, v in exchange.returned.items()
        }
        length = np.sqrt(sum((v**2).sum() for v in update.values()))
        for i, own in enumerate(gradients(spec, exchange.sent, asked)):
            product = -sum((own[k] * update[k]).sum() for k in own)
            norm = np.sqrt(sum((g**2).sum() for g in own.values()))
            assert made.product[at][i] == pytest.approx(product, rel=1e-3, abs=1e-5)
            assert made.norm[at][i] == pytest.approx(norm, rel=1e-4)
            assert made.cosine[at][i] == pytest.approx(product / norm / length, rel=1e-3, abs=1e-5)


def test_gradient_lengths_of_a_network_whose_layers_are_not_called() -> None:
    network = models.build(MADE, 3)
    x = torch.eye(2)[torch.tensor(keyed_rng(0, "x").integers(0, 2, (10, 3)))].reshape(10, 6)
    y = torch.zeros(10, dtype=torch.int64)
    parameters = models.get_parameters(network)
    loop = gradients(MADE, parameters, Cohort(x.numpy(), y.numpy(), np.arange(10).astype(str)))
    lengths = [np.sqrt(sum((g**2).sum() for g in own.values())) for own in loop]
    found = gradient_norms(network, models.to_tensors(parameters, network), x, y)
    assert found.numpy() == pytest.approx(np.array(lengths), rel=1e-4)


def test_one_computation_serves_all_attacks_on_a_question() -> None:
    view, question = recorded(), Records(people(10))
    assert signals(view, question) is signals(view, Records(people(10)))
    assert signals(view, question) is not signals(view, Records(people(11)))
    assert signals(view, question) is not signals(replace(view), question)


def test_standing_out_is_the_deviation_from_the_other_clients_by_hand() -> None:
    view = recorded()
    made = signals(view, Records(people(6)))
    suspected = np.array([0, 1, 2, 3, 4, 0])
    apart = standing_out(made, made.product, suspected)
    for i, client in enumerate(suspected):
        others = np.delete(made.product[1, :, i].astype(float), client)
        expected = (made.product[1, client, i] - others.mean()) / others.std(ddof=1)
        assert apart[1, i] == pytest.approx(expected, rel=1e-3)


def test_a_round_that_a_client_missed_is_left_out_for_it_alone() -> None:
    view = recorded()
    cut = tuple(replace(e, returned=None, status="dropped") if e.key == (2, 1) else e for e in view.exchanges)
    made = Signals(replace(view, exchanges=cut), people(6))
    assert np.isnan(made.product[1, 1]).all()
    assert not np.isnan(made.product[[0, 2]][:, 1]).any()
    for name in ("update_product", "update_cosine", "client_loss", "fedmia", "gradient_difference"):
        claim = find(name).run(replace(view, exchanges=cut), Records(people(6), np.ones(6, int)), None, 0, SERVER)
        assert np.isfinite(claim.values).all()


def test_a_sum_is_the_weighted_mean_that_the_next_round_starts_from() -> None:
    view = recorded()
    seen = summed(view)
    assert [e.key for e in seen.exchanges] == [(1, 0), (2, 0), (3, 0)]
    for now, after in zip(seen.exchanges, [*(e.sent for e in seen.exchanges[1:]), view.final], strict=True):
        assert now.returned is not None
        assert after is not None
        for name, values in after.items():
            assert now.returned[name] == pytest.approx(values, abs=1e-6)


def test_rounds_in_which_clients_were_sent_different_models_have_no_sum() -> None:
    view = recorded()
    first = view.exchanges[0]
    assert first.sent is not None
    other = replace(first, sent={k: v + 1 for k, v in first.sent.items()})
    assert [e.round for e in summed(replace(view, exchanges=(other, *view.exchanges[1:]))).exchanges] == [2, 3]


def test_attacks_that_compare_clients_say_what_a_sum_lacks() -> None:
    seen, question = summed(recorded()), Records(people(6), np.zeros(6, int))
    with pytest.raises(Unavailable, match="too_few_clients"):
        find("fedmia").run(seen, question, None, 0, SERVER)
    with pytest.raises(Unavailable, match="too_few_clients"):
        find("source_inference").run(seen, Records(people(6)), None, 0, SERVER)


def test_gradients_leave_no_client_model_to_look_at() -> None:
    with pytest.raises(Unavailable, match="no_local_model"):
        find("client_loss").run(recorded(kind="fedsgd"), Records(people(6), np.zeros(6, int)), None, 0, SERVER)


def test_a_source_is_inferred_where_records_are_learnt_by_heart() -> None:
    cohorts = [people(6, i + 1) for i in range(4)]
    rules = Protocol("fedavg", 2, local_epochs=20, learning_rate=0.1, rounds=2)
    view = Federation(MLP, rules, 1).run(cohorts)
    pooled = Cohort(*(np.concatenate([getattr(c, f) for c in cohorts]) for f in ("x", "y", "persons")))
    for signal in ("loss", "product", "cosine"):
        claim = find("source_inference").run(view, Records(pooled), None, 0, SERVER, {"signal": signal})
        assert (claim.clients == np.repeat(np.arange(4), 6)).mean() > 0.6


@pytest.mark.slow
def test_isolation_and_ascent_reach_the_same_clients_on_the_simulation_engine(tmp_path: Any) -> None:
    from testbed.attacks.membership.active import _ascend, _isolate

    parts = [people(8, i + 1) for i in range(2)]
    rules = Protocol("fedavg", 4, learning_rate=0.1, rounds=2)
    question = Records(people(6), np.array([0, 1, 0, 1, 0, 1]))
    for act in (_ascend, _isolate):
        seen = [
            Federation(MLP, rules, 1).run(parts, engine, act(question, None, keyed_rng(0), MLP), "x")
            for engine in ("in-process", "simulation")
        ]
        for one, other in zip(seen[0].exchanges, seen[1].exchanges, strict=True):
            same_as_first(one, other)
    first, second = (e for e in seen[0].exchanges if e.client == 1)
    assert first.returned is not None
    assert second.sent is not None
    assert all((second.sent[k] == v).all() for k, v in first.returned.items())


def test_a_malicious_client_answers_in_place_of_its_training_on_either_engine() -> None:
    from testbed.attacks.membership.active import _poison, moved_up

    parts = [people(8, i + 1) for i in range(3)]
    rules = Protocol("fedavg", 4, learning_rate=0.1, rounds=2)
    question = Records(people(6))
    act = replace(_poison(question, None, keyed_rng(0), MLP), nodes=(1,))
    seen = [Federation(MLP, rules, 1).run(parts, engine, act, "x") for engine in ("in-process", "simulation")]
    honest = Federation(MLP, rules, 1).run(parts)
    for one, other, plain in zip(*(s.exchanges for s in (*seen, honest)), strict=True):
        same_as_first(one, other)
        assert one.sent is not None
        assert one.returned is not None
        assert plain.returned is not None
        if one.client == 1:
            with one_thread():
                expected = moved_up(MLP, one.sent, people(6), 0.1)
            assert all((one.returned[k] == expected[k]).all() for k in expected)
        elif one.round == 1:
            assert all((one.returned[k] == plain.returned[k]).all() for k in one.returned)


def same_as_first(one: Exchange, other: Exchange) -> None:
    for left, right in ((one.sent, other.sent), (one.returned, other.returned)):
        assert left is not None
        assert right is not None
        assert all((left[k] == right[k]).all() for k in left)


@pytest.mark.parametrize("view", ["updates", "sum"])
def test_every_position_in_one_report(view: str) -> None:
    params = {"data": "heart", "members": 200, "controls": 200, "rounds": 4, "runs": 2, "view": view}
    found = {f.rule: f for f in run(federated_membership, params).result.findings}
    primary = [f for f in found.values() if f.primary]
    assert [f.rule for f in primary] == [DECIDES]
    beside = [f for f in found.values() if ", beside " in (f.target or "")]
    assert len(beside) == 28
    poisoned = {f.attack.name for f in beside if (f.target or "").endswith("beside global_models")}
    assert poisoned == {"client_gradient_ascent", "client_mislabelling"}
    for finding in beside:
        assert finding.excess == finding.measure or isinstance(finding.excess, Estimate | Unmeasured)
        if isinstance(finding.excess, Estimate):
            assert isinstance(finding.measure, Estimate)
            assert finding.excess.unit == "run"
            assert finding.excess.n == 2
    lacking = {f.attack.name for f in beside if isinstance(f.measure, Unmeasured)}
    assert ("fedmia" in lacking) == (view == "sum")
    source = next(f for f in found.values() if f.attack.name == "source_inference")
    assert isinstance(source.measure, Unmeasured) == (view == "sum")
