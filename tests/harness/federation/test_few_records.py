"""One record that is reconstructed exactly is no rate, and no chance either: the finding says what it shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import testbed
from testbed.core import Array, Cohort, Evidence, Protocol, Reconstruction
from testbed.harness.federation.few_records import words
from testbed.harness.federation.recorded import Key
from testbed.subjects.federation import transcript


def rows(success: list[float], cluster: list[int] | None = None) -> Evidence:
    return Evidence.rows("true", "used", success=np.array(success), cluster=np.array(cluster or range(len(success))))


def people(count: int, each: int = 1) -> tuple[dict[Key, Cohort], Reconstruction]:
    x: Array = np.zeros((each, 2), np.float32)
    held = {
        (1, i): Cohort(x, np.zeros(each, np.int64), np.array([f"{i}.{j}" for j in range(each)])) for i in range(count)
    }
    return held, Reconstruction(dict.fromkeys(held, x))


def said(success: list[float], size: int, control: float = 0.0, each: int = 1) -> str:
    held, claim = people(len(success) // each, each)
    return words(rows(success), rows([control] * len(success)), held, claim, size)


@pytest.mark.parametrize(
    ("success", "size", "once_in"),
    [
        ([1.0], 1000, "1,000"),
        ([1.0, 1.0], 100, "10,000"),  # (1 / 100)^2
        ([1.0, 0.0, 1.0], 1000, "330,000"),  # 3 (1 / 1000)^2 (999 / 1000) + (1 / 1000)^3
    ],
)
def test_the_probability_by_chance_is_that_of_the_binomial_distribution(
    success: list[float], size: int, once_in: str
) -> None:
    text = said(success, size)
    assert f"once in {once_in} times" in text
    assert f"{int(sum(success))} of {len(success)}" in text


@pytest.mark.parametrize(
    "silent",
    [
        said([1.0], 100),  # once in 100 times
        said([0.5], 1000),  # a look-alike is as near
        said([1.0, 0.0, 0.0], 1000),  # three times as often as one of one
        said([1.0], 1000, control=1.0),  # somebody who was never sent is recognised too
        said([1.0] * 20, 1000),  # enough for a rate
        said([1.0, 1.0], 1000, each=2),  # the nearest of two claims
        said([0.0], 1000),
    ],
)
def test_where_it_can_be_chance_or_is_no_single_look_nothing_is_said(silent: str) -> None:
    assert silent == ""


def test_smaller_probabilities_are_not_told_apart() -> None:
    assert "less than once in a million times" in said([1.0] * 5, 1000)


def test_a_person_of_several_rounds_is_one_person() -> None:
    held, claim = people(2)
    assert "1 of 1 was" in words(rows([1.0, 1.0], [0, 0]), rows([0.0, 0.0]), held, claim, 1000)
    assert words(rows([1.0, 0.0], [0, 0]), rows([0.0, 0.0]), held, claim, 1000) == ""


def test_a_replay_of_one_patient_says_what_the_look_is_about(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.random(6)
    with transcript.Writer(tmp_path / "t", protocol=Protocol("fedsgd", batch_size=1, learning_rate=0.1)) as writer:
        writer.sent(1, 0, {"weight": np.zeros((2, 6)), "bias": np.zeros(2)})
        writer.returned(1, 0, {"weight": np.outer([0.5, -0.5], x), "bias": np.array([0.5, -0.5])}, {"num-examples": 1})
    for name, held in (("0", x[None]), ("controls", rng.random((1100, 6)))):
        np.savez(tmp_path / f"{name}.npz", x=held.astype(np.float32), y=np.zeros(len(held), np.int64))
    asked = {"records": {0: tmp_path / "0.npz"}, "controls": tmp_path / "controls.npz"}
    done = testbed.replay(tmp_path / "t", "analytic_linear", policy="example-open-release", **asked)  # type: ignore[arg-type]
    assert "1 of 1 was recognised. Claims made without their records would do as well once in 1,000 times." in (
        done.result.findings[0].plain
    )
    assert done.result.decision.verdict == "review"  # a rate of one person has no lower bound above the limit
