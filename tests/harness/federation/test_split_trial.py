"""The scenario of split learning: labels from gradients, beside people of whom there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate, Finding
from testbed.harness.federation.replay import replay
from testbed.harness.run import run
from testbed.harness.scenario import find


def values(finding: Finding) -> list[float]:
    found = [finding.measure, finding.control, finding.baseline, finding.excess]
    assert all(isinstance(m, Estimate) for m in found)
    return [m.value for m in found if isinstance(m, Estimate)]


def test_labels_are_read_and_noise_hides_them_at_a_price(tmp_path: Path) -> None:
    done = run(find("split_learning"), {"rounds": 60})
    by_direction, by_length = done.result.findings
    assert by_direction.primary
    measure, control, baseline, excess = values(by_direction)
    assert measure > 0.95
    assert 0.6 < control < 0.85
    assert baseline == pytest.approx(control, abs=0.1)
    assert excess > 0.1
    assert abs(values(by_length)[3]) < 0.1  # the classes of heart are as frequent
    noisy = run(find("split_learning"), {"rounds": 60, "defence": "cut_noise:2"}).result
    knowing, _, unaware = noisy.findings
    assert values(knowing)[0] > values(unaware)[0] + 0.05  # averaged over a person's batches
    assert values(unaware)[3] < 0.05
    assert "naive_attacker" not in knowing.validity.flags
    assert noisy.defences[0].adaptive
    assert isinstance(noisy.findings[0].positive_control, Estimate)
    assert noisy.findings[0].positive_control.value > 0.95
    without, with_noise = (u.measure for u in reversed(noisy.utility))
    assert isinstance(without, Estimate)
    assert isinstance(with_noise, Estimate)
    assert {u.name.rpartition(", ")[2] for u in noisy.utility} == {"without a defence", "with cut_noise:scale=2.0"}
    path = tmp_path / "t"
    path.write_bytes(done.outcome.files["true.transcript"])
    with pytest.raises(UsageError, match="TB-REPLAY-039"):
        replay(path, "cut_direction")


@pytest.mark.parametrize(
    ("params", "id"),
    [
        ({"data": "digits"}, "TB-SCENARIO-051"),
        ({"own": 20}, "TB-SCENARIO-051"),
        ({"rounds": 1}, "TB-SCENARIO-051"),
        ({"defence": "gaussian:1"}, "TB-DEFENCE-021"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused(params: dict[str, Any], id: str) -> None:
    with pytest.raises(UsageError, match=id):
        run(find("split_learning"), params)
