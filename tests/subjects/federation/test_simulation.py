"""The same apps on Flower's simulation runtime: the same model, the same findings, and a transcript that replays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from testbed.core import Cohort
from testbed.core.errors import RunError
from testbed.harness.federation import truth_file
from testbed.harness.federation.replay import replay
from testbed.harness.run import run
from testbed.harness.scenario import find
from testbed.subjects.federation.federation import Federation
from tests.subjects.federation.test_engine import SPEC, parts, protocol

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["fedsgd", "fedavg"])
def test_both_engines_end_at_one_model(kind: str) -> None:
    made = [Federation(SPEC, protocol(kind), 3).run(parts(), engine) for engine in ("in-process", "simulation")]
    assert [e.key for e in made[0].exchanges] == [e.key for e in made[1].exchanges]
    for name, value in (made[0].final or {}).items():
        np.testing.assert_allclose((made[1].final or {})[name], value, atol=1e-5)


SMALL = {"data": "digits", "clients": 2, "rounds": 5}
SCENARIOS = [
    ("curious_server", SMALL),
    ("curious_server", {**SMALL, "noise": 0.01}),
    ("malicious_server", SMALL),
    ("curious_client", SMALL),
    (
        "curious_server_membership",
        {"data": "breast-cancer", "clients": 3, "members": 150, "controls": 150, "rounds": 3, "hidden": 8},
    ),
]


@pytest.mark.parametrize(("name", "params"), SCENARIOS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(SCENARIOS)])
def test_both_engines_give_the_same_findings_and_the_transcript_replays(
    name: str, params: dict[str, object], tmp_path: Path
) -> None:
    here, there = (run(find(name), params, seed=4, engine=e) for e in ("in-process", "simulation"))
    assert here.result.findings == there.result.findings
    for file, content in there.outcome.files.items():
        (tmp_path / file).write_bytes(content)
    first = there.result.findings[0]
    again = replay(tmp_path / "true.transcript", first.attack.name, truth_path=tmp_path / truth_file.FILE, seed=4)
    assert again.result.findings[0] == first


def test_a_client_that_fails_fails_the_run_there_too() -> None:
    other = Cohort(np.zeros((8, 5), np.float32), np.zeros(8, np.int64), np.arange(8).astype(str))
    with pytest.raises(RunError, match="TB-RUN-001"):
        Federation(SPEC, protocol(), 3).run([*parts()[:2], other], "simulation")
