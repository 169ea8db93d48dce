"""What each defence does to an update, worked out by hand or by its own definition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.serverapp.strategy import FedAvg
from torch import nn

from testbed.core import Array, Cohort, ModelSpec, Protocol
from testbed.core.defence import Exposure, before
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.defences import named
from testbed.defences.adaptive_clipping import split
from testbed.defences.updates import flat
from testbed.subjects.federation.aggregation import Aggregation
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.federation import ruled as ruled_protocol
from testbed.subjects.federation.local import gradient
from tests.conformance.defences import sends, update_of

UPDATE = {"w": np.array([[3.0, -0.02, 0.001], [0.5, -4.0, 0.0]], np.float32)}


def sent(text: str, update: Any = UPDATE, seed: int = 0) -> Array:
    (one,) = named.configured(text)
    return update_of(sends(one, update, seed=seed))["w"]


def test_rules_on_updates_by_hand() -> None:
    assert sent("clip:1") == pytest.approx(UPDATE["w"] / np.sqrt(9 + 0.0004 + 1e-6 + 0.25 + 16), rel=1e-5)
    assert sent("clip:100") == pytest.approx(UPDATE["w"])
    assert sent("topk:0.5").ravel().tolist() == [3.0, 0, 0, 0.5, -4.0, 0]
    assert sent("sign_only:2").ravel().tolist() == [2, -2, 2, 2, -2, 0]
    # The 50th percentile of the absolute values 0, .001, .02, .5, 3, 4 is .26.
    assert sent("percentile:50,0.01").ravel() == pytest.approx([0.01, 0, 0, 0.01, -0.01, 0])
    assert sent("percentile:50,1").ravel() == pytest.approx([1, 0, 0, 0.5, -1, 0])


def test_quantised_numbers_stand_on_their_levels_and_are_right_in_the_mean() -> None:
    draws = sent("quantise:3", {"w": np.tile(UPDATE["w"], (2000, 1, 1))})
    step = 4.0 / 3
    assert np.allclose(draws / step, np.round(draws / step), atol=1e-5)
    assert draws.mean(0) == pytest.approx(UPDATE["w"], abs=0.06)


def test_the_sparse_vector_filter_sends_a_share_near_its_limit() -> None:
    big = {"w": keyed_rng(0, "big").normal(0, 1, (100, 100)).astype(np.float32)}
    out = sent("svt", big)
    chosen = out != 0
    assert 0.05 < chosen.mean() <= 0.1  # drawn with replacement
    # The noise has the scale 2 gamma / noise = 2e-4, twenty times the limit of 1e-5.
    assert np.abs(out[chosen]).mean() == pytest.approx(2e-4, rel=0.15)


@pytest.mark.parametrize("text", ["percentile:50,1", "percentile:20,0.3", "topk:0.5", "sign_only"])
def test_the_bounds_that_an_attacker_is_told_hold_the_update(text: str) -> None:
    for seed in range(20):
        update = {"w": keyed_rng(seed, "update").normal(0, 1, (5, 4)).astype(np.float32)}
        told = before(named.configured(text), {"w": sent(text, update)})
        assert told is not None
        low, high = told
        assert (low["w"] <= update["w"] + 1e-6).all()
        assert (update["w"] <= high["w"] + 1e-6).all()


def test_bounds_of_several_are_the_widest_and_noise_ends_them() -> None:
    two = named.configured("percentile:10,0.3+topk:0.5")
    update = {"w": keyed_rng(1, "update").normal(0, 1, (5, 4)).astype(np.float32)}
    seen = {"w": sent("topk:0.5", {"w": sent("percentile:10,0.3", update)})}
    told = before(two, seen)
    assert told is not None
    assert (told[0]["w"] <= update["w"] + 1e-6).all()
    assert (update["w"] <= told[1]["w"] + 1e-6).all()
    assert before(named.configured("topk:0.5+gaussian:1"), seen) is None
    assert before(named.configured("gaussian:1+topk:0.5"), seen) is not None  # bounds of the noisy update
    assert before(named.configured("topk:0.5+median"), seen) is not None  # the server sees updates before its own rule
    assert before(named.configured("secagg+topk:0.5"), seen) is None  # a sum of filtered updates is not filtered


with torch.random.fork_rng(devices=[]):
    torch.manual_seed(4)
    MODEL = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    X, Y = torch.rand(5, 3), torch.tensor([0, 1, 1, 0, 1])


def test_every_layer_of_the_model_has_a_gradient() -> None:
    """Where all units of the hidden layer were off, the rules below would be tested on zeros."""
    assert all(g.any() for g in gradient(MODEL, X, Y).values())


def ruled(text: str, seed: int = 0, exposure: Exposure | None = None) -> dict[str, Any]:
    (one,) = named.configured(text)
    rule = one.build(seed, exposure or Exposure())
    return {k: g.numpy() for k, g in rule(gradient, np.random.default_rng(seed))(MODEL, X, Y).items()}


def test_dp_sgd_without_noise_is_the_mean_of_clipped_gradients_record_by_record() -> None:
    clip = 0.1
    total = 0.0
    for i in range(5):
        one = flat({k: g.numpy() for k, g in gradient(MODEL, X[i : i + 1], Y[i : i + 1]).items()})
        total = total + one * min(1.0, clip / float(np.linalg.norm(one)))
    assert flat(ruled(f"dpsgd:1e9,{clip}")) == pytest.approx(total / 5, abs=1e-4)


def test_dp_sgds_noise_has_the_deviation_of_its_epsilon() -> None:
    from testbed.defences.dpsgd import multiplier

    quiet = flat(ruled("dpsgd:1e9"))
    noise = np.concatenate([flat(ruled("dpsgd:2", s, Exposure(uses=3))) - quiet for s in range(100)])
    assert float(noise.std()) == pytest.approx(multiplier(2, 1e-5, 3) / 5, rel=0.05)


def test_a_head_alone_is_trained_and_mixed_records_are_linear_in_their_classes() -> None:
    head = ruled("head_only")
    assert not head["0.weight"].any()
    assert not head["0.bias"].any()
    assert head["2.weight"].any()
    assert all(v.any() for v in ruled("head_only:2").values())
    rng = np.random.default_rng(3)
    share, order = float(rng.beta(1, 1)), torch.from_numpy(rng.permutation(5))
    mixed = share * X + (1 - share) * X[order]
    loss = share * nn.functional.cross_entropy(MODEL(mixed), Y)
    loss = loss + (1 - share) * nn.functional.cross_entropy(MODEL(mixed), Y[order])
    expected = torch.autograd.grad(loss, list(MODEL.parameters()))
    for got, wanted in zip(ruled("mixup", 3).values(), expected, strict=True):
        assert got == pytest.approx(wanted.numpy(), abs=1e-6)


def test_records_of_words_are_not_mixed_and_normalised_batches_have_no_bound_per_record() -> None:
    (mix,), (private,) = named.configured("mixup"), named.configured("dpsgd:1")
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="cannot be mixed"):
        mix.build(0)(gradient, rng)(MODEL, torch.zeros(2, 3, dtype=torch.int64), Y[:2])
    with pytest.raises(UsageError, match="batch normalisation"):
        private.build(0)(gradient, rng)(nn.Sequential(nn.BatchNorm1d(3), MODEL), X, Y)


def aggregated(text: str, rows: list[list[float]], shares: list[float] | None = None) -> list[float]:
    (one,) = named.configured(text)
    wrapped: Aggregation = one.build(0)(FedAvg(), Protocol(clients=len(rows)))
    weights = np.array(shares or [1 / len(rows)] * len(rows))
    changed = wrapped.change([{"w": np.array(r)} for r in rows], weights, 1)
    return sum(w * u["w"] for w, u in zip(weights, changed, strict=True)).tolist()  # type: ignore[union-attr]


def test_robust_means_by_hand() -> None:
    rows = [[1.0, 0.0], [2.0, 1.0], [3.0, 2.0], [4.0, 3.0], [1000.0, -1000.0]]
    assert aggregated("median", rows) == [3, 1]
    assert aggregated("trimmed_mean:0.2", rows) == [3, 1]
    with pytest.raises(UsageError, match="leaves out nobody of 5 clients") as raised:
        aggregated("trimmed_mean:0.1", rows)
    assert raised.value.id == "TB-DEFENCE-027"
    # The sums of squared distances to the two nearest of five are 2 + 8, 2 + 2, 2 + 2, 2 + 8: the first smallest.
    assert aggregated("krum:1", rows) == [2, 1]
    with pytest.raises(UsageError, match="2 malicious of 5 clients") as raised:
        aggregated("krum:2", rows)
    assert raised.value.id == "TB-DEFENCE-029"
    assert aggregated("median", rows, [0.9, 0.025, 0.025, 0.025, 0.025]) == pytest.approx([3, 1])


def test_central_noise_is_that_of_the_largest_client_and_the_norm_follows_its_quantile() -> None:
    (one,) = named.configured("central_dp:2,0.5")
    wrapped: Aggregation = one.build(0)(FedAvg(), Protocol(clients=2))
    assert wrapped.change([{"w": np.array([30.0, 40.0])}], np.ones(1), 1)[0]["w"] == pytest.approx([0.3, 0.4])
    assert wrapped.noise is not None
    drawn = wrapped.noise({"w": np.zeros(20_000)}, np.array([0.25, 0.75]), 1)["w"]
    assert float(drawn.std()) == pytest.approx(2 * 0.5 * 0.75, rel=0.03)
    (other,) = named.configured("adaptive_clipping:0.01,0.1")
    adapting: Aggregation = other.build(0)(FedAvg(), Protocol(clients=40))
    norms: list[float] = []
    for round_ in range(1, 60):
        updates = adapting.change([{"w": np.array([float(i)])} for i in range(1, 41)], np.full(40, 1 / 40), round_)
        norms.append(max(float(np.abs(u["w"]).max()) for u in updates))
    assert norms[0] == pytest.approx(0.1)
    assert 10 < norms[-1] < 30  # towards the median, 20
    of_updates, of_count = split(1.0, 100)
    assert of_updates**-2 + (2 * of_count) ** -2 == pytest.approx(1.0)


SPEC = ModelSpec("mlp", {"shape": [4], "classes": 2, "hidden": [3]})


def parts(n: int = 4) -> list[Cohort]:
    rng = keyed_rng(5, "parts")
    return [
        Cohort(rng.random((6, 4)).astype(np.float32), rng.integers(0, 2, 6), np.arange(6 * i, 6 * i + 6).astype(str))
        for i in range(n)
    ]


@pytest.mark.parametrize("kind", ["fedsgd", "fedavg"])
def test_defences_of_the_server_change_the_model_and_not_what_the_server_sees(kind: Any) -> None:
    protocol = Protocol(kind, 3, 1, learning_rate=0.1, rounds=1, clients=5)
    plain = Federation(SPEC, protocol, 1).run(parts(5))
    for text in ("median", "krum", "trimmed_mean:0.25", "central_dp:1", "adaptive_clipping:1"):
        guarded = Federation(SPEC, protocol, 1, named.configured(text)).run(parts(5))
        assert plain.final is not None
        assert guarded.final is not None
        assert any((plain.final[k] != guarded.final[k]).any() for k in plain.final)
        for one, other in zip(plain.exchanges, guarded.exchanges, strict=True):
            assert one.returned is not None
            assert other.returned is not None
            assert all((one.returned[k] == other.returned[k]).all() for k in one.returned)


def test_a_median_of_equal_clients_is_their_mean() -> None:
    protocol = Protocol("fedsgd", 6, learning_rate=0.1, rounds=2, clients=3)
    same = [parts(1)[0]] * 3
    plain = Federation(SPEC, protocol, 1).run(same).final
    median = Federation(SPEC, protocol, 1, named.configured("median")).run(same).final
    assert plain is not None
    assert median is not None
    assert all(np.allclose(plain[k], median[k], atol=1e-6) for k in plain)


def test_soteria_cuts_out_the_features_that_move_least_and_says_nothing_of_them() -> None:
    # Without an activation the features are linear: |dr/dx| is the length of a row of the first weight.
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with torch.no_grad():
        features = model[0](X).abs().numpy()
        lengths = model[0].weight.norm(dim=1).numpy()
    least = np.argsort((lengths / features).sum(0))[:2]
    (one,) = named.configured("soteria:0.5")
    found = one.build(0)(gradient, np.random.default_rng(0))(model, X, Y)
    plain = gradient(model, X, Y)
    kept = np.setdiff1d(np.arange(4), least)
    assert not found["1.weight"][:, least].any()
    assert torch.equal(found["1.weight"][:, kept], plain["1.weight"][:, kept])
    assert all(torch.equal(found[k], plain[k]) for k in plain if k != "1.weight")
    told = before((one,), {k: v.numpy() for k, v in found.items()})
    assert told is not None
    assert np.isinf(told[0]["1.weight"][:, least]).all()
    assert (told[0]["1.weight"][:, kept] == told[1]["1.weight"][:, kept]).all()
    assert (told[0]["0.weight"] == told[1]["0.weight"]).all()


def test_soteria_refuses_words_and_networks_without_a_last_linear_layer() -> None:
    (one,) = named.configured("soteria")
    rule = one.build(0)(gradient, np.random.default_rng(0))
    for model, x in ((MODEL, X.long()), (nn.Sequential(nn.Flatten(), nn.Conv1d(1, 1, 1)), X)):
        with pytest.raises(UsageError, match="does not work on this model"):
            rule(model, x, Y)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("larger_batch:8", {"batch_size": 8}),
        ("larger_batch:2", {}),
        ("more_steps:4", {"local_epochs": 4}),
        ("early_stopping:3", {"rounds": 3}),
        ("early_stopping:30", {}),
        ("larger_batch:8+early_stopping:3", {"batch_size": 8, "rounds": 3}),
    ],
)
def test_rules_of_training_are_changed_once_and_not_again(text: str, expected: dict[str, int]) -> None:
    protocol = Protocol("fedavg", 3, 2, learning_rate=0.1, rounds=5, clients=4)
    federation = Federation(SPEC, protocol, 1, named.configured(text))
    assert federation.protocol == replace(protocol, **expected)  # type: ignore[arg-type]
    assert replace(federation, seed=2).protocol == federation.protocol


def test_more_local_steps_leave_single_gradients_as_they_are() -> None:
    protocol = Protocol("fedsgd", 3, rounds=5, clients=4)
    assert ruled_protocol(protocol, named.configured("more_steps:4")) == protocol


def test_what_a_server_sees_follows_the_rules() -> None:
    protocol = Protocol("fedsgd", 1, learning_rate=0.1, rounds=5, clients=4)
    seen = Federation(SPEC, protocol, 1, named.configured("larger_batch:6+early_stopping:2")).run(parts())
    assert (seen.protocol.batch_size, len(seen.exchanges)) == (6, 8)
    everybody = Federation(SPEC, replace(protocol, batch_size=6, rounds=2), 1).run(parts())
    for one, other in zip(seen.exchanges, everybody.exchanges, strict=True):
        assert one.returned is not None
        assert other.returned is not None
        assert all((one.returned[k] == other.returned[k]).all() for k in one.returned)
