"""Record once, attack many: the file, its refusals, replays, and a federation that the testbed did not write."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors import safe_open
from safetensors.numpy import save

import testbed
from testbed import models
from testbed.attacks.registry import find
from testbed.cli.terminal import conclude
from testbed.core import Batch, Cohort, Exchange, ModelSpec, Protocol, Threat, Transcript, Unavailable
from testbed.core.errors import Exit, InputError, UsageError
from testbed.harness.federation import truth_file as truths
from testbed.harness.federation.foreign import Foreign, shape_of
from testbed.harness.federation.replay import replay
from testbed.harness.run import run
from testbed.harness.scenario import find as find_scenario
from testbed.subjects.federation import compat, transcript
from testbed.subjects.federation.federation import Federation
from tests.subjects.federation import foreign_app
from tests.subjects.federation.test_engine import SPEC, parts, protocol


def recorded() -> Transcript:
    return Federation(SPEC, protocol(), 3).run(parts())


def test_a_transcript_survives_its_file(tmp_path: Path) -> None:
    before = recorded()
    transcript.write(tmp_path / "t", before)
    after = transcript.read(tmp_path / "t")
    assert transcript.to_bytes(after) == transcript.to_bytes(before)
    assert after.model == before.model
    assert after.protocol == before.protocol
    assert [e.key for e in after.exchanges] == [e.key for e in before.exchanges]


def test_equal_tensors_are_stored_once() -> None:
    seen = recorded()
    size = len(transcript.to_bytes(seen))
    twice = replace(seen, exchanges=seen.exchanges + tuple(replace(e, round=e.round + 10) for e in seen.exchanges))
    assert len(transcript.to_bytes(twice)) < 1.6 * size  # the header grows, the tensors do not


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b[:10], lambda b: b[:0], lambda b: b[::-1]])
def test_a_damaged_transcript_is_refused(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "t"
    path.write_bytes(damage(transcript.to_bytes(recorded())))  # type: ignore[operator]
    with pytest.raises(InputError, match="TB-TRANSCRIPT-001"):
        transcript.read(path)


def test_a_damaged_truth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "truth.npz").write_bytes(b"no truth")
    with pytest.raises(InputError, match="TB-TRUTH-001"):
        truths.read(tmp_path / "truth.npz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's evidence: transcripts of all cells and the truth."""
    done = run(find_scenario("curious_server"), {"clients": 2, "rounds": 5, "noise": 0.001}, seed=3)
    path = tmp_path_factory.mktemp("evidence")
    for name, content in done.outcome.files.items():
        (path / name).write_bytes(content)
    (path / "finding.json").write_text(done.result.findings[0].model_dump_json())
    (path / "pictures.json").write_text(json.dumps([p.model_dump() for p in done.result.disclosure.pictures]))
    return path


def test_a_replay_gives_the_same_finding(folder: Path) -> None:
    again = replay(folder / "true.transcript", "analytic_linear", truth_path=folder / "truth.npz")
    assert json.loads(again.result.findings[0].model_dump_json()) == json.loads((folder / "finding.json").read_text())
    assert again.result.run.seed == 3
    pictures = [p.model_dump() for p in again.result.disclosure.pictures]
    assert pictures
    assert pictures == json.loads((folder / "pictures.json").read_text())


def test_another_cells_transcript_is_not_judged_by_the_truth(folder: Path) -> None:
    with pytest.raises(UsageError, match="TB-TRUTH-003"):
        replay(folder / "blind.transcript", "analytic_linear", truth_path=folder / "truth.npz")


def test_without_the_other_cells_they_are_unmeasured(folder: Path, tmp_path: Path) -> None:
    for name in ("true.transcript", "truth.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    found = replay(tmp_path / "true.transcript", "analytic_linear", truth_path=tmp_path / "truth.npz").result.findings[
        0
    ]
    assert hasattr(found.baseline, "unmeasured")
    assert not hasattr(found.measure, "unmeasured")


def test_without_the_truth_the_claim_is_kept_and_nothing_is_judged(folder: Path) -> None:
    done = replay(folder / "true.transcript", "analytic_linear")
    assert done.result.findings[0].measure.unmeasured == "no_truth"  # type: ignore[union-attr]
    with np.load(__import__("io").BytesIO(done.outcome.files["claim.npz"])) as claim:
        assert len(claim.files) == 10
    for expected, told in ((Exit.NOTHING_RAN, {}), (Exit.REVIEW, {"unmeasured": Exit.REVIEW})):
        with pytest.raises(typer.Exit) as left:
            conclude(done.result, None, as_json=True, **told)
        assert left.value.exit_code == expected


def test_replays_refuse_what_they_cannot_do(folder: Path) -> None:
    with pytest.raises(UsageError, match="TB-REPLAY-001"):
        replay(folder / "nothing", "analytic_linear")
    with pytest.raises(UsageError, match="TB-REPLAY-002"):
        replay(folder / "true.transcript", "loss_threshold", truth_path=folder / "truth.npz")
    with pytest.raises(UsageError, match="TB-REPLAY-004"):
        replay(folder / "true.transcript", "analytic_linear", foreign=Foreign("nowhere:nothing"))
    with pytest.raises(UsageError, match="TB-REPLAY-005"):
        replay(folder / "true.transcript", "update_product")


def foreign() -> Transcript:
    protocol_ = Protocol("fedavg", batch_size=1, local_steps=1, learning_rate=0.1, rounds=1, clients=4)
    with compat.quiet():
        app, strategy = foreign_app.make_server(lambda inner: testbed.record(inner, protocol=protocol_))
    compat.run_in_process(app, foreign_app.client, 4)
    assert hasattr(strategy, "transcript")
    return strategy.transcript()


