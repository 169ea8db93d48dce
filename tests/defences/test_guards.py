"""Each guard by small cases that are worked out by hand, and what all guards have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed import models
from testbed.cli.catalogue import entries
from testbed.core import Array, Cohort, Exchange, ModelSpec, Parameters
from testbed.core.errors import UsageError
from testbed.core.guard import Gathered, Guard, Received
from testbed.defences.guards.nested_neurons import longest_chain
from testbed.defences.guards.registry import find, guards

SPEC = ModelSpec("mlp", {"shape": [20], "classes": 3, "hidden": [32]})
CLIENT = [g for g in guards("client") if g.name != "model_consistency"]


def people(n: int = 40) -> Cohort:
    rng = np.random.default_rng(0)
    return Cohort(rng.random((n, 20)).astype(np.float32), rng.integers(0, 3, n), np.arange(n).astype(str))


def honest(seed: int = 0) -> dict[str, Array]:
    return models.get_parameters(models.build(SPEC, seed))


def received(sent: Parameters | None = None, records: Cohort | None = None, **more: Any) -> Received:
    return Received(1, 0, SPEC, honest() if sent is None else sent, records or people(), **more)


def signal(name: str, seen: Received, **params: Any) -> float:
    value = find(name)(**params).check(seen, {})
    assert isinstance(value, float)
    return value


def crafted(weight: Array, bias: Array) -> dict[str, Array]:
    return {**honest(), "1.weight": weight.astype(np.float32), "1.bias": bias.astype(np.float32)}


def test_every_guard_names_its_side_its_source_and_what_it_notices() -> None:
    rows = {r["name"]: r for r in entries("guards")}
    assert set(rows) == {g.name for g in guards()}
    for found in guards():
        assert found.summary
        assert found.reference.startswith("https://")
        assert rows[found.name]["position"] == found.side
        assert rows[found.name]["notices"] == sorted(found.notices)
    noticed = set[str]().union(*(g.notices for g in guards()))
    assert noticed <= {r["name"] for r in entries("attacks")}


@pytest.mark.parametrize(
    ("how", "error"),
    [({"action": "explode"}, "002"), ({"cosin": 0.9}, "003"), ({"cosine": "high"}, "004")],
    ids=str,
)
def test_a_guard_with_a_wrong_parameter_is_refused(how: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageError) as refused:
        find("repeated_rows")(**how)
    assert refused.value.id == f"TB-GUARD-{error}"


def test_an_unknown_guard_is_refused_with_the_closest_name() -> None:
    with pytest.raises(UsageError, match="repeated_rows") as refused:
        find("repeated_row")
    assert refused.value.id == "TB-GUARD-001"


@pytest.mark.parametrize("guard", CLIENT, ids=lambda g: g.name)
def test_an_honest_model_gives_no_alarm_and_the_order_of_the_records_does_not_count(guard: Any) -> None:
    made: Guard = guard()
    back = people().take(np.arange(40)[::-1])
    settings = {"clients": 4}
    one = made.check(received(settings=settings), {})
    other = made.check(received(records=back, settings=settings), {})
    assert isinstance(one, float)
    assert isinstance(other, float)
    assert not made.alarms(one)
    assert other == pytest.approx(one, rel=1e-4, nan_ok=True)


def test_a_guard_that_cannot_tell_gives_no_alarm() -> None:
    assert math.isnan(signal("nested_neurons", received(records=people(5))))
    assert not find("nested_neurons")().alarms(math.nan)


def test_the_share_of_parallel_rows_is_counted() -> None:
    weight = honest()["1.weight"].copy()
    weight[:8] = weight[0] * np.linspace(-2, 2, 8)[:, None]  # none of the factors is 0
    assert signal("repeated_rows", received({**honest(), "1.weight": weight})) == 8 / 32


def test_a_chain_is_the_longest_row_of_sets_one_within_the_other() -> None:
    # Neurons 0 to 2 are active for 1, 2 and 3 records, one within the other. Neuron 3 is active for another record.
    active = np.array([[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]], bool)
    assert longest_chain(active, 0.05) == 3
    assert longest_chain(active[:, [3, 2, 0, 1]], 0.05) == 3
    assert longest_chain(np.ones((4, 3), bool), 0.05) == 0
    assert longest_chain(active, 0.3) == 1  # those of one record and of three are left out


def test_bins_make_a_chain_even_if_their_rows_are_not_parallel() -> None:
    rng = np.random.default_rng(1)
    measured = people().x.mean(1)
    edges = np.quantile(measured, np.linspace(0.05, 0.95, 32))
    hiding = rng.normal(size=(32, 20))
    hiding -= hiding @ np.linalg.pinv(people().x[:15]) @ people().x[:15]  # without effect on the first 15 records
    few = people().take(np.arange(15))
    both = Cohort(np.tile(few.x, (2, 1)), np.tile(few.y, 2), np.arange(30).astype(str))
    seen = received(crafted(0.05 + hiding, -edges), both)
    assert signal("repeated_rows", seen) == 0
    assert signal("nested_neurons", seen) > 9


def test_neurons_that_one_record_in_forty_activates_are_rare_and_their_records_alone() -> None:
    x = np.zeros((40, 20), np.float32)
    x[np.arange(20), np.arange(20)] = 1
    records = Cohort(x, people().y, people().persons)
    # Neuron i is active where column i is 1: for record i alone. Twelve neurons are never active.
    weight = np.concatenate([np.eye(20), np.zeros((12, 20))])
    seen = received(crafted(weight, np.concatenate([np.full(20, -0.5), np.full(12, -1)])), records)
    assert signal("rare_neurons", seen) == 20 / 32
    assert signal("lone_records", seen) == 20 / 40
    assert signal("dead_neurons", seen) == 12 / 32
    assert signal("silent_records", seen) == 20 / 40


def test_one_record_that_makes_the_gradient_has_a_large_ratio() -> None:
    x = np.zeros((40, 20), np.float32)
    x[0] = 1
    lone = Cohort(x, people().y, people().persons)
    sent = crafted(np.eye(32, 20), np.full(32, -0.5))
    assert signal("dominant_record", received(sent, lone)) > 1e3
    # 40 equal records: each is 1 / sqrt(39) of the others.
    same = Cohort(np.ones((40, 20), np.float32), np.zeros(40, np.int64), people().persons)
    assert signal("dominant_record", received(records=same)) == pytest.approx(1 / math.sqrt(39), rel=1e-3)


def moved(by: Mapping[str, float]) -> Received:
    """A round after one in which this client changed every weight by .1, and the model moved by these factors of it."""
    sent = honest()
    returned = {k: v + np.float32(0.1) for k, v in sent.items()}
    after = {k: v + np.float32(0.1 * by.get(k, 1.0)) for k, v in sent.items()}
    return received(after, before=Exchange(1, 0, sent, returned))


def test_drift_is_told_in_orders_of_magnitude_either_way() -> None:
    assert signal("layer_drift", moved({})) == pytest.approx(0, abs=1e-3)
    both = ("1.weight", "1.bias")  # of one layer
    assert signal("layer_drift", moved(dict.fromkeys(both, 100.0))) == pytest.approx(2, abs=1e-3)
    assert signal("layer_drift", moved(dict.fromkeys(both, 0.01))) == pytest.approx(2, abs=1e-2)
    assert signal("layer_drift", moved(dict.fromkeys(both, 0.0))) > 3
    assert signal("layer_drift", moved({"1.bias": 0})) < 0.1
    assert math.isnan(signal("layer_drift", received()))


def test_a_gradient_is_compared_after_the_step_that_it_asks_for() -> None:
    sent, settings = honest(), {"kind": "fedsgd", "learning-rate": 0.5}
    gradient = {k: np.full_like(v, 0.2) for k, v in sent.items()}
    after = {k: v - np.float32(0.1) for k, v in sent.items()}
    seen = received(after, before=Exchange(1, 0, sent, gradient), settings=settings)
    assert signal("layer_drift", seen) == pytest.approx(0, abs=1e-3)
    assert signal("echoed_model", seen) == pytest.approx(1, abs=1e-4)


def test_the_own_model_that_comes_back_is_an_echo() -> None:
    assert signal("echoed_model", moved({})) == pytest.approx(1, abs=1e-4)
    half = dict.fromkeys(honest(), 0.5)
    assert signal("echoed_model", moved(half)) == pytest.approx(0.5, abs=1e-4)


def test_the_number_of_clients_is_what_the_server_says() -> None:
    assert signal("cohort_size", received(settings={"clients": 2})) == 0.5
    assert signal("cohort_size", received(settings={"clients": 40, "share_num": 5})) == 0.2
    assert math.isnan(signal("cohort_size", received()))


def test_clients_that_compare_digests_notice_another_model_at_the_latest_one_round_later(tmp_path: Path) -> None:
    guard = find("model_consistency")(board=str(tmp_path))
    memories: list[dict[str, Array]] = [{}, {}, {}]

    def told(round_: int, client: int, sent: Parameters) -> Any:
        return guard.check(Received(round_, client, SPEC, sent, people()), memories[client])

    assert math.isnan(told(1, 0, honest(7)))  # nobody else has posted yet
    assert told(1, 1, honest()) == 1
    assert told(1, 2, honest()) == 0.5
    assert told(2, 0, honest()) == 1  # both others of round 1
    assert math.isnan(signal("model_consistency", received()))


def test_weights_of_no_initialisation_are_noticed_in_the_first_round_only() -> None:
    signs = np.where(np.arange(20) % 2, 1, -1) * np.abs(honest()["1.weight"])
    seen = received(crafted(signs, honest()["1.bias"]))
    assert signal("weight_law", seen) > 12
    later = received(seen.sent, before=Exchange(1, 0, honest(), honest()))
    assert math.isnan(signal("weight_law", later))


def updates(*clients: list[float]) -> dict[int, Parameters]:
    return {i: {"0.weight": np.array([c])} for i, c in enumerate(clients)}


def test_a_step_against_the_median_of_the_others_is_told_in_typical_lengths() -> None:
    guard = find("opposed_update")()
    seen = Gathered(1, {}, updates([1, 0], [2, 0], [4, 0], [-6, 0]))  # the median length is 3
    told = guard.check(seen, {})
    assert isinstance(told, Mapping)
    assert [told[c] for c in range(4)] == pytest.approx([-1 / 3, -2 / 3, -4 / 3, 2])
    few = guard.check(Gathered(1, {}, updates([1, 0], [-1, 0])), {})
    assert isinstance(few, Mapping)
    assert all(math.isnan(v) for v in few.values())


def test_updates_are_summed_over_rounds() -> None:
    guard, memory = find("opposed_update")(), dict[str, Array]()
    guard.check(Gathered(1, {}, updates([1, 0], [1, 0], [1, 0], [3, 0])), memory)
    assert guard.check(Gathered(2, {}, updates([1, 0], [1, 0], [1, 0], [-1, 0])), memory) == dict.fromkeys(range(4), -1)


def test_a_last_layer_three_times_as_far_from_the_median_as_usual_is_told_as_three() -> None:
    guard = find("odd_last_layer")()
    # The median is 0; the distances are 1, 1, 1, 1 and 3.
    told = guard.check(Gathered(1, {}, updates([1, 0], [-1, 0], [0, 1], [0, -1], [0, 3])), {})
    assert isinstance(told, Mapping)
    assert told[4] == 3
