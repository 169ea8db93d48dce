"""A swarm: hospitals aggregate in turn, and one of them is compared with a fixed server."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from scenarios.federated_membership import TURNS, federated_membership
from testbed.core import Threat
from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate
from testbed.harness.federation.truth_file import threat_of
from testbed.harness.run import run

SMALL: dict[str, Any] = {
    "data": "heart",
    "members": 60,
    "controls": 100,
    "rounds": 2,
    "runs": 2,
    "clients": 2,
    "hidden": 8,
    "epochs": 1,
}


def test_a_hospital_that_aggregates_in_turn_stands_beside_a_fixed_server() -> None:
    found = run(federated_membership, {**SMALL, "topology": "swarm"}).result.findings
    own = [f for f in found if (f.target or "").startswith(TURNS)]
    beside = {f.attack.name for f in own if (f.target or "").endswith("beside passive server")}
    alone = {f.attack.name for f in own} - {"loss_threshold"}
    assert beside == alone >= {"update_product", "client_loss", "source_inference"}
    assert not any(f.primary for f in own)
    fixed = next(f for f in found if f.rule == "TB-MEMBERSHIP-601" and f not in own)
    turns = next(f for f in own if f.rule == "TB-MEMBERSHIP-601")
    assert isinstance(fixed.measure, Estimate)
    assert isinstance(turns.measure, Estimate)
    assert turns.measure.n < fixed.measure.n  # its own patients are not asked about


def test_a_swarm_has_no_sums() -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO-008"):
        run(federated_membership, {**SMALL, "topology": "swarm", "view": "sum"})
    with pytest.raises(UsageError, match="TB-SCENARIO-008"):
        run(federated_membership, {**SMALL, "topology": "ring"})


@pytest.mark.parametrize("threat", [Threat("server"), Threat("server", nodes=(1,), turns=(2, 4))])
def test_turns_come_back_from_a_truth_file(threat: Threat) -> None:
    told = json.loads(json.dumps(asdict(threat) | {"knows": sorted(threat.knows)}))
    assert threat_of(told) == threat
    del told["turns"]
    assert threat_of(told).turns is None