def test_a_foreign_app_is_recorded_by_wrapping_its_strategy_and_read_exactly() -> None:
    seen = foreign()
    assert len(seen.exchanges) == 4
    question = Batch(tuple(e.key for e in seen.exchanges), (12,), 3)
    threat = Threat("server", knows=frozenset({"architecture"}))
    claim = find("analytic_linear").run(seen, question, None, 0, threat)
    rebuilt = np.stack([claim.batches[1, c][0] for c in range(4)])
    assert np.abs(rebuilt - foreign_app.PATIENTS).max() < 1e-3


def test_a_foreign_transcript_is_replayed_with_its_own_model(tmp_path: Path) -> None:
    transcript.write(tmp_path / "t", foreign())
    done = replay(
        tmp_path / "t", "analytic_linear", foreign=Foreign("tests.subjects.federation.foreign_app:make_triage")
    )
    assert "claim.npz" in done.outcome.files
    models.FACTORIES.pop("tests.subjects.federation.foreign_app:make_triage")


def exchange(returned: dict[str, np.ndarray] | None) -> Transcript:
    sent = models.get_parameters(models.build(SPEC, 0))
    return Transcript(
        (Exchange(1, 0, sent, returned),), SPEC, Protocol("fedsgd", 1, learning_rate=0.1, rounds=1, clients=1)
    )


GOOD = models.get_parameters(models.build(SPEC, 1))


@pytest.mark.parametrize(
    "returned",
    [
        None,
        {k: np.full_like(v, np.nan) for k, v in GOOD.items()},
        {k: v for k, v in GOOD.items() if "bias" not in k},
        {k: np.zeros_like(v) for k, v in GOOD.items()},
    ],
    ids=["dropped", "nan", "no bias", "zero"],
)
def test_updates_that_cannot_be_read_are_unavailable_and_never_a_number(returned: dict[str, np.ndarray] | None) -> None:
    question = Batch(((1, 0),), (3,), 2, (1,))
    threat = Threat("server", knows=frozenset({"architecture", "batch_size"}))
    for name in ("analytic_linear", "cosine_tv"):
        with pytest.raises(Unavailable):
            find(name).run(exchange(returned), question, None, 0, threat)


def test_half_precision_is_read_as_far_as_it_goes() -> None:
    half = {k: v.astype(np.float16) for k, v in GOOD.items()}
    question = Batch(((1, 0),), (3,), 2)
    threat = Threat("server", knows=frozenset({"architecture"}))
    assert find("analytic_linear").run(exchange(half), question, None, 0, threat).batches[1, 0].shape == (1, 3)


def test_an_unknown_model_is_named() -> None:
    view = replace(exchange(GOOD), model=ModelSpec("somebody:elses"))
    threat = Threat("server", knows=frozenset({"architecture", "batch_size"}))
    with pytest.raises(UsageError, match="TB-MODEL-001"):
        find("cosine_tv").run(view, Batch(((1, 0),), (3,), 2, (1,)), None, 0, threat)


def make_pictures() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(32, 3))


def test_a_foreign_model_of_pictures_is_told_its_records_shape(tmp_path: Path) -> None:
    models.register("pictures", make_pictures)
    rng = np.random.default_rng(0)
    people = Cohort(rng.random((2, 1, 6, 6)).astype(np.float32), np.array([0, 2]), np.arange(2).astype(str))
    seen = Federation(ModelSpec("pictures", {}), Protocol("fedsgd", 2, learning_rate=0.1, rounds=1, clients=1)).run(
        [people]
    )
    models.FACTORIES.pop("pictures")
    transcript.write(tmp_path / "t", replace(seen, model=None))
    model, few = "tests.subjects.federation.test_transcript:make_pictures", ["iterations=2"]
    with pytest.raises(UsageError, match="TB-REPLAY-006"):
        replay(tmp_path / "t", "cosine_tv", pairs=few, foreign=Foreign(model))
    done = replay(tmp_path / "t", "cosine_tv", pairs=few, foreign=Foreign(model, shape_of("1,6,6")))
    with np.load(io.BytesIO(done.outcome.files["claim.npz"])) as claim:
        assert claim["round1.client0"].shape == (2, 1, 6, 6)
    models.FACTORIES.pop(model)
    with pytest.raises(UsageError, match="TB-REPLAY-007"):
        shape_of("1,x")


def test_switches_are_read_as_such(folder: Path) -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO-003"):
        replay(folder / "true.transcript", "white_box", pairs=["last_only=perhaps"])


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_truth_cut_off_or_changed_is_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    whole = (folder / "truth.npz").read_bytes()
    broken = whole[: len(whole) // 2] if damage == "cut" else whole[:200] + b"\x00" * 400 + whole[600:]
    (tmp_path / "truth.npz").write_bytes(broken)
    with pytest.raises(InputError, match="TB-TRUTH-001"):
        replay(folder / "true.transcript", "analytic_linear", truth_path=tmp_path / "truth.npz")


@pytest.mark.parametrize(
    "change",
    [{"protocol": []}, {"final": ["x"]}, {"exchanges": [{"round": "1", "client": 0}]}, {"exchanges": "none"}],
    ids=str,
)
def test_a_transcript_of_another_form_is_refused(folder: Path, tmp_path: Path, change: dict[str, object]) -> None:
    with safe_open(folder / "true.transcript", framework="numpy") as file:
        header = json.loads(file.metadata()["testbed"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    (tmp_path / "t").write_bytes(save(tensors, {"testbed": json.dumps(header | change)}))
    with pytest.raises(InputError, match="TB-TRANSCRIPT-001"):
        transcript.read(tmp_path / "t")
