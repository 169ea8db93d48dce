"""Guards over many federations: honest ones give few alarms, malicious ones are noticed, and hiding has a price."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.core import Act, Cohort, ModelSpec, Parameters
from testbed.core.errors import UsageError
from testbed.core.guard import Guard
from testbed.data.cohorts import source
from testbed.defences.guards.registry import guards
from testbed.findings.schema import Estimate
from testbed.harness.federation.disguises import following, hidden_by, lawful, mixed, partly
from testbed.harness.federation.guarded import Attacked, Setting, Signals, Watched, watch
from testbed.harness.run import run
from testbed.harness.scenario import find

DIGITS, HEART = source("digits"), source("heart")
EVERY = [g() for g in guards() if g.name != "model_consistency"]
CLIENT = [g for g in EVERY if g.side == "client"]
SERVER = [g for g in EVERY if g.side == "server"]


def setting(factory: str = "mlp", of: Any = DIGITS, rounds: int = 3, **arguments: Any) -> Setting:
    spec = ModelSpec(factory, {"shape": list(of.shape), "classes": of.classes, **arguments})
    return Setting(of, spec, rounds=rounds)


SETTINGS = {
    "mlp": setting(hidden=[64]),
    "mlp-heart": setting(of=HEART, hidden=[128, 48]),
    "cnn": setting("cnn", channels=[8, 16]),
    "vit": setting("vit", patch=2, width=32),
}


def noticed(seen: Watched, ours: list[Guard] = CLIENT) -> float:
    return float(seen.alarms(ours).values.mean())


def test_the_same_seed_gives_the_same_signals_and_another_one_others() -> None:
    one, again, other = (watch(SETTINGS["mlp"], CLIENT, 1, seed) for seed in (0, 0, 1))
    for guard in ("layer_drift", "rare_neurons"):
        values = one.signals[guard].values
        assert np.array_equal(values, again.signals[guard].values, equal_nan=True)
        assert not np.array_equal(values, other.signals[guard].values, equal_nan=True)


def test_there_is_a_signal_for_each_watched_client_and_round() -> None:
    seen = watch(SETTINGS["mlp"], EVERY, 2, 0)
    for signals in seen.signals.values():
        keys = set(zip(signals.federation.tolist(), signals.round.tolist(), signals.client.tolist(), strict=True))
        assert keys == {(f, r, c) for f in range(2) for r in (1, 2, 3) for c in range(2)}
    assert seen.read is None


def test_a_signal_that_could_not_be_given_is_no_alarm() -> None:
    assert Signals.of([(np.nan, 0, 1, 0), (2.0, 0, 2, 0)]).alarms(1.0).tolist() == [False, True]


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_imprints_are_noticed_in_every_round_and_honest_servers_in_none(name: str) -> None:
    assert noticed(watch(SETTINGS[name], CLIENT, 2, 0)) == 0
    seen = watch(SETTINGS[name], CLIENT, 2, 0, Attacked("imprint", {"bins": 64}))
    assert noticed(seen) == 1
    assert seen.read is not None
    assert seen.read.picked.mean() > 0.5
    assert not seen.answered(CLIENT).any()  # nothing is read from clients that refuse


def test_trap_weights_are_noticed_in_every_round() -> None:
    assert noticed(watch(SETTINGS["mlp-heart"], CLIENT, 2, 0, Attacked("trap_weights"))) == 1


def test_a_client_that_raises_the_loss_is_noticed_by_the_server_sooner_or_later() -> None:
    seen = watch(SETTINGS["mlp"], SERVER, 4, 0, Attacked("client_gradient_ascent"))
    assert noticed(seen, SERVER) > 0.3
    assert {s.client.max() for s in seen.signals.values()} == {0}


def crafted(weight: Any, bias: Any) -> Act:
    def craft(round_: int, client: int, given: Parameters) -> Parameters:
        return {**given, "1.weight": weight, "1.bias": bias}

    return Act(craft=craft)


AUXILIARY = Cohort(np.random.default_rng(0).random((50, 20)).astype(np.float32), np.zeros(50, int), np.arange(50))
HONEST = {
    "1.weight": np.random.default_rng(1).uniform(-1, 1, (32, 20)).astype(np.float32) / np.float32(20**0.5),
    "1.bias": np.zeros(32, np.float32),
}
BINS = crafted(np.full((32, 20), 0.05, np.float32), np.linspace(-1, 0, 32, dtype=np.float32))


def sent(act: Act, round_: int = 1, add: float = 0.0) -> dict[str, Any]:
    assert act.craft is not None
    return dict(act.craft(round_, 0, {k: v + np.float32(add) for k, v in HONEST.items()}))


def test_a_server_that_crafts_a_part_leaves_the_other_neurons_as_they_were() -> None:
    made = sent(partly(0.25)(BINS, AUXILIARY, np.random.default_rng(0)))
    assert (made["1.weight"][:8] == np.float32(0.05)).all()
    assert (made["1.weight"][8:] == HONEST["1.weight"][8:]).all()
    nothing = sent(partly(0)(BINS, AUXILIARY, np.random.default_rng(0)))
    assert all((nothing[k] == HONEST[k]).all() for k in HONEST)


def test_a_server_that_follows_moves_its_crafted_layer_as_the_model_moves() -> None:
    act = following(BINS, AUXILIARY, np.random.default_rng(0))
    first, later = sent(act), sent(act, 2, 0.25)
    assert later["1.weight"] - first["1.weight"] == pytest.approx(0.25, abs=1e-6)


def test_mixed_rows_are_not_parallel_and_nearly_keep_the_order_of_records() -> None:
    x = AUXILIARY.x * (np.arange(20) < 10)  # nobody differs in the last ten columns
    made = sent(mixed(BINS, Cohort(x, AUXILIARY.y, AUXILIARY.persons), np.random.default_rng(0)))["1.weight"]
    unit = made / np.linalg.norm(made, axis=1, keepdims=True)
    assert np.abs(unit @ unit.T - np.eye(32)).max() < 0.98
    alike = [np.corrcoef(x.sum(1), x @ row)[0, 1] for row in made]
    assert np.median(alike) > 0.8


def test_lawful_rows_are_as_long_as_drawn_ones_and_biases_have_mean_zero() -> None:
    act = hidden_by(partly(0.5), lawful)(BINS, AUXILIARY, np.random.default_rng(0))
    made = sent(act)
    assert np.linalg.norm(made["1.weight"], axis=1) == pytest.approx(np.sqrt(1 / 3), rel=0.4)
    assert made["1.bias"].mean() == pytest.approx(0, abs=1e-6)


def test_the_scenario_reports_what_is_read_from_guarded_clients_and_how_often_guards_are_wrong() -> None:
    done = run(find("guards"), {"federations": 2, "attacked": 1, "rounds": 2, "only": "nested_neurons,opposed_update"})
    by_target = {f.target: f for f in done.result.findings}
    imprint = by_target["line-up of 101: imprint, guarded clients"]
    assert isinstance(imprint.measure, Estimate)
    assert isinstance(imprint.positive_control, Estimate)
    assert imprint.measure.value == 0 < 0.5 < imprint.positive_control.value
    trap = by_target["line-up of 101: trap_weights, guarded clients"]  # these two guards do not see it
    assert isinstance(trap.measure, Estimate)
    assert trap.measure == trap.positive_control
    rates = {u.name: u.measure for u in done.result.utility}
    noticed_ = rates["rounds in which a guard notices imprint"]
    assert isinstance(noticed_, Estimate)
    assert noticed_.value == 1
    assert "honest rounds with an alarm of nested_neurons" in rates
    assert imprint.series[-1].name == "opposed_update against client_gradient_ascent"


@pytest.mark.parametrize("wrong", [{"model": "cnn", "data": "heart"}, {"model": "gpt"}, {"rounds": 1}])
def test_a_scenario_that_cannot_be_made_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        find("guards")(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_at_most_one_honest_round_in_a_hundred_gives_an_alarm(name: str) -> None:
    """1,000 rounds; thresholds were chosen by looking at mlp alone."""
    made = SETTINGS[name]
    longer = Setting(made.source, made.spec, rounds=10)
    assert noticed(watch(longer, CLIENT, 50, 7)) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("attack", ["imprint", "trap_weights"])
def test_at_least_95_rounds_in_a_hundred_of_a_malicious_server_are_noticed(name: str, attack: str) -> None:
    if attack == "trap_weights" and not name.startswith("mlp"):
        pytest.skip("trap weights need a first layer that is fully connected")
    params = {"bins": 64} if attack == "imprint" else {}
    assert noticed(watch(SETTINGS[name], CLIENT, 20, 7, Attacked(attack, params))) >= 0.95
