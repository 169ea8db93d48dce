"""Reconstructions against what can be worked out: exact where the attack claims it, at chance where it must be."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch

from testbed import models
from testbed.attacks.inversion.aggregate_difference import left_over
from testbed.attacks.inversion.analytic_linear import by_bias, solve
from testbed.attacks.inversion.gradient_matching import Task, cosine_distance, tasks, total_variation, total_variations
from testbed.attacks.inversion.imprint import BIAS, WEIGHT, act, read_bins
from testbed.attacks.inversion.labels import label_counts
from testbed.attacks.inversion.see_through import _aligned  # pyright: ignore[reportPrivateUsage]
from testbed.attacks.inversion.updates import first_linear, gradients
from testbed.attacks.registry import find
from testbed.core import Batch, Cohort, Exchange, ModelSpec, Protocol, Threat, Transcript, Unavailable
from testbed.data import load_images
from testbed.findings.schema import Estimate
from testbed.harness.run import run
from testbed.harness.scenario import find as find_scenario
from testbed.judge.image_quality import psnr
from testbed.judge.reconstructions import pairs
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.tap import seen_by

RNG = np.random.default_rng(0)


def digits(n: int) -> Cohort:
    images = load_images("digits")
    rows = np.random.default_rng(5).permutation(len(images.x))[:n]
    return Cohort(images.x[rows], images.y[rows], rows.astype(str))


def gradient_of(spec: ModelSpec, people: Cohort, sent: dict[str, np.ndarray] | None = None) -> Transcript:
    """One FedSGD exchange on these people."""
    model = models.build(spec, 0)
    sent = sent or models.get_parameters(model)
    tensors = {k: v.requires_grad_() for k, v in models.to_tensors(sent, model).items()}
    loss = models.loss_of(model, tensors, torch.tensor(people.x), torch.tensor(people.y))
    grads = torch.autograd.grad(loss, list(tensors.values()))
    returned = {k: g.numpy() for k, g in zip(tensors, grads, strict=True)}
    rules = Protocol("fedsgd", len(people), learning_rate=0.1, rounds=1, clients=1)
    return Transcript((Exchange(1, 0, sent, returned),), spec, rules)


MLP = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [32]})


def test_the_input_is_the_ratio_of_the_two_gradients() -> None:
    x, neurons = np.array([0.2, 0.7, 0.0]), np.array([0.5, 0.0, -2.0])
    for read in (solve, by_bias):
        assert read(np.outer(neurons, x), neurons) == pytest.approx(x)
        assert read(np.zeros((3, 3)), np.zeros(3)) is None
        assert read(np.outer(neurons, x), np.zeros(3)) is None  # without a bias gradient the length is unknown


def test_noise_shrinks_what_is_divided_by_a_noisy_bias_and_not_the_singular_vector() -> None:
    # |x| = 4, |dL/db| = 1: noise of .05 on each of 64 neurons adds 64 * .05^2 = .16 to a squared bias of 1.
    rng = np.random.default_rng(0)
    x, neurons = np.full(16, 1.0), np.full(64, 1 / 8)
    lengths: dict[str, list[float]] = {"solve": [], "by_bias": []}
    for _ in range(200):
        noisy = np.outer(neurons, np.append(x, 1.0)) + 0.05 * rng.normal(size=(64, 17))
        for read in (solve, by_bias):
            found = read(noisy[:, :-1], noisy[:, -1])
            assert found is not None
            lengths[read.__name__].append(float(found @ x / (x @ x)))
    assert np.mean(lengths["by_bias"]) == pytest.approx(1 / 1.16, abs=0.01)
    assert np.mean(lengths["solve"]) == pytest.approx(1.0, abs=0.01)


def test_a_batch_of_one_comes_back_with_an_error_below_a_ten_thousandth() -> None:
    done = run(find_scenario("curious_server"), {"clients": 2, "rounds": 5}, seed=8)
    found = done.result.findings[0]
    assert isinstance(found.measure, Estimate)
    assert found.measure.value == 1.0
    for person in range(3):
        people = digits(10).take([person])
        threat = Threat("server", knows=frozenset({"architecture"}))
        claim = find("analytic_linear").run(gradient_of(MLP, people), Batch(((1, 0),), (1, 8, 8), 10), None, 0, threat)
        assert np.abs(claim.batches[1, 0] - people.x).max() < 1e-4


@pytest.mark.usefixtures("few_answers")
def test_noise_instead_of_the_update_gives_nothing() -> None:
    params = {"clients": 2, "rounds": 20, "defence": "random_update"}
    found = run(find_scenario("curious_server"), params, seed=8).result.findings[0]
    assert isinstance(found.measure, Estimate)
    assert found.measure.low <= 1 / 100
    assert found.excess.low <= 0  # type: ignore[union-attr]
    assert found.positive_control.value == 1.0  # type: ignore[union-attr]


def test_a_layer_that_takes_a_part_of_the_record_is_not_used() -> None:
    with pytest.raises(Unavailable):
        first_linear({"a.weight": np.zeros((4, 7)), "a.bias": np.zeros(4)}, 64)


def test_total_variation_pads_nothing() -> None:
    # A picture that rises by one step a column: no border adds to it.
    ramp = torch.arange(4.0).repeat(4, 1)[None, None]
    assert float(total_variation(ramp)) == pytest.approx(1.0)
    assert float(total_variation(torch.ones(1, 1, 5, 5))) == 0.0


def test_cosine_distance_is_over_all_parameters_at_once() -> None:
    one = [torch.tensor([1.0, 0.0]), torch.tensor([0.0])]
    assert float(cosine_distance(one, [2 * t for t in one])) == pytest.approx(0.0)
    assert float(cosine_distance(one, [torch.tensor([0.0, 0.0]), torch.tensor([3.0])])) == pytest.approx(1.0)
    # Layer by layer these agree; together they do not.
    other = [torch.tensor([1.0, 0.0]), torch.tensor([1.0])]
    assert float(cosine_distance(one, other)) == pytest.approx(1 - 1 / math.sqrt(2))


def test_a_finished_reconstruction_is_better_than_where_it_started() -> None:
    people = digits(1)
    spec = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [4, 8]})
    threat = Threat("server", knows=frozenset({"architecture", "batch_size"}))
    question = Batch(((1, 0),), (1, 8, 8), 10, (1,))
    errors = [
        float(
            np.abs(
                find("cosine_tv")
                .run(gradient_of(spec, people), question, None, 0, threat, {"iterations": n})
                .batches[1, 0]
                - people.x
            ).mean()
        )
        for n in (1, 150)
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("size", [1, 8, 32])
def test_label_counts_of_an_untrained_network_are_right(size: int) -> None:
    # A peer inverts the sign: most of the mass then goes to classes that are not in the batch.
    people = digits(size)
    seen = gradient_of(MLP, people)
    model = models.build(MLP, 0)
    parameters = models.to_tensors(seen.exchanges[0].sent or {}, model)
    bias = list((seen.exchanges[0].returned or {}).values())[-1]
    counts = label_counts(model, parameters, bias, size, torch.tensor(digits(300).x))
    assert counts.sum() == size
    wrong = np.abs(counts - np.bincount(people.y, minlength=10)).sum() / 2
    assert wrong <= max(0, size // 16)


@pytest.mark.parametrize("size", [1, 6, 12])
def test_every_record_that_is_alone_in_its_bin_is_read_exactly(size: int) -> None:
    people, auxiliary = digits(300 + size).take(np.arange(size)), digits(300 + size).take(np.arange(size, 300 + size))
    question = Batch(((1, 0),), (1, 8, 8), 10)
    made = act(question, auxiliary, RNG, MLP, bins=64)
    assert made.model is not None
    assert made.craft is not None
    sent = made.craft(1, 0, models.get_parameters(models.build(made.model, 0)))
    seen = gradient_of(made.model, people, dict(sent))
    returned = seen.exchanges[0].returned or {}
    rebuilt = read_bins(returned[WEIGHT].astype(float), returned[BIAS].astype(float), question, 1e-3)
    brightness = people.x.reshape(size, -1).mean(1)
    bins = np.searchsorted(made.remember["edges"], brightness)
    alone = [i for i in range(size) if (bins == bins[i]).sum() == 1 and bins[i] > 0]
    assert alone
    for i in alone:
        assert min(np.abs(r - people.x[i]).max() for r in rebuilt) < 1e-3


def test_the_others_gradient_is_what_is_left_of_the_step() -> None:
    before, mine, theirs = np.array([1.0, 2.0]), np.array([0.3, -0.1]), np.array([-0.5, 0.4])
    after = before - 0.1 * (mine + theirs) / 2
    view = Transcript(
        (Exchange(1, 0, {"w": before}, {"w": mine}), Exchange(2, 0, {"w": after}, {"w": mine})),
        None,
        Protocol("fedsgd", 1, learning_rate=0.1, rounds=2, clients=2),
        "client",
    )
    found = left_over(view)
    assert found[1][1]["w"] == pytest.approx(theirs)
    assert 2 not in found  # the model after the last round was not seen


@pytest.mark.parametrize("kind", ["fedsgd", "fedavg"])
@pytest.mark.parametrize(("clients", "colluding"), [(2, (0,)), (4, (0, 1, 3)), (4, (1,))])
def test_what_colluding_clients_leave_is_the_mean_of_the_others(
    kind: Literal["fedsgd", "fedavg"], clients: int, colluding: tuple[int, ...]
) -> None:
    protocol = Protocol(kind, 4, local_epochs=2, learning_rate=0.1, rounds=2, clients=clients)
    people = digits(8 * clients)
    parts = [people.take(np.arange(i, 8 * clients, clients)) for i in range(clients)]
    everything = Federation(MLP, protocol, 0).run(parts)
    found = left_over(seen_by(everything, Threat("client", nodes=colluding)))
    assert set(found) == {1, 2}
    for round_, (sent, rest) in found.items():
        answers = [e.returned for e in everything.exchanges if e.round == round_ and e.client not in colluding]
        for name, value in rest.items():
            there = np.mean([np.asarray((a or {})[name], np.float64) for a in answers], axis=0)
            scale = np.abs(there - (sent[name] if kind == "fedavg" else 0)).max()
            assert np.abs(value - there).max() <= 3e-5 * max(scale, 1e-2)


@pytest.mark.parametrize("kind", ["fedsgd", "fedavg"])
def test_clients_of_unequal_size_are_weighted_as_the_server_weights_them(kind: Literal["fedsgd", "fedavg"]) -> None:
    people, sizes = digits(28), (4, 8, 16)
    ends = np.cumsum(sizes)
    parts = [people.take(np.arange(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
    protocol = Protocol(kind, 4, learning_rate=0.1, rounds=1, clients=3)
    everything = Federation(MLP, protocol, 0).run(parts)
    mine = seen_by(everything, Threat("client", nodes=(0,)))
    others = [e.returned or {} for e in everything.exchanges if e.client != 0]
    for examples, right in ((28, True), (0, False)):
        ((_, rest),) = left_over(mine, examples).values()
        apart = max(
            np.abs(v - np.average([o[k].astype(float) for o in others], 0, (8, 16))).max() for k, v in rest.items()
        )
        assert bool(apart < 1e-5) == right
    assert not left_over(mine, 4)  # a client that holds everything has nobody to read


def test_a_client_of_two_reads_the_other_like_the_server_also_from_weights() -> None:
    params = {"clients": 2, "rounds": 3, "batch": 4, "epochs": 1, "reader": "spear", "hidden": 200, "data": "mnist5k"}
    found = run(find_scenario("curious_client"), params, seed=1).result.findings
    assert isinstance(found[0].measure, Estimate)
    assert found[0].measure.value == 1.0
    params = {"clients": 3, "colluding": 2, "rounds": 3, "data": "digits"}
    found = run(find_scenario("curious_client"), params, seed=1).result.findings
    assert isinstance(found[0].measure, Estimate)
    assert found[0].measure.value == 1.0


def test_the_change_of_weights_is_a_gradient_up_to_its_scale() -> None:
    sent, returned = {"w": np.array([1.0])}, {"w": np.array([0.8])}
    view = Transcript((Exchange(1, 0, sent, returned),), None, Protocol("fedavg", 1, local_steps=2, learning_rate=0.1))
    ((_, _, gradient),) = gradients(view, Batch(((1, 0),), (1,), 2))
    assert gradient["w"] == pytest.approx([1.0])


def test_positions_stand_beside_each_other_in_one_report() -> None:
    for name in ("malicious_server", "curious_client"):
        found = run(find_scenario(name), {"data": "digits", "clients": 2, "rounds": 3}, seed=2).result.findings
        assert [f.primary for f in found] == [True, False]
        assert "by the server" in (found[1].target or "")


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
def test_restarts_side_by_side_match_what_each_would_alone(norm: str) -> None:
    spec = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 3, "channels": [4], "norm": norm})
    task = matched(spec, 2)
    x = torch.rand(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    alone = torch.stack([task.distance(one) for one in x])
    assert torch.allclose(task.distances(x), alone, atol=1e-5)
    assert torch.allclose(total_variations(x), torch.stack([total_variation(one) for one in x]))


def matched(spec: ModelSpec, size: int) -> Task:
    """The task of matching the gradient of `size` random records."""
    model = models.build(spec, 0)
    sent = models.get_parameters(model)
    shape, classes = models.input_of(spec)
    x, y = torch.rand(size, *shape, generator=torch.Generator().manual_seed(0)), torch.arange(size) % classes
    models.record_losses(model, model(x), x, y).mean().backward()
    gradient = {k: p.grad.numpy() for k, p in model.named_parameters() if p.grad is not None}
    view = Transcript((Exchange(1, 0, sent, gradient),), spec, Protocol("fedsgd", size, rounds=1, clients=1))
    question = Batch(((1, 0),), shape, classes, (size,), (y.numpy(),))
    return next(tasks(view, question, None, np.random.default_rng(0)))


def test_second_order_matching_works_on_smooth_networks_of_one_record() -> None:
    spec = ModelSpec("lenet", {"shape": [1, 8, 8], "classes": 4, "channels": 8})
    model = models.build(spec, 0)
    sent = models.get_parameters(model)
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    models.record_losses(model, model(x), x, torch.tensor([2])).mean().backward()
    gradient = {k: p.grad.numpy() for k, p in model.named_parameters() if p.grad is not None}
    view = Transcript((Exchange(1, 0, sent, gradient),), spec, Protocol("fedsgd", 1, rounds=1, clients=1))
    knows = Threat("server", knows=frozenset({"architecture", "batch_size"}))
    claim = find("deep_leakage").run(view, Batch(((1, 0),), (1, 8, 8), 4, (1,)), None, 0, knows)
    assert claim.labels[1, 0].tolist() == [2]
    assert psnr(claim.batches[1, 0][0], x[0].numpy()) > 25


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
def test_a_residual_network_has_twenty_layers_and_takes_odd_sizes(norm: str) -> None:
    model = models.build(ModelSpec("resnet20", {"shape": [3, 15, 15], "classes": 5, "norm": norm, "width": 4}), 0)
    assert model(torch.rand(2, 3, 15, 15)).shape == (2, 5)
    weighted = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(weighted) == 20


def test_statistics_of_others_tell_what_a_normalisation_hides() -> None:
    people = digits(220)
    spec = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [8, 16], "norm": "batch"})
    question = Batch(((1, 0),), (1, 8, 8), 10, (4,))
    knows = Threat("server", knows=frozenset({"architecture", "batch_size", "auxiliary"}))
    gained: list[float] = []
    for i in range(3):
        group, others = people.take(np.arange(4 * i, 4 * i + 4)), people.take(np.arange(12, 220))
        view = gradient_of(spec, group)
        quality = [
            np.mean([psnr(g, x) for x, g in pairs(claim.batches[1, 0], group)])
            for name in ("cosine_tv", "see_through")
            for claim in [find(name).run(view, question, others, 0, knows, {"iterations": 120})]
        ]
        gained.append(float(quality[1] - quality[0]))
    assert np.mean(gained) > 3


def test_searches_are_drawn_to_what_they_agree_on_whatever_order_they_hold_it_in() -> None:
    rng = np.random.default_rng(0)
    one = torch.tensor(rng.random((4, 1, 3, 3)))
    swapped = one[[1, 0, 3, 2]] + 0.01
    y = torch.tensor([0, 0, 1, 1])
    centre = _aligned(torch.stack([one, swapped]), y)
    assert torch.allclose(centre[0], one + 0.005)
    assert torch.allclose(centre[1], one[[1, 0, 3, 2]] + 0.005)
