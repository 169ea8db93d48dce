"""The axes of realism in the scenarios: whom is asked about, and what is refused before anything trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scenarios.curious_server import curious_server
from scenarios.federated_membership import federated_membership
from testbed.core import Protocol, Threat
from testbed.core.errors import UsageError
from testbed.data.cohorts import source
from testbed.harness.cells import planned
from testbed.harness.federation.axes import axes
from testbed.harness.federation.people import hospitals
from testbed.harness.federation.prepare import mlp
from testbed.harness.federation.trial import Trial
from testbed.harness.run import run
from testbed.harness.scenario import Scenario
from testbed.subjects.federation.attendance import TRAINED, Attendance, Turn
from testbed.subjects.federation.federation import Federation

CLIENTS, ROUNDS = 4, 3


def trial(attack: str, attendance: Attendance, once: bool = False) -> Trial:
    known = source("digits")
    protocol = Protocol("fedavg", 2, 1, learning_rate=0.1, rounds=ROUNDS, clients=CLIENTS)
    federation = Federation(mlp(known, 8), protocol, 1, attendance=attendance)
    knows = frozenset({"architecture", "target_records", "batch_size"})
    split = hospitals(known, CLIENTS, 4, 0)
    return Trial(split, federation, Threat("server", knows=knows), (planned(attack, primary=True),), once=once)


def test_a_reconstruction_is_asked_for_where_a_client_answered_and_of_the_records_it_used() -> None:
    asked = trial("analytic_linear", Attendance(participation=0.75, dropouts=0.3, stragglers=0.5))
    turns = asked.federation.turns(CLIENTS)
    assert turns is not None
    recorded = asked.record("in-process", cells=("true",))
    held = recorded.truth.batches["true"]
    assert set(held) == {(r + 1, c) for r, c in np.argwhere(np.isin(turns, TRAINED)).tolist()}
    assert set(held) == {e.key for e in recorded.views["true"].exchanges if e.returned is not None}
    sizes = {key: 2 if turns[key[0] - 1, key[1]] == Turn.PARTIAL else 4 for key in held}
    assert {key: len(people) for key, people in held.items()} == sizes
    last = replace(asked, once=True).record("in-process", cells=("true",)).truth.batches["true"]
    assert set(last) == {max(k for k in held if k[1] == c) for c in {c for _, c in held}}


def test_people_of_a_client_that_never_answered_are_not_asked_about() -> None:
    asked = trial("update_product", Attendance(participation=0.25))
    turns = asked.federation.turns(CLIENTS)
    assert turns is not None
    present = set(np.flatnonzero((turns == Turn.ANSWERS).any(0)).tolist())
    assert 0 < len(present) < CLIENTS
    pooled = asked.record("in-process", cells=("true",)).truth.pooled["true"]
    assert set(pooled.suspected.tolist()) == present
    assert pooled.used.sum() == 4 * len(present)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("plain", {}),
        ("fedprox", {"proximal_mu": 0.1}),
        ("fedprox:0.5 + fedadam", {"proximal_mu": 0.5, "server": "adam", "server_rate": 0.01}),
        ("scaffold", {"controls": True}),
    ],
)
def test_an_algorithm_is_named_with_its_value(text: str, rules: dict[str, object]) -> None:
    assert axes(text, 0, Attendance()).rules == rules


@pytest.mark.parametrize(
    ("scenario", "params", "error"),
    [
        (curious_server, {"algorithm": "fedprox"}, "TB-RUN-015"),
        (curious_server, {"stragglers": 0.5}, "TB-RUN-015"),
        (curious_server, {"algorithm": "fedavgm"}, "TB-SCENARIO-095"),
        (curious_server, {"algorithm": "fedprox:-1"}, "TB-SCENARIO-095"),
        (curious_server, {"algorithm": "scaffold:2"}, "TB-SCENARIO-095"),
        (curious_server, {"attack": "cosine_tv", "personal": 1}, "TB-SCENARIO-096"),
        (federated_membership, {"algorithm": "scaffold", "view": "sum"}, "TB-SCENARIO-097"),
        (federated_membership, {"participation": 0.5, "topology": "swarm"}, "TB-SCENARIO-097"),
        (federated_membership, {"late": True}, "TB-RUN-010"),
        (federated_membership, {"algorithm": "scaffold", "noise": 1.0}, "TB-RUN-011"),
        (federated_membership, {"algorithm": "scaffold+fedprox"}, "TB-RUN-016"),
    ],
)
def test_what_a_scenario_cannot_do_is_refused(scenario: Scenario, params: dict[str, object], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        run(scenario, params)  # type: ignore[arg-type]
