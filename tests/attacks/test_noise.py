"""Under noise the judge finds whom the best simple matcher finds, and the positive control stands under the noise."""

from __future__ import annotations

import numpy as np
import pytest

from scenarios.curious_server import curious_server
from testbed.core import Array, Protocol, Threat
from testbed.core.defence import Defence
from testbed.data.cohorts import source
from testbed.defences.gaussian import gaussian
from testbed.defences.random_update import random_update
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding
from testbed.harness.federation import repeated
from testbed.harness.federation.assess import assess
from testbed.harness.federation.leaky import Leaky
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import mlp
from testbed.harness.federation.recorded import Recorded
from testbed.harness.federation.trial import Trial
from testbed.harness.run import run
from testbed.subjects.federation.federation import Federation

KNOWS = frozenset({"architecture", "batch_size", "auxiliary"})


def recorded(data: str, noise: float, exact_bias: bool = False, defence: Defence | None = None) -> Recorded:
    """Forty records of four clients, one at a time, under the Gaussian defence; with its controls."""
    known = source(data)
    protection = (defence or gaussian(noise=noise, clip=1.0),)
    protocol = Protocol("fedsgd", 1, learning_rate=0.1, rounds=10, clients=4)
    plan = Plan(
        rule="TB-RECONSTRUCTION-001",
        risk="reconstruction",
        attack="analytic_linear",
        metric="line_up_top1",
        unit="record",
        params={"exact_bias": exact_bias},
        primary=True,
    )
    federation = Federation(mlp(known, 32), protocol, 0, protection)
    leaky = Federation(mlp(known, 32), protocol, 0)
    split = hospitals(known, 4, 10, 0)
    return Trial(split, federation, Threat("server", knows=KNOWS), (plan,), positive=Leaky(leaky)).record("in-process")


def best_matcher(made: Recorded, claims: dict[tuple[int, int], Array]) -> float:
    """The larger share of records that are nearest to their claim, or correlate best with it, of all look-alikes."""
    assert made.truth.decoys is not None
    crowd = made.truth.decoys.x.reshape(len(made.truth.decoys), -1).astype(float)
    nearest, alike = [], []
    for key, people in made.truth.batches["true"].items():
        everybody, claim = np.vstack([people.x.reshape(1, -1), crowd]), claims[key].ravel()
        nearest.append(((everybody - claim) ** 2).sum(1).argmin() == 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            alike.append(np.nanargmax([np.corrcoef(claim, other)[0, 1] for other in everybody]) == 0)
    return max(float(np.mean(nearest)), float(np.mean(alike)))


def judged(made: Recorded) -> tuple[Finding, float]:
    """The finding, and what the best simple matcher makes of the same claims."""
    assessed = assess(made)
    return assessed.findings[0], best_matcher(made, dict(assessed.claims["TB-RECONSTRUCTION-001"].batches))


def measured(finding: Finding, name: str = "measure") -> Estimate:
    measure = getattr(finding, name)
    assert isinstance(measure, Estimate)
    return measure


def test_claims_that_noise_shrank_are_told_by_correlation() -> None:
    # By distance 68 % of these claims are nearest to their record: the published estimate shrinks.
    finding, best = judged(recorded("digits", 0.02, exact_bias=True))
    assert measured(finding).value >= 0.95
    assert best >= 0.95
    assert measured(finding, "control").value <= 0.05
    assert measured(finding, "baseline").value <= 0.05
    assert "correlation" in finding.plain
    by_distance = next(s for s in finding.series if s.name == "What each declared similarity finds").x[0]
    assert by_distance < 0.85


def test_the_positive_control_stands_under_the_defence_and_under_none_where_that_leaves_nothing() -> None:
    noisy = recorded("digits", 0.05)
    again = repeated.under_defence(noisy.views["positive"])
    assert len(again) == 4
    assert {e.config[repeated.AVERAGED] for e in noisy.views["positive"].exchanges if e.key in again} == {100}
    finding = assess(noisy).findings[0]
    assert "under the same defence" in finding.plain
    assert measured(finding, "positive_control").n == 4
    assert measured(finding, "positive_control").value == 1.0
    destroyed = recorded("digits", 0, defence=random_update())
    finding = assess(destroyed).findings[0]
    assert "The attack does not find one record that is sent 100 times under the same defence" in finding.plain
    assert measured(finding, "positive_control").value == 1.0
    assert measured(finding, "positive_control").n == 40
    assert "positive_control_failed" not in finding.validity.flags


def test_the_mean_of_answers_is_that_of_one_record_with_a_tenth_of_the_noise() -> None:
    made = recorded("digits", 0.02)
    people = [made.truth.batches["positive"][11, client] for client in range(4)]
    assert [len(p) for p in people] == [1] * 4
    protocol = Protocol("fedsgd", 1, learning_rate=0.1, rounds=1, clients=4)
    plain = Federation(mlp(source("digits"), 32), protocol, 0).run(people)
    for alone, mean in zip(plain.exchanges, made.views["positive"].exchanges[-4:], strict=True):
        assert mean.key == (11, alone.client)
        assert alone.returned is not None
        assert mean.returned is not None
        length = np.sqrt(sum(float((v.astype(float) ** 2).sum()) for v in alone.returned.values()))
        clipped = {k: v * min(1.0, 1 / length) for k, v in alone.returned.items()}
        off = np.concatenate([(mean.returned[k] - clipped[k]).ravel() for k in clipped])
        assert off.std() == pytest.approx(0.02 / np.sqrt(100), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("exact_bias", [False, True], ids=["singular vector", "as published"])
@pytest.mark.parametrize("noise", [0.005, 0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("data", ["digits", "heart", "breast-cancer", "mnist5k"])
def test_the_judge_finds_whom_the_best_simple_matcher_finds(data: str, noise: float, exact_bias: bool) -> None:
    finding, best = judged(recorded(data, noise, exact_bias))
    print(f"{data} {noise} {exact_bias}: judged {measured(finding).value:.3f}, best simple matcher {best:.3f}")
    assert measured(finding).high >= best
    assert measured(finding, "control").value <= 0.1
    assert measured(finding, "baseline").value <= 0.1


@pytest.mark.slow
def test_pictures_under_noise_are_told_apart() -> None:
    finding = run(curious_server, {"data": "mnist5k", "noise": 0.02}).result.findings[0]
    assert measured(finding).value >= 0.95
    assert measured(finding, "control").value <= 0.05
    assert measured(finding, "baseline").value <= 0.05
