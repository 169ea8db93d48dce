"""The one-shot audit: its formula, its coverage, and that it sees noise that is not there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from scenarios.federated_audit import federated_audit
from testbed.core import ModelSpec, Protocol
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import source
from testbed.defences.accounting import gaussian_epsilon
from testbed.findings.schema import Estimate
from testbed.harness.dp_audit.directions import direction
from testbed.harness.dp_audit.one_shot import Shown, accounted, conduct, estimated
from testbed.harness.run import run
from testbed.subjects.federation.federation import Federation

SMALL: dict[str, Any] = {"clients": 5, "canaries": 80, "guesses": 20, "rounds": 3, "each": 10, "hidden": 8}


@pytest.mark.parametrize("distance", [0.2, 1.0, 3.0])
def test_epsilon_of_two_gaussians_is_where_their_densities_part_by_delta(distance: float) -> None:
    epsilon = gaussian_epsilon(distance, 1e-4)

    def over(x: float) -> float:
        return max(0.0, float(stats.norm.pdf(x, distance) - math.exp(epsilon) * stats.norm.pdf(x)))

    crossing = epsilon / distance + distance / 2  # where the two are equal
    assert integrate.quad(over, crossing, crossing + 20)[0] == pytest.approx(1e-4, rel=1e-3)
    assert gaussian_epsilon(0.0, 1e-4) == gaussian_epsilon(1e-5, 1e-4) == 0.0


def test_the_accountant_is_never_below_the_exact_value() -> None:
    for noise, rounds in ((1.0, 3), (3.0, 10), (8.0, 5)):
        exact = gaussian_epsilon(math.sqrt(rounds) / noise, 1e-5)
        assert exact <= accounted(noise, rounds, 1e-5) <= 1.25 * exact
    assert accounted(0.0, 3, 1e-5) == math.inf


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0])
def test_the_bound_holds_nineteen_times_in_twenty(distance: float) -> None:
    rng, true = keyed_rng(11, "coverage"), gaussian_epsilon(distance, 1e-5)
    within = 0
    for _ in range(400):
        included = rng.random(60) < 0.5
        within += estimated(Shown(rng.normal(size=60) + distance * included, included), 1e-5)[1].value <= true
    assert within / 400 >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 400)


def test_a_canary_is_seen_by_as_much_as_the_noise_lets_it() -> None:
    people = source("digits").people
    spec = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [16]})
    federation = Federation(spec, Protocol("fedavg", 10, learning_rate=0.1, rounds=4, clients=5), 3)
    parts = [people.take(np.arange(i, 100, 5)) for i in range(5)]
    shown = conduct(federation, parts, 60, 2.0, 0.5, "in-process")
    # In the mean over 65 clients: a canary adds 4 x .5, and noise of 2 x .5 x sqrt(4); others' directions add little.
    assert shown.scores[shown.included].mean() == pytest.approx(4 * 0.5 / 65, rel=0.5)
    assert shown.scores[~shown.included].std() == pytest.approx(2 * 0.5 * 2 / 65, rel=0.35)
    assert 15 < shown.included.sum() < 45
    first = {"a": np.zeros((2, 3)), "b": np.zeros(4)}
    assert np.linalg.norm(direction(0, 1, first)) == pytest.approx(1)
    assert (direction(0, 1, first) != direction(0, 2, first)).all()


def test_noise_that_is_claimed_and_missing_is_found() -> None:
    kept = run(federated_audit, SMALL).result.findings
    assert [f.attack.name for f in kept] == ["one_run_audit", "one_shot_audit"]
    assert all("claim_exceeded" not in f.validity.flags for f in kept)
    assert all(isinstance(f.control, Estimate) and f.control.value == 0 for f in kept)
    broken = run(federated_audit, {**SMALL, "noise": 0.0, "claim": 1.0}).result.findings
    assert all("claim_exceeded" in f.validity.flags for f in broken)
    assert broken[0].primary
    assert not broken[1].primary


@pytest.mark.parametrize("wrong", [{"canaries": 10}, {"guesses": 300}, {"clip": 0.0}, {"clients": 1}, {"noise": -1.0}])
def test_parameters_that_make_no_audit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        federated_audit(**wrong)
