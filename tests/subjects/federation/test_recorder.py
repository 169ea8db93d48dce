"""A recorder that writes while the federation runs: killed, on a full disk, and never in the federation's way."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import testbed
from testbed.core import Protocol, Transcript
from testbed.core.errors import UsageError
from testbed.subjects.federation import spool, transcript
from testbed.subjects.federation.recorder import Recorder
from tests.conftest import ROOT
from tests.subjects.federation.test_tap import CLIENTS, fedavg, moved, run

ABOUT = Transcript((), None, Protocol("fedavg"))


@contextmanager
def full_disk(size: int) -> Generator[None]:
    """The system refuses to write beyond this size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_file_lies_there_when_the_run_ends_and_is_the_one_from_memory(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.transcript"
    strategy = testbed.record(fedavg(), path=str(path))
    run(strategy, rounds=2)
    seen = transcript.read(path)
    assert [e.key for e in seen.exchanges] == [(r, c) for r in (1, 2) for c in range(CLIENTS)]
    assert transcript.to_bytes(seen) == path.read_bytes() == transcript.to_bytes(strategy.transcript())
    for e in seen.exchanges:
        for name, values in moved(e.client).items():
            np.testing.assert_array_equal((e.returned or {})[name], values)
    assert [p.name for p in path.parent.iterdir()] == ["t.transcript"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_start_is_added_to_the_file(tmp_path: Path) -> None:
    strategy = testbed.record(fedavg(), path=tmp_path / "t")
    run(strategy, rounds=1)
    assert {e.round for e in transcript.read(tmp_path / "t").exchanges} == {1}
    run(strategy, rounds=2)
    assert {e.round for e in transcript.read(tmp_path / "t").exchanges} == {1, 2, 3}
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


KILLED = """
import os, signal, sys
import testbed
from tests.subjects.federation.test_tap import fedavg, run

def change(client, round_, content):
    if round_ == 3 and client == 1:
        os.kill(os.getpid(), signal.SIGKILL)

run(testbed.record(fedavg(), path=sys.argv[1]), change, rounds=4)
"""


def test_a_killed_run_leaves_its_whole_rounds(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "t")], cwd=ROOT, capture_output=True, timeout=300
    )
    assert done.returncode == -9
    assert [p.name for p in tmp_path.iterdir()] == ["t.spool"]
    seen = transcript.read(tmp_path / "t.spool")
    assert seen.cut_after == 2
    assert [e.key for e in seen.exchanges] == [(r, c) for r in (1, 2) for c in range(CLIENTS)]
    assert all(e.returned for e in seen.exchanges)
    with pytest.raises(UsageError, match="TB-TRANSCRIPT-008"):
        testbed.record(fedavg(), path=tmp_path / "t")
    transcript.write(tmp_path / "t", seen)
    assert transcript.read(tmp_path / "t").cut_after == 2
    assert transcript.to_bytes(transcript.read(tmp_path / "t")) == transcript.to_bytes(seen)


def test_a_full_disk_ends_the_recording_in_words_and_not_the_federation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strategy = testbed.record(fedavg(), path=tmp_path / "t")
    with full_disk(3000), caplog.at_level(logging.WARNING, "testbed"):
        (result,) = run(strategy, rounds=6)
    assert result.arrays is not None
    assert "File too large" in caplog.text
    with pytest.raises(UsageError, match=r"TB-TRANSCRIPT-010.*stopped in round \d.*File too large.*t\.spool"):
        strategy.transcript()
    assert [p.name for p in tmp_path.iterdir()] == ["t.spool"]
    assert 1 <= (transcript.read(tmp_path / "t.spool").cut_after or 0) < 6


def test_a_file_that_cannot_be_written_at_the_end_leaves_the_spool(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t").mkdir()  # no file can take its place
    strategy = testbed.record(fedavg(), path=tmp_path / "t")
    with caplog.at_level(logging.WARNING, "testbed"):
        run(strategy)
    assert "its spool can be replayed" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t", "t.spool"]
    left = replace(transcript.read(tmp_path / "t.spool"), cut_after=None)
    assert transcript.to_bytes(strategy.transcript()) == transcript.to_bytes(left)


def test_memory_is_bounded_by_about_one_message(tmp_path: Path) -> None:
    size, rng = 250_000, np.random.default_rng(0)
    recorder = Recorder(ABOUT, tmp_path / "t")
    tracemalloc.start()
    try:
        for round_ in (1, 2, 3):
            sent = recorder.arrays(lambda: {"w": rng.random(size)})
            for client in range(10):
                returned = recorder.arrays(lambda: {"w": rng.random(size)})
                recorder.exchange((round_, client), (sent, returned), "ok", {}, {})
            recorder.whole(round_, {}, None)
        recorder.finish({})
        read = transcript.read(tmp_path / "t")
        assert tracemalloc.get_traced_memory()[1] < 2.5 * 8 * size
    finally:
        tracemalloc.stop()
    assert len(read.exchanges) == 30
    assert (tmp_path / "t").stat().st_size > 33 * 8 * size


def test_without_a_path_a_large_federation_goes_to_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY", 1_000_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    recorder, rng, size = Recorder(ABOUT), np.random.default_rng(0), 100_000
    tracemalloc.start()
    try:
        for client in range(20):
            recorder.exchange((1, client), (None, recorder.arrays(lambda: {"w": rng.random(size)})), "ok", {}, {})
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    seen = recorder.transcript({})
    assert len({float((e.returned or {})["w"][0]) for e in seen.exchanges}) == 20
    assert list(tmp_path.iterdir()) == []
