"""Answers that the owner's records do not explain: of other clients, under a mask, or behind much noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import testbed
from testbed.core import Array, Cohort, ModelSpec, Parameters, Protocol
from testbed.harness.federation.explained import FLAG, _rank, explained  # pyright: ignore[reportPrivateUsage]
from testbed.harness.federation.recorded import Key
from testbed.models import build, get_parameters
from testbed.subjects.federation import transcript
from testbed.subjects.federation.local import local_update
from tests.conftest import ROOT

SPEC = ModelSpec("mlp", {"shape": [8], "classes": 2, "hidden": [6]})
CLIENTS = 24


def people(count: int, seed: int) -> Cohort:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 8)).astype(np.float32)
    return Cohort(x, rng.integers(0, 2, count), np.array([f"{seed}.{i}" for i in range(count)]))


def changed(answer: Parameters, how: str, rng: np.random.Generator) -> dict[str, Array]:
    """The answer as it is, behind a mask or noise, or with its signs alone."""
    scale = {"mask": 3.0, "noise": 30.0}.get(how, 0.0)
    if how == "signs":
        return {name: np.sign(values) for name, values in answer.items()}
    return {
        name: (values + rng.normal(0, scale * max(float(np.abs(values).max()), 1e-3), values.shape)).astype(np.float32)
        for name, values in answer.items()
    }


def record(path: Path, protocol: Protocol, size: int, how: str = "") -> dict[Key, Cohort]:
    """Records what clients answer, and returns the records behind each answer."""
    start, held = get_parameters(build(SPEC)), dict[Key, Cohort]()
    rng = np.random.default_rng(5)
    with transcript.Writer(path, protocol=protocol) as writer:
        for client in range(CLIENTS):
            own = held[(1, client)] = people(size, client)
            steps = [np.arange(size)] * (1 if protocol.kind == "fedsgd" else protocol.local_epochs)
            answer = changed(local_update(SPEC, start, own, protocol, steps), how, rng)
            writer.sent(1, client, start)
            writer.returned(1, client, answer, {"num-examples": size})
    return held


def asked(path: Path, held: dict[Key, Cohort], seed: int = 0) -> bool | None:
    return explained(replace(transcript.read(path), model=SPEC), held, people(300, 1000), seed)


SGD = Protocol("fedsgd", 1, learning_rate=0.1)


@pytest.mark.parametrize(("protocol", "size"), [(SGD, 1), (SGD, 16), (Protocol("fedavg", 4, 3, learning_rate=0.3), 4)])
def test_the_records_behind_the_answers_explain_them_and_those_of_others_do_not(
    tmp_path: Path, protocol: Protocol, size: int
) -> None:
    held = record(tmp_path / "t", protocol, size)
    assert asked(tmp_path / "t", held) is True
    places = sorted(held)
    assert asked(tmp_path / "t", dict(zip(places, [held[k] for k in places[1:] + places[:1]], strict=True))) is False


@pytest.mark.parametrize(("how", "fits"), [("signs", True), ("mask", False), ("noise", False)])
def test_what_hides_the_records_is_told_from_what_only_makes_answers_coarse(
    tmp_path: Path, how: str, fits: bool
) -> None:
    held = record(tmp_path / "t", SGD, 1, how)
    assert asked(tmp_path / "t", held) is fits


def test_one_answer_is_enough(tmp_path: Path) -> None:
    held = record(tmp_path / "t", SGD, 1)
    first = min(held)
    assert asked(tmp_path / "t", {first: held[first]}) is True
    assert asked(tmp_path / "t", {first: people(1, 4321)}) is False


def test_an_answer_that_is_no_number_is_not_explained() -> None:
    assert _rank(np.array([[np.nan], [0.1], [0.2]])) == 1.0


def test_without_a_model_nothing_is_said(tmp_path: Path) -> None:
    held = record(tmp_path / "t", SGD, 1)
    assert explained(transcript.read(tmp_path / "t"), held, people(300, 1000), 0) is None


@pytest.mark.parametrize(("draws", "most"), [(10, 1), pytest.param(200, 6, marks=pytest.mark.slow)])
def test_strangers_are_called_those_who_answered_as_rarely_as_the_level_says(
    tmp_path: Path, draws: int, most: int
) -> None:
    record(tmp_path / "t", SGD, 1)
    strangers = [{(1, c): people(1, 5000 + 100 * i + c) for c in range(CLIENTS)} for i in range(draws)]
    assert sum(asked(tmp_path / "t", held, i) is True for i, held in enumerate(strangers)) <= most


def make_network() -> object:
    return build(SPEC)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_replay_with_another_clients_files_never_passes(tmp_path: Path, swapped: bool) -> None:
    held = record(tmp_path / "t", SGD, 1, "" if swapped else "mask")
    for (_, client), own in held.items():
        np.savez(tmp_path / f"{(client + swapped) % CLIENTS}.npz", x=own.x, y=own.y)
    controls = people(CLIENTS + 99 + 20, 77)
    np.savez(tmp_path / "controls.npz", x=controls.x, y=controls.y)
    done = testbed.replay(
        tmp_path / "t",
        attack="analytic_linear",
        model=f"{ROOT / 'tests/harness/federation/test_explained.py'}:make_network",
        records={c: tmp_path / f"{c}.npz" for c in range(CLIENTS)},
        controls=tmp_path / "controls.npz",
        policy="example-open-release",
    )
    (found,) = done.result.findings
    assert FLAG in found.validity.flags
    assert done.result.decision.verdict == "review"
    assert "fit the records" in " ".join(r.text for r in done.result.decision.reasons)
