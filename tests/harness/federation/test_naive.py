"""An attack that may be blind to a defence proves nothing of it: no PASS, and no recommendation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.core import Array
from testbed.defences.registry import defence
from testbed.defences.updates import on_update
from testbed.findings.policy import load
from testbed.harness.run import run
from testbed.harness.scenario import find

FEW = {"rounds": 40, "clients": 4}


def flags(scenario: str, **params: Any) -> list[str]:
    done = run(find(scenario), {**params}, policy=load("example-open-release"))
    first = next(f for f in done.result.findings if f.primary)
    assert first.verdict != "pass" or "naive_attacker" not in first.validity.flags
    return first.validity.flags


def opposite_biases(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """What reads a first layer divides by its biases; the sign is a secret that protects nobody."""
    return {k: -v if k.endswith("bias") else v for k, v in update.items()}


def other_columns(update: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """The inputs in an order that anybody can put back."""
    return {k: v[:, ::-1].copy() if v.ndim == 2 else v for k, v in update.items()}


@pytest.mark.parametrize("change", [opposite_biases, other_columns])
def test_a_heuristic_that_only_confuses_the_attack_is_no_pass(change: Any) -> None:
    @defence()
    def confusing(*, seed: int) -> Any:
        """Change what the attack reads."""
        return on_update(change, seed, "confusing")

    assert "naive_attacker" in flags("curious_server", defence=confusing.name, **FEW)


@pytest.mark.parametrize("text", ["none", "clip:1", "gaussian:1", "topk:0.1"])
def test_what_the_attack_reads_through_or_what_is_proven_is_not_flagged(text: str) -> None:
    assert "naive_attacker" not in flags("curious_server", defence=text, **FEW)


def test_the_best_of_several_membership_attacks_is_flagged_if_all_of_them_may_be_blind() -> None:
    few = {"data": "digits", "members": 150, "controls": 150, "rounds": 2, "clients": 3}
    assert "naive_attacker" in flags("curious_server_membership", defence="topk:0.1", **few)
    assert "naive_attacker" not in flags("curious_server_membership", defence="none", **few)
