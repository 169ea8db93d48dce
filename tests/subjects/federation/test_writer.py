"""A transcript written by a loop that is not Flower's, and read where Flower is not installed."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import testbed
from testbed.core import Protocol
from testbed.core.errors import UsageError
from testbed.subjects.federation import transcript
from tests.conftest import ROOT

WITHOUT_FLOWER = "import sys\nsys.modules['flwr'] = None\n"


def alone(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script in a process of its own, in which Flower cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_FLOWER + script], cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the documented example was run."""
    page = (ROOT / "docs" / "transcript.md").read_text(encoding="utf-8")
    example = next(text for text in re.findall(r"```python\n(.*?)```", page, re.S) if "Writer(" in text)
    path = tmp_path_factory.mktemp("loop")
    done = alone(example, path)
    assert done.returncode == 0, done.stderr
    return path


def test_the_documented_loop_is_replayed_without_flower_and_its_patients_are_reconstructed(folder: Path) -> None:
    script = "from testbed.cli import main\n"
    script += "sys.argv = 'testbed replay loop.transcript --attack analytic_linear --out run'.split()\nmain()"
    done = alone(script, folder)
    assert done.returncode == 3, done.stderr
    with np.load(folder / "run" / "evidence" / "claim.npz") as claim:
        rebuilt = np.stack([claim[f"round1.client{c}"][0] for c in range(3)])
    np.testing.assert_allclose(rebuilt, np.random.default_rng(0).random((3, 12)), atol=1e-4)


def test_a_loop_may_change_its_arrays_after_they_are_recorded(tmp_path: Path) -> None:
    weights = {"w": np.zeros(3)}
    with transcript.Writer(tmp_path / "t") as writer:
        writer.sent(1, 0, weights)
        weights["w"] += 1
        writer.returned(1, 0, weights)
        weights["w"] += 1
    (exchange,) = transcript.read(tmp_path / "t").exchanges
    assert (exchange.sent or {})["w"].tolist() == [0, 0, 0]
    assert (exchange.returned or {})["w"].tolist() == [1, 1, 1]


def test_all_that_is_told_is_in_the_file(tmp_path: Path) -> None:
    protocol = Protocol("fedavg", batch_size=8, learning_rate=0.1)
    layers = [torch.ones(2, 2, requires_grad=True), torch.zeros(2)]
    with testbed.transcript.Writer(str(tmp_path / "t"), protocol=protocol) as writer:
        writer.sent(2, 1, layers, {"lr": 0.1})
        writer.sent(1, 1, layers)
        writer.returned(2, 1, layers, {"num-examples": 5}, "ok")
        writer.returned(3, 0, None, status="refused")
        writer.final(layers)
    read = transcript.read(tmp_path / "t")
    assert read.protocol == protocol
    told = [(e.round, e.client, e.status, e.metrics, e.config) for e in read.exchanges]
    assert told == [
        (1, 1, "dropped", {}, {}),
        (2, 1, "ok", {"num-examples": 5.0}, {"lr": 0.1}),
        (3, 0, "refused", {}, {}),
    ]
    assert list(read.final or {}) == ["0", "1"]


def test_a_loop_that_stops_midway_leaves_what_it_recorded(tmp_path: Path) -> None:
    def stopped() -> None:
        with transcript.Writer(tmp_path / "t") as writer:
            writer.sent(1, 0, {"w": np.zeros(3)})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [e.status for e in transcript.read(tmp_path / "t").exchanges] == ["dropped"]


IMPORTED = """
import sys
{line}
from testbed.subjects.federation import transcript as deeper
assert {name} is deeper and {name}.Writer is deeper.Writer, "another copy"
assert not {{"torch", "pandas", "scipy", "sklearn"}} & set(sys.modules), "heavy"
"""


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import testbed.transcript", "testbed.transcript"),
        ("from testbed import transcript", "transcript"),
        ("from testbed.transcript import Writer; import testbed", "testbed.transcript"),
        ("import testbed", "testbed.transcript"),
    ],
)
def test_it_is_imported_as_users_write_it_and_loads_nothing_heavy(tmp_path: Path, line: str, name: str) -> None:
    done = alone(IMPORTED.format(line=line, name=name), tmp_path)
    assert done.returncode == 0, done.stderr


def test_no_other_name_is_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("testbed.transcripts")


def test_what_a_transcript_cannot_hold_is_refused_when_it_is_recorded(tmp_path: Path) -> None:
    writer = transcript.Writer(tmp_path / "t")
    with pytest.raises(UsageError, match=r"TB-TRANSCRIPT-005.*bfloat16"):
        writer.sent(1, 0, {"w": torch.zeros(2, dtype=torch.bfloat16)})
    with pytest.raises(UsageError, match="TB-TRANSCRIPT-005"):
        writer.sent(1, 0, {"w": np.array([None])})
    with pytest.raises(UsageError, match=r"TB-TRANSCRIPT-007.*round"):
        writer.sent("first", 0, {})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"TB-TRANSCRIPT-007.*config"):
        writer.sent(1, 0, {}, {"rates": [0.1]})
    writer.sent(1, 0, {})
    with pytest.raises(UsageError, match="TB-TRANSCRIPT-006"):
        writer.sent(1, 0, {})
