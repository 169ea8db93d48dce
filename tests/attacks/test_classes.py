"""Classes that only others hold: what a client's generator makes of them, and when it must refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scenarios.malicious_client import malicious_client
from testbed.attacks.model.class_inversion import _one_by_one
from testbed.attacks.registry import find
from testbed.core import Classes, Cohort, ModelSpec, Protocol, Threat, Transcript, Unavailable
from testbed.core.errors import InputError, UsageError
from testbed.data.cohorts import source
from testbed.findings.plan import Plan
from testbed.harness.federation.class_worlds import ClassWorlds, never_trained
from testbed.harness.run import run
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.tap import seen_by

KINDS = 9
THREAT = Threat("client", knows=frozenset({"architecture"}), nodes=(0,))
QUESTION = Classes(KINDS, np.full(6, -1.0), np.full(6, 1.0))


def people() -> Cohort:
    rng = np.random.default_rng(0)
    y = np.arange(90) % KINDS
    return Cohort(rng.uniform(-1, 1, (90, 6)).astype(np.float32), y, np.arange(90).astype(str))


def seen(kind: str, rounds: int) -> Transcript:
    spec = ModelSpec("mlp", {"shape": [6], "classes": KINDS, "hidden": [8]})
    protocol = Protocol(kind, 10, 1, learning_rate=0.1, rounds=rounds, clients=2)  # type: ignore[arg-type]
    return seen_by(Federation(spec, protocol, 0).run([people().take(np.arange(90)[i::2]) for i in (0, 1)]), THREAT)


def test_a_client_draws_classes_that_only_others_hold() -> None:
    """Digits: nearly all classes that only others hold are recognised, few that nobody holds, none when untrained."""
    known = source("digits").people
    question = Classes(10, known.x.min(0), known.x.max(0))
    spec = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [8, 16], "activation": "relu"})
    protocol = Protocol("fedavg", 10, 1, learning_rate=0.1, rounds=10, clients=3)
    plans = {
        "class_generator": Plan(
            rule="TB-TEST-001",
            risk="class_inversion",
            attack="class_generator",
            metric="rate",
            unit="class",
            primary=True,
        )
    }
    order = np.random.default_rng(2).permutation(len(known))
    worlds = ClassWorlds(known.take(order[500:]), known.take(order[:500]), Federation(spec, protocol), question, 130, 1)
    _, kept = worlds.conduct(plans, THREAT, "in-process", 0, print)
    evidence = kept["TB-TEST-001"]
    share = {
        (view, group): evidence.success[(evidence.view == view) & (evidence.group == group)].mean()
        for view, group in (("true", "used"), ("true", "unused"), ("blind", "used"), ("positive", "used"))
    }
    assert share["true", "used"] >= 0.75
    assert share["positive", "used"] >= 0.7
    assert share["true", "unused"] <= 0.34
    assert share["blind", "used"] <= 0.25


def test_looking_stands_beside_poisoning() -> None:
    """Two federations, small; each attack is reported, and their difference informs."""
    looked, poisoned, beside = run(malicious_client, {"runs": 2, "rounds": 2, "steps": 2}, seed=1).result.findings
    assert (looked.target, poisoned.target) == ("by looking", "by poisoning")
    assert looked.primary
    assert not beside.primary
    assert beside.rule == "TB-CLASS_INVERSION-222"


def test_what_is_made_lies_within_the_bounds_and_repeats() -> None:
    view = seen("fedavg", 3)
    made = [find("class_generator").run(view, QUESTION, None, 5, THREAT).records for _ in range(2)]
    assert np.array_equal(*made)
    assert made[0].shape == (KINDS, 6)
    assert np.abs(made[0]).max() <= 1


def test_a_single_round_without_its_result_shows_nothing() -> None:
    """The first model that is sent has seen nobody."""
    view = replace(seen("fedavg", 1), final=None)
    with pytest.raises(Unavailable) as why:
        find("class_generator").run(view, QUESTION, None, 0, THREAT)
    assert why.value.code == "too_few_rounds"


def test_never_trained_is_the_same_view_of_first_models() -> None:
    view = seen("fedavg", 2)
    blind = never_trained(view)
    first = view.exchanges[0].sent
    assert first is not None
    for exchange in blind.exchanges:
        assert exchange.sent is None or all(np.array_equal(exchange.sent[k], first[k]) for k in first)
    assert blind.final is None or all(np.array_equal(blind.final[k], first[k]) for k in first)


def test_too_few_records_of_the_classes_held() -> None:
    spec = ModelSpec("mlp", {"shape": [6], "classes": KINDS, "hidden": [8]})
    federation = Federation(spec, Protocol("fedavg", 10, 1, learning_rate=0.1, rounds=2, clients=2), 0)
    worlds = ClassWorlds(people(), people(), federation, QUESTION, 60, 2)
    with pytest.raises(InputError, match="TB-SPLIT-013"):
        worlds.conduct({}, THREAT, "in-process", 0, print)


@pytest.mark.parametrize("params", [{"data": "heart"}, {"clients": 1}, {"runs": 1}, {"rounds": 1}])
def test_parameters_without_such_classes_are_refused(params: dict[str, int | str]) -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO-014"):
        run(malicious_client, params)


def test_draws_of_a_class_follow_those_of_the_class_before_however_often_they_are_asked_for() -> None:
    ordinary = np.random.default_rng(3)
    wanted = [ordinary.normal(size=(5, 6)) for _ in range(8)]
    for _ in range(2):
        rng = np.random.default_rng(3)
        one, other = (_one_by_one(rng, (4, 5, 6)) for _ in range(2))
        drawn = [which.standard_normal((5, 6)) for which in (one, other) for _ in range(4)]
        assert all(np.array_equal(a, b) for a, b in zip(drawn, wanted, strict=True))
