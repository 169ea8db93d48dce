"""The scenario of federated analytics: single patients behind statistics, beside their control, and replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate, Finding, Result
from testbed.harness.federation.analytics_trial import likeness
from testbed.harness.federation.replay import replay
from testbed.harness.run import run
from testbed.harness.scenario import find
from testbed.models.summaries import HISTOGRAM, PEOPLE


def told(**params: Any) -> Result:
    return run(find("federated_analytics"), params).result


def excess(finding: Finding) -> Estimate:
    assert isinstance(finding.excess, Estimate)
    return finding.excess


def test_who_joined_is_picked_out_of_a_line_up_and_a_replay_says_the_same(tmp_path: Path) -> None:
    done = run(find("federated_analytics"), {"rounds": 6})
    by_server, by_client = done.result.findings
    assert by_server.primary
    assert not by_client.primary
    assert excess(by_server).low > 0.6
    assert excess(by_client).value < excess(by_server).value  # of four hospitals it sees the sum of three
    assert isinstance(by_server.baseline, Estimate)
    assert by_server.baseline.value < 0.2
    for name, content in done.outcome.files.items():
        (tmp_path / name).write_bytes(content)
    again = replay(tmp_path / "true.transcript", "round_difference", truth_path=tmp_path / "truth.npz")
    assert again.result.findings[0].measure == by_server.measure


def test_one_of_two_hospitals_reads_the_other_as_the_coordinator_does() -> None:
    by_server, by_client = told(clients=2, rounds=6).findings
    assert excess(by_client).value == excess(by_server).value == 1


def test_suppression_leaves_much_and_noise_with_a_guarantee_leaves_nothing() -> None:
    (hidden, *_), noisy = told(defence="small_cells:10", rounds=6).findings, told(defence="count_noise:5", rounds=6)
    assert excess(hidden).low > 0.3
    assert "naive_attacker" not in hidden.validity.flags
    assert excess(noisy.findings[0]).high < 0.3
    (stated,) = noisy.defences
    assert isinstance(stated.epsilon, Estimate)
    assert stated.epsilon.value == 30
    (useful,) = noisy.utility
    assert isinstance(useful.measure, Estimate)
    assert 0 < useful.measure.value < 1


def test_steps_of_curves_are_exact_and_of_more_hospitals_they_are_hardly_read() -> None:
    two, four = (told(statistic="curves", clients=n, people=800).findings for n in (2, 4))
    assert excess(two[0]).low > 0.5
    assert excess(two[1]).low > 0.5
    assert excess(four[0]).low > 0.5
    assert excess(four[1]).value < 0.2


def test_quantiles_are_patients_values_beside_others_who_have_them() -> None:
    (finding,) = told(statistic="quantiles").findings
    assert isinstance(finding.measure, Estimate)
    assert isinstance(finding.control, Estimate)
    assert finding.measure.value > 0.8
    assert 0.3 < finding.control.value < finding.measure.value


@pytest.mark.parametrize(
    ("params", "id"),
    [
        ({"statistic": "means"}, "TB-RUN-013"),
        ({"rounds": 1}, "TB-SCENARIO-048"),
        ({"rounds": 40}, "TB-SCENARIO-049"),
        ({"data": "digits"}, "TB-SCENARIO-050"),
        ({"statistic": "curves", "data": "heart"}, "TB-DATA-088"),
        ({"statistic": "curves", "defence": "count_noise:1"}, "TB-DEFENCE-045"),
        ({"defence": "gaussian:1"}, "TB-DEFENCE-021"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused(params: dict[str, Any], id: str) -> None:
    with pytest.raises(UsageError, match=id):
        told(**params)


def test_likeness_is_one_minus_the_distance_of_the_shares() -> None:
    plain = {PEOPLE: np.array([10.0]), HISTOGRAM: np.array([[5.0, 3.0, 2.0]])}
    assert likeness(plain, plain) == 1
    hidden = {**plain, HISTOGRAM: np.array([[5.0, np.nan, np.nan]])}  # taken as 2.5 each
    assert likeness(hidden, plain) == pytest.approx(0.95)
