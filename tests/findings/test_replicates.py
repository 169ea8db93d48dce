"""Five runs of a recipe: the mean over runs, the run as the unit, and a t interval worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.findings import statistics
from testbed.findings.schema import Estimate, Finding
from testbed.harness.run import run
from testbed.harness.scenario import find

PARAMS = {"data": "breast-cancer", "clients": 2, "rounds": 2, "members": 150, "controls": 150, "hidden": 8}


def measured(findings: list[Finding], attack: str) -> Estimate:
    found = next(f.measure for f in findings if f.attack.name == attack and getattr(f.measure, "metric", "") == "auc")
    assert isinstance(found, Estimate)
    return found


def test_the_mean_over_runs_has_the_run_as_its_unit() -> None:
    registered = find("curious_server_membership")
    single = [run(registered, PARAMS, seed=s).result.findings for s in range(3, 8)]
    joined = run(registered, PARAMS, seed=3, replicates=5).result.findings
    values = np.array([measured(f, "update_product").value for f in single])
    expected, found = statistics.t_interval(values), measured(joined, "update_product")
    assert (found.unit, found.n) == ("run", 5)
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high), abs=2e-3
    )
