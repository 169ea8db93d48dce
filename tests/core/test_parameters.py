"""Parameters that describe no run are refused before anything is trained; bounds and groups stay where they can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from testbed.attacks.inversion.labels import label_counts
from testbed.attacks.registry import find as find_attack
from testbed.core import Cohort, Exchange, Protocol, Transcript, Unavailable
from testbed.core.errors import InputError, UsageError
from testbed.data.cohorts import divide
from testbed.findings import statistics
from testbed.findings.schema import Subject, ThreatModel
from testbed.harness.federation.replay import replay
from testbed.harness.outcome import Outcome
from testbed.harness.run import run
from testbed.harness.scenario import Registered, Scenario, find
from testbed.subjects.federation import transcript

NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("curious_server", {"clients": 0}),
        ("curious_server", {"batch": 0}),
        ("curious_server", {"noise": -1.0}),
        ("curious_server", {"noise": NAN}),
        ("curious_server", {"clip": -1.0}),
        ("curious_server", {"learning_rate": 0.0}),
        ("curious_server", {"defence": "consistent_unmasking"}),
        ("curious_server_membership", {"epochs": 0}),
        ("hospital_tables", {"restarts": 0}),
        ("secure_aggregation", {"threshold": 1.5}),
        ("realism_sweep", {"batches": 0}),
        ("training_audit", {"delta": 2.0}),
        ("training_audit", {"claim": -3.0}),
        ("secure_aggregation", {"threshold": 0.4, "check": True}),
        ("language_model", {"width": 0}),
        ("language_model", {"width": 30}),
        ("side_by_side", {"data": "heart,heart"}),
    ],
)
def test_numbers_that_describe_no_run_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO"):
        find(name)(**wrong)


@pytest.mark.parametrize("wrong", [{"restarts": 0}, {"learning_rate": NAN}, {"iterations": -1}])
def test_an_attacks_parameters_have_ranges_too(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="TB-ATTACK-004"):
        find_attack("cosine_tv").configured(wrong)


def test_nothing_is_left_out_of_the_counts_where_noise_leaves_nobody() -> None:
    model = nn.Linear(3, 2)
    parameters = {k: p.detach() for k, p in model.named_parameters()}
    counts = label_counts(model, parameters, np.array([1.0, 1.0]), 7, torch.zeros(4, 3))
    assert counts.sum() == 7
    assert (counts >= 0).all()


def test_an_interval_over_runs_ends_where_the_number_does() -> None:
    wide = statistics.t_interval(np.array([0.0, 1.0, 0.5]), within=(0, 1))
    assert (wide.low, wide.high) == (0, 1)
    assert statistics.t_interval(np.array([0.0, 1.0, 0.5])).high > 1


@pytest.mark.parametrize("seed", range(10))
def test_a_group_is_as_large_as_an_earlier_one_that_came_out_larger(seed: int) -> None:
    persons = np.repeat(np.arange(100), 3).astype(str)
    people = Cohort(np.zeros((300, 1), np.float32), np.zeros(300, np.int64), persons)
    made = divide(people, {"members": 50, "controls": 20, "auxiliary": 50}, np.random.default_rng(seed))
    assert len(made["auxiliary"]) >= len(made["members"]) > 50


def counting(conduct: Callable[[int], Outcome], **defaults: Any) -> Registered:
    def make(seed: int = 0, **_: Any) -> Scenario:
        subject = Subject(type="model", name="x", data_class="public", licence="none", size_band="not stated")
        threat = ThreatModel(position="recipient", malicious=False, knows=[], access="score", sees="", not_tested=[])
        return Scenario(subject, threat, lambda *_: conduct(seed), engines=("none",))

    return Registered("counting", "How many?", make, {**defaults, "seed": 0}, "")


def test_replicates_of_several_runs_share_none() -> None:
    seeds: list[int] = []

    def conduct(seed: int) -> Outcome:
        seeds.append(seed)
        return Outcome([], {}, {})

    run(counting(conduct, runs=10), {}, seed=3, replicates=5)
    assert seeds == [3, 13, 23, 33, 43]


def test_what_cannot_be_done_is_told_in_words() -> None:
    def conduct(seed: int) -> Outcome:
        raise Unavailable("few_people", "more of them")

    with pytest.raises(UsageError, match="more of them"):
        run(counting(conduct))


def test_a_replay_takes_no_other_claims_truth(tmp_path: Path) -> None:
    small = {"data": "breast-cancer", "clients": 2, "rounds": 2, "members": 150, "controls": 150, "hidden": 8}
    for name, content in run(find("curious_server_membership"), small).outcome.files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match="TB-REPLAY-002"):
        replay(tmp_path / "true.transcript", "source_inference", truth_path=tmp_path / "truth.npz")


@pytest.mark.parametrize(("kind", "position"), [("banana", "server"), ("fedsgd", "root")])
def test_a_transcript_of_no_known_kind_is_refused(kind: Any, position: Any, tmp_path: Path) -> None:
    exchange = Exchange(1, 0, {"w": np.zeros(2, np.float32)}, {"w": np.ones(2, np.float32)})
    (tmp_path / "t").write_bytes(transcript.to_bytes(Transcript((exchange,), None, Protocol(kind), position)))
    with pytest.raises(InputError, match="TB-TRANSCRIPT-001"):
        transcript.read(tmp_path / "t")


def test_flowers_simulation_stays_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.services import get_node_ip_address

    from testbed.subjects.federation import compat

    where: list[str] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("flwr.simulation.run_simulation", lambda *_, **__: where.append(get_node_ip_address()))
    compat.run_simulation(None, None, 2)  # type: ignore[arg-type]
    assert where == ["127.0.0.1"]
