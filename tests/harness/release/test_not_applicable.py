"""A rule that has nothing to look at says so. It neither passes nor keeps a release from passing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release
from testbed.data.tables.encode import encode
from testbed.findings import policy
from testbed.findings.schema import Unmeasured, Validity
from testbed.harness.release.near_copies import near_copied
from testbed.harness.release.setting import Setting
from tests.findings.test_policy import LIMITS, finding

PLANE = pd.DataFrame(dict(zip("xy", np.random.default_rng(6).uniform(0, 1000, (2, 460)), strict=True)))


def few_categories() -> tuple[pd.DataFrame, ...]:
    rng = np.random.default_rng(5)
    return tuple(pd.DataFrame({c: rng.choice(list("ab"), 400) for c in "xyz"}) for _ in range(3))


@pytest.mark.parametrize(
    ("original", "release", "control"),
    [
        few_categories(),  # they point at nobody
        (PLANE.iloc[40:440], PLANE.iloc[440:449], PLANE.iloc[:40]),  # nine rows point at nine people
        (PLANE.iloc[40:440], PLANE.iloc[440:454], PLANE.iloc[:40]),  # of fourteen people, chance makes most members
    ],
)
def test_a_near_copy_rule_that_could_not_fail_is_not_applicable_and_costs_no_pass(
    original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame
) -> None:
    frames = encode(original, release, control)
    found = near_copied(Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None))
    assert isinstance(found.measure, Unmeasured)
    assert "near_copies" not in found.validity.flags
    assert "not applicable" in found.plain
    applied = found.model_copy(update={"validity": Validity(ok=True, flags=[])})
    judged, decision = policy.decide([applied, finding(20, 20)], LIMITS)
    assert judged[0].verdict == "none"
    assert decision.verdict == "pass"
    assert [r.verdict for r in decision.reasons] == ["pass", "none"]
    # Alone it is no evidence for a release.
    assert policy.decide([applied], LIMITS)[1].verdict == "review"
