"""What a federation writes while it runs: the same transcript as from memory, and whole rounds wherever it is cut."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from testbed.core import Exchange, ModelSpec, Protocol, Transcript
from testbed.core.errors import InputError, UsageError
from testbed.subjects.federation import spool, transcript
from testbed.subjects.federation.spool import Spool
from tests.subjects.federation import damages

ROUNDS, CLIENTS = 3, 4
ABOUT = Transcript((), ModelSpec("mlp", {"shape": [3]}), Protocol("fedsgd", 1, learning_rate=0.1))


def told() -> Transcript:
    """A federation in which client 2 drops out of round 2, and sends nothing but a number that is none in round 3."""
    rng = np.random.default_rng(0)
    exchanges: list[Exchange] = []
    models = [{"w": rng.normal(size=(2, 3)).astype(np.float32), "steps": np.array([r])} for r in range(ROUNDS + 1)]
    for r in range(1, ROUNDS + 1):
        for c in range(CLIENTS):
            returned = {"w": rng.normal(size=(2, 3)).astype(np.float32), "steps": np.array([r])}
            lost = c == 2 and r > 1
            metrics = {"loss": float("nan")} if lost and r == 3 else {"num-examples": 1.0}
            status = "dropped" if lost and r == 2 else "ok"
            exchanges.append(Exchange(r, c, models[r - 1], None if lost else returned, metrics, {"lr": 0.1}, status))
    return Transcript(tuple(exchanges), ABOUT.model, ABOUT.protocol, final=models[ROUNDS])


def written(path: Path | None = None) -> Spool:
    """The federation as its recorder writes it: nodes have large numbers, of which one tells none."""
    to, seen = Spool(ABOUT, path), told()
    for r in range(1, ROUNDS + 1):
        mine = [e for e in seen.exchanges if e.round == r]
        sent = to.arrays(mine[0].sent)
        for e in mine:
            returned = to.arrays(e.returned)
            to.exchange((r, 2**63 + e.client), (sent, returned), e.status, e.metrics, {**e.config, "odd": [1]})
        after = seen.final if r == ROUNDS else next(e.sent for e in seen.exchanges if e.round == r + 1)
        to.whole(r, {2**63 + c: c for c in range(CLIENTS - 1)}, to.arrays(after))
    return to


@pytest.mark.parametrize("limit", [0, spool.IN_MEMORY])
def test_the_transcript_is_the_one_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY", limit)
    expected = transcript.to_bytes(told())
    for to in (written(), written(tmp_path / "t.spool")):
        recording = to.recording()
        transcript.finish(tmp_path / "t", recording)
        assert (tmp_path / "t").read_bytes() == expected
        assert transcript.to_bytes(transcript.recorded(recording)) == expected
        to.close()
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_a_spool_holds_each_tensor_once() -> None:
    to = written()
    before = to.recording().places
    seen = told()
    size = len(to._file.getvalue())  # type: ignore[attr-defined]
    for e in seen.exchanges:
        to.arrays(e.returned)
    assert to.recording().places == before
    assert len(to._file.getvalue()) < size + 100 * len(seen.exchanges)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A spool that a killed run left."""
    path = tmp_path_factory.mktemp("killed") / "t.spool"
    written(path).leave()
    return path.read_bytes()


def read_or_refused(path: Path) -> Transcript | InputError:
    try:
        return transcript.read(path)
    except InputError as refused:
        return refused


def test_wherever_a_spool_is_cut_off_its_whole_rounds_are_read(left: bytes, tmp_path: Path) -> None:
    seen, path, ends = told(), tmp_path / "t.spool", set[int | None]()
    for size in range(0, len(left), 7):
        path.write_bytes(left[:size])
        read = read_or_refused(path)
        if isinstance(read, InputError):
            assert read.id in {"TB-TRANSCRIPT-001", "TB-TRANSCRIPT-009"}
            assert ends == set()
            continue
        ends.add(read.cut_after)
        expected = tuple(e for e in seen.exchanges if e.round <= (read.cut_after or 0))
        assert len(read.exchanges) == len(expected)
        for e, f in zip(read.exchanges, expected, strict=True):
            assert (e.key, e.status, e.config) == (f.key, f.status, f.config)
            for arrays, others in ((e.sent, f.sent), (e.returned, f.returned)):
                assert (arrays is None) == (others is None)
                for name in arrays or {}:
                    np.testing.assert_array_equal((arrays or {})[name], (others or {})[name])
    assert ends == {1, 2}


def test_a_whole_spool_that_nobody_finished_ends_at_its_last_round(left: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.spool").write_bytes(left)
    read = transcript.read(tmp_path / "t.spool")
    assert read.cut_after == ROUNDS
    np.testing.assert_array_equal((read.final or {})["w"], (told().final or {})["w"])


def test_a_damaged_spool_is_read_or_refused_in_words(left: bytes, tmp_path: Path) -> None:
    path, refused = tmp_path / "t.spool", 0
    for number in range(300):
        rng = np.random.default_rng(number)
        damage = (damages.flipped, damages.overwritten, damages.cut)[number % 3]
        path.write_bytes(damage(rng, left))
        refused += isinstance(read_or_refused(path), InputError)
    assert refused > 100


def test_a_spool_of_another_run_is_not_written_over(tmp_path: Path) -> None:
    to = written(tmp_path / "t.spool")
    with pytest.raises(UsageError, match=r"TB-TRANSCRIPT-008.*testbed replay t\.spool"):
        Spool(ABOUT, tmp_path / "t.spool")
    to.close()


def test_a_hidden_spool_goes_on_where_it_was(tmp_path: Path) -> None:
    to, path = written(tmp_path / "t.spool"), tmp_path / "t.spool"
    before = path.read_bytes()
    to.hide()
    assert not path.exists()
    to.show()
    to.whole(ROUNDS, {})
    assert path.read_bytes().startswith(before)
    to.close()


def test_nodes_that_tell_no_number_get_those_that_are_free() -> None:
    assert spool.numbered({50, 7, 9, 8}, {8: 1}) == {8: 1, 7: 0, 9: 2, 50: 3}


def test_only_a_spool_is_taken_for_one(left: bytes) -> None:
    assert spool.lies_in(io.BytesIO(left))
    assert not spool.lies_in(io.BytesIO(transcript.to_bytes(told())))
