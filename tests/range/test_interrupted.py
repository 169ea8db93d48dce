"""Rounds that end too soon: the log has it, the score is intact, nothing is seen, and the round can be played again."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.core.errors import RunError, UsageError
from testbed.range import after_action, instance, play
from testbed.range.desk import Desk
from testbed.range.events import Fact, read
from testbed.range.instance import Instance
from testbed.range.scorer import Caller, Scorer, log_key, rescored
from testbed.range.state import State
from testbed.subjects.federation import apps, deployment
from testbed.subjects.federation.supervisor import PROCESSES
from tests.range.small import written
from tests.subjects.federation import detour
from tests.subjects.federation.detour import Relay, link
from tests.subjects.federation.test_deployment import gone


def silent(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(
        tmp_path_factory.mktemp("interrupted") / "small", limits={"seconds_between": 0.0, "utility_floor": 0.0}
    )


@pytest.fixture
def game(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """An exercise with people and a first model, whose scorer is in this process."""
    made = instance.create(tmp_path / "one", str(source), 1)
    play.populate(made, silent)
    scorer = Scorer(made)

    def note(own: Desk, event: str, facts: Mapping[str, Fact], team: int | None = None) -> None:
        scorer.note(Caller(own.side, own.team), event, facts, own.team if team is None else team)

    monkeypatch.setattr(Desk, "note", note)
    monkeypatch.setattr(play, "_open", lambda _: None)
    return made


def logged(game: Instance) -> list[tuple[str, Any, Any]]:
    events = read(game.scorer, log_key(game.scorer))
    return [(e.event, e.facts.get("number"), e.facts.get("error")) for e in events]


def desks(game: Instance) -> set[str]:
    """What the teams hold: the files of their desks."""
    return {str(p.relative_to(game.folder)) for side in ("red-1", "blue-1") for p in (game.folder / side).rglob("*")}


def fails(*_: Any, **__: Any) -> Any:
    raise ValueError("the scanner of patient 4711 is off")


def stops(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("what", "kind", "error"), [(fails, RunError, "TB-RUN-001"), (stops, KeyboardInterrupt, "KeyboardInterrupt")]
)
def test_a_round_in_which_a_hospital_fails_does_not_count_and_is_played_again(
    game: Instance, what: Callable[..., Any], kind: type[BaseException], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = desks(game)
    with monkeypatch.context() as patched:
        patched.setattr(apps, "local_update", what)
        with pytest.raises(kind) as caught:
            play.inject(game, "round", None, None, silent)
    if kind is RunError:
        assert "Round 1 of team 1 does not count" in str(caught.value)
        assert "0 is north, 1 is harbour" in str(caught.value)
        assert "4711" not in str(caught.value)
    assert logged(game) == [("fault", 1, error)]
    assert desks(game) == before
    assert State.of(game).rounds == {"1": 0}
    assert json.loads(rescored(game))["teams"][0]["blue"]["rounds"] == 0
    play.inject(game, "round", None, None, silent)
    assert logged(game)[1:] == [("round", None, None)]
    assert json.loads(rescored(game))["teams"][0]["blue"]["rounds"] == 1
    told = after_action.result(game, read(game.scorer, log_key(game.scorer)), 0.0).exercise
    assert told is not None
    assert told.timeline[0].what == f"round 1 was interrupted ({error}) and does not count"


def test_a_misspelt_engine_is_answered_with_the_one_that_was_meant(game: Instance) -> None:
    with pytest.raises(UsageError, match=r"TB-RANGE-067.*deployment"):
        play.inject(game, "round", None, None, silent, "deploiment")
    assert logged(game) == []


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay between the second hospital and the SuperLink of every deployment of a test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Relay(tmp_path)
    monkeypatch.setenv(detour.RELAY, made.address)
    monkeypatch.setattr(deployment, "SUPERVISOR", detour.__name__)
    yield made
    made.close()


def at_work(folder: Path, patience: float = 300) -> dict[str, int]:
    """The processes of the deployment below a folder, when the second hospital begins to train."""
    limit = time.monotonic() + patience
    while time.monotonic() < limit:
        for file in folder.glob(f"testbed-deployment-*/{PROCESSES}"):
            started = [line.split(" ", 1) for line in file.read_text().splitlines()]
            if [name for _, name in started].count("node1 flwr-clientapp") == 2:  # the first one only says who it is
                return {name: int(pid) for pid, name in started}
        time.sleep(0.005)
    raise AssertionError("the second hospital did not begin")


FAULTS = {
    "a hospital is killed": ("node1 flower-supernode", "TB-DEPLOY-002: .*flower-supernode of node1"),
    "the SuperLink is killed": ("server flower-superlink", "TB-DEPLOY-002: .*flower-superlink of server"),
    "the supervisor is killed": ("", "TB-DEPLOY-007"),
    "the link of a hospital is cut": (None, "TB-RUN-022: The server lost client 1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_deployed_round_that_is_interrupted_leaves_the_exercise_as_it_was(
    game: Instance, fault: str, relay: Relay, tmp_path: Path
) -> None:
    victim, told = FAULTS[fault]
    ports: list[int] = []

    def strike() -> None:
        named = at_work(tmp_path)
        ports.append(link(tmp_path)[1])
        if victim is None:
            relay.cut.set()
        else:
            pid = named[victim] if victim else os.getpgid(named["server flower-superlink"])
            os.kill(pid, signal.SIGKILL)

    before, thread = desks(game), threading.Thread(target=strike)
    thread.start()
    with pytest.raises(RunError, match=f"(?s){told}.*0 is north, 1 is harbour"):
        play.inject(game, "round", None, None, silent, "deployment")
    thread.join()
    assert logged(game) == [("fault", 1, told.partition(":")[0])]
    assert desks(game) == before
    assert gone(tmp_path, ports[0])
    relay.cut.clear()
    again = "deployment" if fault == "the SuperLink is killed" else "in-process"
    (line,) = play.inject(game, "round", None, None, silent, again)
    assert "3 answered" in line
    assert json.loads(rescored(game))["teams"][0]["blue"]["rounds"] == 1


@pytest.mark.slow
def test_alarms_of_a_deployed_round_reach_blue(game: Instance) -> None:
    play.defend(game, 1, "none", ("repeated_rows",))
    play.inject(game, "swap-model", "imprint", None, silent, "deployment")
    (line,) = (game.desk("blue", 1) / "rounds.jsonl").read_text("utf-8").splitlines()
    told = json.loads(line)
    assert told["answered"] == 0
    assert sorted(told["alarms"]) == [f"repeated_rows at {h}" for h in ("forest", "harbour", "north")]
