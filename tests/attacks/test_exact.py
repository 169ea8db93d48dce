"""Exact attacks on batches: what they return is right, and their certificate says no more than is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from testbed import judge, models
from testbed.attacks.inversion import fishing, loki
from testbed.attacks.inversion.fedavg_unrolling import (
    _merged,
    _plan,  # pyright: ignore[reportPrivateUsage]
)
from testbed.attacks.inversion.spear import unmix
from testbed.attacks.inversion.trap_weights import act, agreeing
from testbed.attacks.inversion.updates import first_linear, gradients, steps
from testbed.attacks.registry import find
from testbed.core import Batch, Cohort, Exchange, ModelSpec, Protocol, Split, Threat, Transcript, Unavailable
from testbed.data import load_images
from testbed.findings.plan import Plan
from testbed.harness.federation.trial import Trial
from testbed.harness.run import run
from testbed.harness.scenario import find as find_scenario
from testbed.judge import image_quality
from testbed.subjects.federation.federation import Federation
from tests.attacks.test_inversion import digits, gradient_of

EXACT_DB = 60.0
FISHER = Threat(
    "server", malicious=True, knows=frozenset({"architecture", "auxiliary", "batch_size", "hyper_parameters"})
)
SERVER = Threat("server", knows=frozenset({"architecture", "batch_size", "hyper_parameters"}))


def handwritten(n: int, seed: int) -> Cohort:
    images = load_images("mnist5k")
    rows = np.random.default_rng(seed).permutation(len(images.x))[:n]
    return Cohort(images.x[rows], images.y[rows], rows.astype(str))


def deep(hidden: int) -> ModelSpec:
    return ModelSpec("mlp", {"shape": [1, 28, 28], "classes": 10, "hidden": [hidden, hidden]})


def exact(rebuilt: np.ndarray, people: Cohort) -> float:
    """The share of people whose record is among those rebuilt."""
    return sum(image_quality.psnr(guess, record) > EXACT_DB for record, guess in judge.pairs(rebuilt, people)) / len(
        people
    )


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_small_batch_comes_back_exactly_and_certified(size: int) -> None:
    people = handwritten(size, size)
    view = gradient_of(deep(200), people)
    claim = find("spear").run(view, Batch(((1, 0),), (1, 28, 28), 10), None, 0, SERVER)
    assert exact(claim.batches[1, 0], people) == 1.0
    assert claim.certificate[1, 0] == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_a_certificate_is_never_wrong_where_neurons_are_few(seed: int) -> None:
    people = handwritten(4, 50 + seed)
    try:
        claim = find("spear").run(gradient_of(deep(24), people), Batch(((1, 0),), (1, 28, 28), 10), None, seed, SERVER)
    except Unavailable:
        return  # too few neurons to unmix this batch; it is said, and nothing is claimed
    if claim.certificate[1, 0] == 1.0:
        assert exact(claim.batches[1, 0], people) == 1.0


def test_one_record_twice_is_one_record() -> None:
    people = handwritten(3, 7).take(np.array([0, 1, 2, 2]))
    claim = find("spear").run(gradient_of(deep(128), people), Batch(((1, 0),), (1, 28, 28), 10), None, 0, SERVER)
    assert len(claim.batches[1, 0]) == 3
    assert exact(claim.batches[1, 0], people.take(np.arange(3))) == 1.0


def test_noise_is_not_certified() -> None:
    view = gradient_of(deep(128), handwritten(4, 3))
    (exchange,) = view.exchanges
    rng = np.random.default_rng(0)
    noise = {k: rng.normal(0, 0.01, v.shape).astype(np.float32) for k, v in (exchange.returned or {}).items()}
    weight, bias = first_linear({k: v.astype(float) for k, v in noise.items()}, 784)
    layer = first_linear({k: np.asarray(v, float) for k, v in (exchange.sent or {}).items()}, 784)
    found = unmix(weight, bias, layer, rng, 4096, 4)
    assert found is None or found[1] < 0.9


def test_a_layer_in_which_nothing_fired_is_said_to_tell_nothing() -> None:
    view = gradient_of(deep(128), handwritten(2, 3))
    (exchange,) = view.exchanges
    silent = {k: np.zeros_like(v) for k, v in (exchange.returned or {}).items()}
    with pytest.raises(Unavailable):
        find("spear").run(
            Transcript((Exchange(1, 0, exchange.sent, silent),), view.model, view.protocol),
            Batch(((1, 0),), (1, 28, 28), 10),
            None,
            0,
            SERVER,
        )


@pytest.mark.parametrize("shift", [0.0, -0.5])
def test_every_record_that_two_neurons_caught_alone_is_read_also_from_inputs_below_zero(shift: float) -> None:
    people, auxiliary = digits(430).take(np.arange(30)), digits(430).take(np.arange(30, 430))
    moved = [Cohort(p.x + np.float32(shift), p.y, p.persons) for p in (people, auxiliary)]
    spec = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [500]})
    question = Batch(((1, 0),), (1, 8, 8), 10, low=shift, high=1 + shift)
    made = act(question, moved[1], np.random.default_rng(0), spec)
    assert made.craft is not None
    first = models.get_parameters(models.build(spec, 0))
    sent = dict(made.craft(1, 0, first))
    assert all(np.array_equal(sent[k], made.craft(2, 1, first)[k]) for k in sent)
    seen = gradient_of(spec, moved[0], sent)
    weight, bias = first_linear({k: v.astype(float) for k, v in (seen.exchanges[0].returned or {}).items()}, 64)
    rebuilt = agreeing(weight, bias, 1e-4)
    layer = first_linear({k: np.asarray(v, float) for k, v in sent.items()}, 64)
    fires = moved[0].x.reshape(30, -1) @ layer[0].T + layer[1] > 1e-6
    alone = fires[:, fires.sum(0) == 1].sum(1) >= 2
    assert alone.mean() > 0.5
    nearest = np.array([np.abs(rebuilt - r.reshape(-1)).max(1).min() for r in moved[0].x])
    assert (nearest[alone] < 1e-3).all()
    others = np.array([np.abs(moved[0].x.reshape(30, -1) - r).max(1).min() for r in rebuilt])
    assert (others < 1e-2).all()  # nothing is claimed that is nobody


def test_a_layer_that_takes_a_part_of_the_record_cannot_be_trapped() -> None:
    spec = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [4]})
    made = act(Batch((), (1, 8, 8), 10), digits(20), np.random.default_rng(0), spec)
    assert made.craft is not None
    with pytest.raises(Unavailable):
        made.craft(1, 0, models.get_parameters(models.build(spec, 0)))


def imprinted(clients: int, size: int, protocol: Protocol, **params: float) -> tuple[Transcript, list[Cohort]]:
    """A federation in which loki acts, and who its clients hold."""
    spec = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [16]})
    people = digits(clients * size + 400)
    parts = [people.take(np.arange(i * size, (i + 1) * size)) for i in range(clients)]
    asked = Batch(((1, 0),), (1, 8, 8), 10)
    auxiliary = people.take(np.arange(clients * size, len(people)))
    made = loki.act(asked, auxiliary, np.random.default_rng(0), spec, bins=128, clients=clients, **params)  # type: ignore[arg-type]
    return Federation(spec, replace(protocol, clients=clients), 0).run(parts, "in-process", made, "loki"), parts


def test_a_sum_of_clients_is_read_as_if_each_had_sent_its_own() -> None:
    view, parts = imprinted(3, 8, Protocol("fedsgd", 8, learning_rate=0.1, rounds=1))
    answers = [e.returned or {} for e in view.exchanges]
    mean = {k: np.mean([a[k] for a in answers], 0) for k in answers[0]}
    summed = replace(view, exchanges=(replace(view.exchanges[0], returned=mean),))
    asked = Batch(((1, 0),), (1, 8, 8), 10)
    claim = find("loki").run(summed, asked, None, 0, FISHER).batches[1, 0]
    together = Cohort(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("x", "y", "persons")))
    assert exact(claim, together) > 0.7
    for client, people in enumerate(parts):
        key = Batch(((1, client),), (1, 8, 8), 10)
        alone = find("loki").run(view, key, None, 0, FISHER).batches[1, client]
        assert exact(alone, people) == exact(claim, people)


def test_local_steps_leave_records_in_their_windows() -> None:
    protocol = Protocol("fedavg", 4, local_epochs=3, learning_rate=0.1, rounds=1)
    view, (people,) = imprinted(1, 16, protocol, learning_rate=0.1, steps=12)
    claim = find("loki").run(view, Batch(((1, 0),), (1, 8, 8), 10), None, 0, FISHER).batches[1, 0]
    found = [image_quality.psnr(g, x) for x, g in judge.pairs(claim, people)]
    assert np.sum(np.array(found) > 35) >= 10


def test_values_beyond_the_assumed_range_are_kept_as_they_were_read() -> None:
    view, (people,) = imprinted(1, 8, Protocol("fedsgd", 8, learning_rate=0.1, rounds=1))
    asked = Batch(((1, 0),), (1, 8, 8), 10, low=0.0, high=float(people.x.max()) - 0.03)
    claim = find("loki").run(view, asked, None, 0, FISHER).batches[1, 0]
    assert claim.max() > asked.high
    assert exact(claim, people) > 0.7


def test_of_a_batch_of_64_those_left_to_make_the_gradient_are_read_and_nobody_else() -> None:
    images, spec = load_images("mnist5k"), deep(200)
    asked, read, left, claimed = Batch(((1, 0),), (1, 28, 28), 10), 0, 0, 0
    for seed in range(4):
        rows = np.random.default_rng(seed).permutation(len(images.x))
        batch, auxiliary = (Cohort(images.x[r], images.y[r], r.astype(str)) for r in (rows[:64], rows[64:2064]))
        made = fishing.act(asked, auxiliary, np.random.default_rng(seed), spec, target=3, batch=64)
        assert made.craft is not None
        first = models.get_parameters(models.build(spec, seed))
        sent = dict(made.craft(1, 0, first))
        assert [k for k in sent if not np.array_equal(sent[k], first[k])] == list(sent)[-2:]  # the last layer alone
        seen = gradient_of(spec, batch, sent)
        view = Transcript(seen.exchanges, seen.model, seen.protocol, act="fishing", memory=made.remember)
        claim = find("fishing").run(view, asked, auxiliary, seed, FISHER)
        network = models.build(spec)
        with torch.no_grad():
            logits = torch.func.functional_call(network, models.to_tensors(sent, network), (torch.tensor(batch.x),))
        chance = torch.softmax(logits, 1)[:, 3].numpy()
        left += int((np.abs(chance - (batch.y == 3)) > 1e-5).sum())
        read += round(exact(claim.batches[1, 0], batch) * 64)
        claimed += len(claim.batches[1, 0])
        assert (claim.labels[1, 0] == 3).all()
    assert 0 < read <= left <= 8 * 4
    assert read >= 0.7 * left
    assert claimed - read <= 0.2 * claimed


def test_local_steps_are_counted_as_the_client_counts_them() -> None:
    assert steps(Protocol("fedavg", 4, local_epochs=3), 10) == 6  # two full batches of four, three times
    assert steps(Protocol("fedavg", 4, local_epochs=3, local_steps=5), 10) == 5
    assert steps(Protocol("fedavg", None, local_epochs=2), 10) == 2
    assert steps(Protocol("fedavg", 4, local_steps=3), None) == 3
    assert [len(e) for e in _plan(Protocol("fedavg", 4, local_epochs=3), 10, 5)] == [2, 2, 1]


def test_copies_of_a_record_in_several_epochs_are_matched_within_their_class() -> None:
    rng = np.random.default_rng(0)
    first, y = rng.random((6, 1, 8, 8)), np.array([0, 0, 1, 1, 2, 2])
    merged = _merged(np.stack([first, first[[1, 0, 3, 2, 5, 4]]]), y)
    assert merged == pytest.approx(first)


def test_training_again_finds_more_than_one_gradient_would() -> None:
    quality: dict[str, list[float]] = {}
    spec = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [8, 16]})
    people = digits(340)
    groups = [people.take(np.arange(i * 12, (i + 1) * 12)) for i in range(3)]
    split = Split(*groups, np.arange(12) % 3, people.take(np.arange(36, 340)))
    protocol = Protocol("fedavg", 4, local_epochs=4, learning_rate=0.5, rounds=1, clients=3)
    plan = Plan(
        rule="TB-RECONSTRUCTION-001",
        risk="reconstruction",
        attack="cosine_tv",
        metric="line_up_top1",
        unit="batch",
        primary=True,
    )
    made = Trial(split, Federation(spec, protocol, 0), SERVER, (plan,)).record("in-process")
    held = made.truth.batches["true"]
    question = Batch(tuple(held), (1, 8, 8), 10, tuple(len(p) for p in held.values()))
    for name in ("cosine_tv", "fedavg_unrolling"):
        claim = find(name).run(made.views["true"], question, groups[2], 0, SERVER, {"iterations": 80})
        quality[name] = [
            float(np.mean([image_quality.psnr(g, x) for x, g in judge.pairs(claim.batches[k], p)]))
            for k, p in held.items()
        ]
    assert np.mean(quality["fedavg_unrolling"]) > np.mean(quality["cosine_tv"]) + 3


def test_a_gradient_has_no_local_training_to_repeat() -> None:
    view = gradient_of(ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [16]}), digits(2))
    assert len(list(gradients(view, Batch(((1, 0),), (1, 8, 8), 10)))) == 1
    with pytest.raises(Unavailable):
        find("fedavg_unrolling").run(view, Batch(((1, 0),), (1, 8, 8), 10, (2,)), None, 0, SERVER)


@pytest.mark.parametrize(
    ("scenario", "params"),
    [
        ("curious_server", {"attack": "spear", "batch": 4, "clients": 2, "rounds": 3, "data": "mnist5k"}),
        ("malicious_server", {"attack": "trap_weights", "batch": 8, "clients": 2, "rounds": 3, "data": "digits"}),
        ("malicious_server", {"attack": "loki", "batch": 16, "clients": 2, "rounds": 5, "epochs": 2, "data": "digits"}),
        ("malicious_server", {"attack": "fishing", "batch": 16, "clients": 2, "rounds": 10, "data": "digits"}),
    ],
)
def test_an_exact_attack_reports_an_excess(scenario: str, params: dict[str, object]) -> None:
    found = run(find_scenario(scenario), params, seed=1).result.findings[0]
    assert found.attack.name == params["attack"]
    assert getattr(found.excess, "low", -1) > 0
