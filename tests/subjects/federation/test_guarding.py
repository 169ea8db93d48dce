"""Guards inside a federation: on every engine they see only what their position sees, refuse, warn and remember."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from testbed.attacks.registry import find as attack
from testbed.core import Act, Array, Batch, ModelSpec, Parameters, Protocol, Transcript
from testbed.data.cohorts import source
from testbed.defences.guards.registry import find, guards
from testbed.subjects.federation.deployment import standing
from testbed.subjects.federation.federation import Federation

CLIENTS, EACH, ROUNDS = 4, 40, 2
PEOPLE = source("digits").people
PARTS = [PEOPLE.take(np.arange(i * EACH, (i + 1) * EACH)) for i in range(CLIENTS)]
AUXILIARY = PEOPLE.take(np.arange(CLIENTS * EACH, CLIENTS * EACH + 200))
SPEC = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [64]})
KEYS = tuple((r, c) for r in range(1, ROUNDS + 1) for c in range(CLIENTS))


def acting(name: str, **params: Any) -> Act:
    act = attack(name).act
    assert act is not None
    return act(Batch(KEYS, (1, 8, 8), 10), AUXILIARY, np.random.default_rng(0), SPEC, **params)


def run(*watch: Any, act: Act | None = None, kind: Any = "fedsgd", engine: str = "in-process") -> Transcript:
    protocol = Protocol(kind, 16, learning_rate=0.1, rounds=ROUNDS)
    return Federation(SPEC, protocol, guards=watch).run(PARTS, engine, act, None)


def statuses(seen: Transcript) -> set[str]:
    return {e.status for e in seen.exchanges}


def test_an_honest_federation_runs_as_without_guards() -> None:
    seen, plain = run(*(g() for g in guards())), run()
    assert statuses(seen) == {"ok"}
    assert seen.final is not None
    assert plain.final is not None
    assert all((seen.final[k] == v).all() for k, v in plain.final.items())


@pytest.mark.parametrize(("guard", "name"), [("nested_neurons", "imprint"), ("weight_law", "trap_weights")])
def test_a_client_that_refuses_returns_nothing_and_says_nothing_else(guard: str, name: str) -> None:
    seen = run(find(guard)(), act=acting(name))
    assert statuses(seen) == {"refused"}
    assert all(e.returned is None and not e.metrics for e in seen.exchanges)


def test_a_guard_that_warns_lets_the_client_train(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="testbed.guards"):
        seen = run(find("nested_neurons")(action="warn"), act=acting("imprint"))
    assert statuses(seen) == {"ok"}
    assert len(caplog.records) == len(KEYS)
    assert "nested_neurons warns: round 1, client 0" in caplog.text


def test_a_client_remembers_its_last_round_from_one_message_to_the_next() -> None:
    latest: dict[int, Parameters] = {}

    def craft(round_: int, client: int, sent: Parameters) -> Parameters:
        return latest.get(client, sent)

    def observe(round_: int, client: int, returned: Parameters) -> None:
        latest[client] = returned

    seen = run(find("echoed_model")(), act=Act(craft=craft, observe=observe), kind="fedavg")
    assert {e.status for e in seen.exchanges if e.round == 1} == {"ok"}
    assert {e.status for e in seen.exchanges if e.round == 2} == {"refused"}


def opposed(round_: int, client: int, sent: Parameters, returned: Parameters) -> dict[str, Array]:
    return {k: sent[k] - 3 * (returned[k] - sent[k]) for k in sent}


def test_a_server_leaves_out_the_update_of_a_client_that_it_suspects() -> None:
    act = Act(answer=opposed, nodes=(3,))
    guarded, plain = run(find("opposed_update")(threshold=0.25), act=act, kind="fedavg"), run(act=act, kind="fedavg")
    assert statuses(guarded) == {"ok"}  # the tap records what came back, whether or not it was used
    sent = next(e for e in guarded.exchanges if e.round == 2).sent
    first = [e.returned for e in guarded.exchanges if e.round == 1 and e.client != 3]
    assert sent is not None
    assert guarded.final is not None
    assert plain.final is not None
    for name, value in sent.items():
        mean = np.mean([np.asarray((r or {})[name], np.float64) for r in first], 0)
        assert value == pytest.approx(mean, abs=1e-6)
    assert any((guarded.final[k] != plain.final[k]).any() for k in plain.final)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["simulation", "deployment"])
def test_guards_answer_alike_in_other_processes(engine: str) -> None:
    every = [g() for g in guards()]
    with standing():
        for act in (None, acting("imprint"), acting("trap_weights")):
            one, other = run(*every, act=act), run(*every, act=act, engine=engine)
            assert [(e.key, e.status) for e in one.exchanges] == [(e.key, e.status) for e in other.exchanges]
