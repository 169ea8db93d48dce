"""What a killed run left is replayed, and both the command and the report say where it ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from testbed.core import Protocol
from testbed.core.errors import UsageError
from testbed.harness.federation.replay import replay
from testbed.subjects.federation.transcript import Writer

RECORD = np.array([0.25, 0.5, 0.75])


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spool of a run that was killed in its third round."""
    folder = tmp_path_factory.mktemp("running")
    model = {"weight": np.ones((2, 3)), "bias": np.zeros(2)}
    with Writer(folder / "t", protocol=Protocol("fedsgd", batch_size=1, learning_rate=0.1)) as writer:
        for round_ in (1, 2, 3):
            writer.sent(round_, 0, model)
            error = np.array([0.5, -0.5]) * round_
            writer.returned(round_, 0, {"weight": np.outer(error, RECORD), "bias": error}, {"num-examples": 1})
        writer._open._file.flush()  # type: ignore[union-attr]
        shutil.copy(folder / "t.spool", folder / "left.spool")
    assert sorted(p.name for p in folder.iterdir()) == ["left.spool", "t"]
    return folder / "left.spool"


def test_a_spool_is_replayed_and_says_that_it_ends(left: Path) -> None:
    said: list[str] = []
    done = replay(left, "analytic_linear", progress=said.append)
    with np.load(__import__("io").BytesIO(done.outcome.files["claim.npz"])) as claim:
        assert sorted(claim.files) == ["round1.client0", "round2.client0"]
        np.testing.assert_allclose(claim["round2.client0"][0], RECORD)
    assert said == ["The recording ends at round 2: the run was killed. Later rounds are not in it."]
    assert "the rounds after round 2" in " ".join(done.result.threat.not_tested)


def test_a_whole_transcript_says_nothing_of_the_kind(left: Path) -> None:
    said: list[str] = []
    done = replay(left.with_name("t"), "analytic_linear", progress=said.append)
    assert said == []
    assert "the rounds after round" not in " ".join(done.result.threat.not_tested)


def test_a_transcript_that_is_missing_is_pointed_to_its_spool(left: Path) -> None:
    with pytest.raises(UsageError, match=r"TB-REPLAY-001.*Replay left\.spool"):
        replay(left.with_name("left"), "analytic_linear")
