"""Site inference: a model whose answers were written by hand, and what an attacker may not read."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.attacks.registry import find
from testbed.core import Array, Cohort, ModelSpec, Origins, Protocol, Threat, Transcript, Unavailable
from testbed.core.errors import ThreatError

ATTACK = find("site_inference")
THREAT = Threat("recipient", knows=ATTACK.needs)
SPEC = ModelSpec("mlp", {"shape": [3], "classes": 2, "hidden": []})


def people(name: str, n: int) -> tuple[Cohort, Array]:
    """Hospital 1 has the large values of the second column, and nothing else differs."""
    rng = np.random.default_rng(len(name))
    site = np.arange(n) % 2
    x = rng.random((n, 3))
    x[:, 1] = 0.4 * x[:, 1] + 0.6 * site
    return Cohort(x.astype(np.float32), rng.integers(0, 2, n), np.array([f"{name} {i}" for i in range(n)])), site


def model(*weights: float) -> Transcript:
    """A linear network: the logit of class 1 is the weighted sum of the columns, that of class 0 is zero."""
    final = {"1.weight": np.array([[0, 0, 0], weights], np.float32), "1.bias": np.zeros(2, np.float32)}
    return Transcript((), SPEC, Protocol(), "recipient", final)


def right(view: Transcript | None, reads: str) -> float:
    (asked, truth), (known, sites) = people("asked", 100), people("known people", 100)
    claim = ATTACK.run(view, Origins(asked, 2, known, sites), None, 0, THREAT, {"reads": reads})
    return float((claim.clients == truth).mean())


def test_answers_say_what_the_model_looks_at_and_no_more() -> None:
    assert right(model(0, 9, 0), "answers") == 1.0
    assert 0.3 < right(model(9, 0, 0), "answers") < 0.7
    assert right(model(9, 0, 0), "all") == 1.0  # by the record


def test_records_are_read_without_a_model() -> None:
    assert right(None, "records") == 1.0


def test_without_known_people_of_two_hospitals_or_a_model_it_says_what_it_lacks() -> None:
    (asked, _), (known, sites) = people("asked", 20), people("known people", 100)
    for question, why in (
        (Origins(asked, 2), "no_known_sites"),
        (Origins(asked, 2, known, np.zeros(100, int)), "few_known_sites"),
        (Origins(asked, 2, known, np.arange(100) // 96), "few_known_sites"),
    ):
        with pytest.raises(Unavailable, match=why):
            ATTACK.run(model(0, 1, 0), question, None, 0, THREAT)
    whole = Origins(asked, 2, known, sites)
    with pytest.raises(Unavailable, match="no_final_model"):
        ATTACK.run(Transcript((), SPEC, Protocol()), whole, None, 0, THREAT)
    with pytest.raises(Unavailable, match="unknown_reading"):
        ATTACK.run(model(0, 1, 0), whole, None, 0, THREAT, {"reads": "record"})


def test_hospitals_are_not_handed_to_an_attacker_who_is_not_granted_them() -> None:
    (asked, _), (known, sites) = people("asked", 20), people("known people", 100)
    with pytest.raises(ThreatError, match="TB-THREAT-002"):
        ATTACK.run(model(0, 1, 0), Origins(asked, 2, known, sites), None, 0, Threat("recipient", knows=frozenset()))
    with pytest.raises(ValueError, match="must not be asked about"):
        Origins(asked, 2, asked, np.zeros(20, int))
