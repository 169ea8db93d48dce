"""An audit of differential privacy: its bound is below epsilon where the promise is kept, and above where it is not."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from testbed.core.randomness import keyed_rng
from testbed.findings import policy, statistics
from testbed.findings.schema import Estimate
from testbed.harness.run import Done, run
from testbed.harness.scenario import find


def test_the_bound_by_hand() -> None:
    # All of 100 told rightly on either side: TPR at least .025^(1/100), FPR at most 1 - that.
    edge = 0.025 ** (1 / 100)
    assert statistics.epsilon_lower(100, 100, 0, 100).value == pytest.approx(math.log(edge / (1 - edge)))
    assert statistics.epsilon_ceiling(100, 100) == statistics.epsilon_lower(100, 100, 0, 100).value
    assert statistics.epsilon_lower(50, 100, 50, 100).value == 0.0
    assert statistics.epsilon_lower(0, 100, 0, 100).value == 0.0


def test_the_bound_holds_where_it_is_tight() -> None:
    # Randomised response at epsilon 1: TPR = e / (1 + e), FPR = 1 / (1 + e); a peer's bound is above in 35 %.
    rng = keyed_rng(4, "randomised response")
    tpr = math.e / (1 + math.e)
    above = sum(
        statistics.epsilon_lower(int(rng.binomial(300, tpr)), 300, int(rng.binomial(300, 1 - tpr)), 300).value > 1
        for _ in range(2000)
    )
    assert above / 2000 < 0.05


@functools.cache
def done(noise: bool, seed: int) -> Done:
    """An audit of 400 runs, on which a policy decides."""
    return run(find("synthesizer_audit"), {"noise": noise, "runs": 400}, seed=seed, policy=policy.load())


def audited(noise: bool, seed: int = 0) -> tuple[float, list[str]]:
    (finding,) = done(noise, seed).result.findings
    assert isinstance(finding.measure, Estimate)
    assert isinstance(finding.positive_control, Estimate)
    assert finding.positive_control.value > 1
    return finding.measure.value, finding.validity.flags


def test_a_kept_promise_is_not_exceeded_and_a_broken_one_is() -> None:
    kept, flags = audited(True)
    assert kept <= 1
    assert flags == []
    broken, flags = audited(False)
    assert broken > 2
    assert flags == ["claim_exceeded"]


def test_a_broken_promise_fails_and_a_kept_one_passes() -> None:
    for noise, verdict in ((True, "pass"), (False, "fail")):
        assert done(noise, 0).result.decision.verdict == verdict


@pytest.mark.slow
def test_over_many_audits_a_kept_promise_is_exceeded_no_oftener_than_claimed() -> None:
    exceeded = sum(audited(True, seed)[0] > 1 for seed in range(60))
    assert statistics.clopper_pearson(60 - exceeded, 60, 0.995)[1] >= 0.95
    assert np.isfinite(exceeded)
