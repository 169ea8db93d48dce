"""The in-process engine against arithmetic done by hand, and its refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from testbed import models
from testbed.core import Act, Array, Cohort, ModelSpec, Parameters, Protocol, Threat
from testbed.core.errors import InputError, RunError, UsageError
from testbed.data.partition import partition
from testbed.defences.gaussian import gaussian
from testbed.defences.registry import find
from testbed.subjects.federation import compat
from testbed.subjects.federation.algorithms import strategy_for
from testbed.subjects.federation.apps import Ordered, batches, client_app, server_app
from testbed.subjects.federation.federation import Federation, by_party
from testbed.subjects.federation.tap import record, seen_by

SPEC = ModelSpec("mlp", {"shape": [3], "classes": 2, "hidden": [4]})


def people(n: int = 24, seed: int = 0) -> Cohort:
    rng = np.random.default_rng(seed)
    return Cohort(rng.random((n, 3), np.float32), rng.integers(0, 2, n), np.arange(n).astype(str))


def parts(clients: int = 3) -> list[Cohort]:
    return by_party(people(), np.arange(24) % clients)


def protocol(kind: str = "fedsgd", **more: object) -> Protocol:
    return replace(Protocol(kind, batch_size=4, learning_rate=0.5, rounds=2), **more)  # type: ignore[arg-type]


def gradient(parameters: Parameters, data: Cohort) -> dict[str, Array]:
    model = models.build(SPEC)
    given = {k: v.requires_grad_() for k, v in models.to_tensors(parameters, model).items()}
    loss = models.loss_of(model, given, torch.tensor(data.x), torch.tensor(data.y))
    return {k: g.numpy() for k, g in zip(given, torch.autograd.grad(loss, list(given.values())), strict=True)}


def test_fedsgd_is_the_mean_gradient_step_worked_out_by_hand() -> None:
    seen = Federation(SPEC, protocol(), 3).run(parts())
    first = [e for e in seen.exchanges if e.round == 1]
    assert [e.client for e in first] == [0, 1, 2]
    gradients = []
    for exchange, data in zip(first, parts(), strict=True):
        rows = next(batches(seen.protocol, 3, exchange.client, 1, len(data)))
        expected = gradient(exchange.sent or {}, data.take(rows))
        for name, value in expected.items():
            np.testing.assert_allclose((exchange.returned or {})[name], value, rtol=1e-4, atol=1e-7)
        gradients.append(expected)
    second = next(e for e in seen.exchanges if e.round == 2)
    for name, before in (first[0].sent or {}).items():
        stepped = before - 0.5 * np.mean([g[name] for g in gradients], axis=0)
        np.testing.assert_allclose((second.sent or {})[name], stepped, rtol=1e-4, atol=1e-6)


def test_fedavg_aggregates_by_the_number_of_records() -> None:
    uneven = [people().take(np.arange(0, 4)), people().take(np.arange(4, 24))]
    seen = Federation(SPEC, protocol("fedavg", rounds=1), 3).run(uneven)
    for name, value in (seen.final or {}).items():
        mean = np.average([(e.returned or {})[name] for e in seen.exchanges], axis=0, weights=[4, 20])
        np.testing.assert_allclose(value, mean, rtol=1e-5, atol=1e-7)


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    runs = [Federation(SPEC, protocol("fedavg"), seed).run(parts()) for seed in (1, 1, 2)]
    finals = [b"".join(v.tobytes() for v in (r.final or {}).values()) for r in runs]
    assert finals[0] == finals[1] != finals[2]


def test_fedsgd_batches_walk_through_all_records_once() -> None:
    rounds = [next(batches(protocol(), 1, 0, r, 8)) for r in (1, 2)]
    assert sorted(np.concatenate(rounds).tolist()) == list(range(8))


def test_fedavg_epochs_and_steps_are_counted() -> None:
    assert len(list(batches(protocol("fedavg", local_epochs=3), 1, 0, 1, 8))) == 6
    assert len(list(batches(protocol("fedavg", local_epochs=3, local_steps=4), 1, 0, 1, 8))) == 4


def failing(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    if message.metadata.message_type.startswith("train"):
        raise ValueError("patient 4711 has no record")
    return call_next(message, context)


def test_a_client_that_raises_fails_the_run_and_its_text_is_not_repeated() -> None:
    rules = replace(protocol(), clients=3)
    ordered = Ordered(strategy_for(rules), None)
    tap = record(ordered, SPEC, rules)
    with pytest.raises(RunError, match="TB-RUN-001") as caught:
        compat.run_in_process(server_app(tap, ordered, SPEC, rules, 0), client_app(parts(), rules, 0, [failing]), 3)
    assert "4711" not in str(caught.value)


def test_a_scenario_may_tolerate_dropout_and_the_transcript_says_who_failed() -> None:
    def sometimes(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        return (failing if context.node_config["partition-id"] == 1 else lambda m, c, n: n(m, c))(
            message, context, call_next
        )

    rules = replace(protocol(), clients=3)
    ordered = Ordered(strategy_for(rules), None, tolerate=True)
    tap = record(ordered, SPEC, rules)
    tap.partition_of = ordered.partition_of
    compat.run_in_process(server_app(tap, ordered, SPEC, rules, 0), client_app(parts(), rules, 0, [sometimes]), 3)
    status = {e.key: e.status for e in tap.transcript().exchanges}
    assert status[1, 1] == "error"
    assert status[1, 0] == "ok"


def test_a_client_cannot_write_into_the_servers_model() -> None:
    seen = Federation(SPEC, protocol(), 3).run(parts())
    with pytest.raises(ValueError, match="read-only"):
        next(iter((seen.exchanges[0].sent or {}).values()))[...] = 0


def test_what_is_crafted_for_one_client_reaches_that_client_alone() -> None:
    def craft(round_: int, client: int, given: Parameters) -> Parameters:
        return {k: v * 0 if client == 1 else v for k, v in given.items()}

    seen = Federation(SPEC, protocol(), 3).run(parts(), act=Act(craft=craft), actor="test")
    zero = {e.client: all(not v.any() for v in (e.sent or {}).values()) for e in seen.exchanges}
    assert zero == {0: False, 1: True, 2: False}
    assert seen.act == "test"


def test_a_client_position_sees_its_own_exchanges_alone() -> None:
    seen = Federation(SPEC, protocol(), 3).run(parts())
    mine = seen_by(seen, Threat("client", nodes=(2,)))
    assert {e.client for e in mine.exchanges} == {2}
    assert seen_by(seen, Threat("server")) is seen


def test_noise_has_the_stated_size_and_clipping_the_stated_norm() -> None:
    flat = [
        np.concatenate([v.ravel() for v in (e.returned or {}).values()])
        for e in Federation(SPEC, protocol(), 3, (gaussian(noise=0.0, clip=0.01),)).run(parts()).exchanges
    ]
    assert max(float(np.linalg.norm(f)) for f in flat) == pytest.approx(0.01, rel=1e-3)
    wide = ModelSpec("mlp", {"shape": [3], "classes": 2, "hidden": [2000]})
    noisy = Federation(wide, protocol(rounds=1), 3, (gaussian(noise=2.0, clip=0.5),)).run(parts())
    values = np.concatenate([v.ravel() for v in (noisy.exchanges[0].returned or {}).values()])
    assert float(values.std()) == pytest.approx(1.0, rel=0.05)


def test_a_client_without_records_is_refused() -> None:
    with pytest.raises(UsageError, match="TB-SPLIT-012"):
        Federation(SPEC, protocol()).run([*parts(), people().take(np.arange(0))])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="TB-RUN-004"):
        Federation(SPEC, protocol()).run(parts(), "mainframe")
    with pytest.raises(UsageError, match="TB-DEFENCE-001"):
        Federation(SPEC, protocol(), 0, find("prayer")()).run(parts())
    with pytest.raises(UsageError, match="TB-MODEL-001"):
        models.build(ModelSpec("resnet152"))
    with pytest.raises(UsageError, match="TB-MODEL-002"):
        models.build(ModelSpec("mlp", {"depth": 3}))


def test_parameters_that_do_not_fit_or_are_not_finite_are_refused() -> None:
    model = models.build(SPEC)
    good = models.get_parameters(model)
    name = next(iter(good))
    with pytest.raises(InputError, match="TB-MODEL-011"):
        models.to_tensors({k: v for k, v in good.items() if k != name}, model)
    with pytest.raises(InputError, match="TB-MODEL-004"):
        models.to_tensors({**good, name: np.full_like(good[name], np.nan)}, model)


def test_partitions() -> None:
    labels = np.repeat(np.arange(4), 50)
    rng = np.random.default_rng(0)
    assert np.bincount(partition("iid", labels, 5, rng)).tolist() == [40] * 5
    skewed = partition("dirichlet", labels, 5, rng, alpha=0.05)
    shares = np.array([np.bincount(labels[skewed == c], minlength=4) for c in range(5)])
    assert shares.max(0).mean() / 50 > 0.7  # a class sits mostly with one client
    assert (np.bincount(skewed, minlength=5) > 0).all()
    sites = np.repeat(["big", "small", "middle"], [120, 20, 60])
    assert np.bincount(partition("site", labels, 2, rng, sites=sites) + 1).tolist() == [20, 120, 60]
    for kind, clients in (("site", 2), ("by mood", 2), ("iid", 1000)):
        with pytest.raises(UsageError, match="TB-SPLIT"):
            partition(kind, labels, clients, rng)
