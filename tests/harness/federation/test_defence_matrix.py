"""The matrix of attackers and defences: each cell is the scenario's own finding, and each cost its own training."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate
from testbed.harness.run import run
from testbed.harness.scenario import find


def test_a_cell_is_the_finding_of_its_scenario_and_the_chart_orders_the_defences() -> None:
    matrix = find("defence_matrix")
    by_client = "a client that reads models"
    result = run(matrix, {"defences": "gaussian:1; none; secagg", "attackers": by_client}).result
    assert [f.target for f in result.findings] == [f"{by_client}, {d}" for d in ("gaussian:1", "none", "secagg")]
    alone = run(find("curious_client"), {"clients": 2, "rounds": 20, "defence": "gaussian:1"}).result
    assert result.findings[0].measure == alone.findings[0].measure
    assert not any(f.primary for f in result.findings)
    chart = result.findings[0].series[-1]
    assert chart.labels[0] in ("none", "secagg")  # secure aggregation hides nothing from a client
    assert chart.labels[-1] == "gaussian:1"
    costs: dict[str, Any] = {u.name.rpartition("on, ")[2].split(":")[0]: u.measure for u in result.utility}
    assert {d.name for d in result.defences} == {"gaussian", "secagg"}
    assert costs["without a defence"].value > 0.75


def test_a_defence_of_the_server_is_not_run_against_a_server() -> None:
    chosen = {"defences": "none; median", "attackers": "a server that reads updates"}
    result = run(find("defence_matrix"), chosen).result
    assert [f.target for f in result.findings] == ["a server that reads updates, none"]


@pytest.mark.parametrize(
    "wrong", [{"defences": " ; "}, {"defences": "clip; clip"}, {"attackers": "nobody"}, {"budget": "weeks"}]
)
def test_a_matrix_without_a_cell_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="no matrix"):
        find("defence_matrix")(**wrong)


@pytest.mark.slow
def test_a_server_under_secure_aggregation_asks_about_the_sum() -> None:
    asked = "a server that asks who was used"
    result = run(find("defence_matrix"), {"defences": "none; secagg", "attackers": asked}).result
    found = [f.excess for f in result.findings]
    assert all(isinstance(e, Estimate) for e in found)
