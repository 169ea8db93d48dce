"""The ground of an exercise about a federation: its people, its first model, and its rounds."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from testbed.core.errors import RunError, TestbedError
from testbed.range import field as fields
from testbed.range.desk import Desk
from testbed.range.events import Fact
from testbed.range.exercise import FederatedExercise
from testbed.range.instance import Instance, write_secret
from testbed.range.population import population, public
from testbed.range.state import BITS, Progress, State
from testbed.subjects.federation import transcript


def populate(instance: Instance, exercise: FederatedExercise, progress: Progress) -> State:
    """New people, new flags and the first model; the truth goes to the scorer's folder alone."""
    state = State.new(instance.teams)
    crowds = {t: population(exercise, seed) for t, seed in state.seeds.items()}
    progress("training the first model on the public sample")
    for last in (False, False, True):  # now and then a training does not find a useful model
        sample = public(exercise, state.public_seed)
        start = fields.warmed(exercise, sample, state.public_seed)
        if _useful(exercise, min(fields.utility(exercise, start, p) for p in crowds.values()), last):
            break
        state.public_seed = secrets.randbits(BITS)
    for team in range(1, instance.teams + 1):
        people = crowds[str(team)]
        people.truth.write(instance.scorer / f"truth-{team}.npz")
        fields.write_model(instance.white / f"model-{team}.npz", start)
        red = instance.desk("red", team)
        asked = people.asked
        np.savez_compressed(red / "names.npz", names=asked.persons, x=asked.x, y=asked.y, suspected=people.suspected)
        for desk in (red, instance.desk("blue", team)):
            np.savez_compressed(desk / "public.npz", x=sample.x, y=sample.y)
    fields.write_model(instance.white / FIRST, start)
    return state


FIRST = "first.npz"
"""The first model, with which fresh rounds begin."""
CLEARLY = 0.05
"""How far above the utility floor the first model must be."""


def _useful(exercise: FederatedExercise, utility: float, last: bool) -> bool:
    """Is the first model clearly above the floor, so that blue needs no luck? Raises `RunError` if the last is not."""
    floor = exercise.limits.utility_floor
    if utility < floor + CLEARLY and last:
        raise RunError(
            "TB-RANGE-037",
            f"The first model is right for {utility:.0%} of the people of no hospital; the floor is {floor:.0%}.",
            "Blue must keep the model above the floor, and it would not be clearly above it at the start.",
            "Try again; or change model, public or utility_floor in the exercise.",
        )
    return utility >= floor + CLEARLY


def play(
    instance: Instance,
    exercise: FederatedExercise,
    team: int,
    progress: Progress,
    act: str | None = None,
    engine: str = "in-process",
) -> Mapping[str, Fact]:
    """The next round of a team, under what blue has switched on at this moment. Returns its facts.

    Raises `RunError` for a round that was interrupted. Nothing of it counts, and the log says so."""
    state = State.of(instance)
    number = state.rounds[str(team)] + 1
    progress(f"playing round {number} for team {team}: {exercise.planned(number).title}")
    people = population(exercise, state.seeds[str(team)])
    model = instance.white / f"model-{team}.npz"
    dropped = state.dropped.get(str(team), [])
    with _interruptions(instance, team, number, [h for h in exercise.hospitals if h not in dropped]):
        finished = fields.play(
            exercise,
            number,
            people,
            fields.read_model(instance.white / FIRST if exercise.planned(number).fresh else model),
            fields.switches_of(instance.desk("blue", team)),
            {
                "seed": state.seeds[str(team)],
                "public": public(exercise, state.public_seed),
                "dropped": dropped,
                "act": act,
                "engine": engine,
            },
        )
    told = json.dumps({k: list(v) for k, v in finished.people.items()})
    write_secret(instance.scorer / f"round-{team}-{number:03d}.json", told)
    Desk(instance, "white").note("round", {**finished.facts, "round": number}, team)
    # What follows may be done again: the scorer knows the round, and nobody has seen anything of it yet.
    transcript.write(instance.desk("red", team) / f"round-{number:02d}.transcript", finished.seen)
    _told_red(instance, team, number, finished.hospitals)
    _told_blue(instance, team, number, finished)
    fields.write_model(model, finished.model)
    state.rounds[str(team)] = number
    state.keep(instance)
    return finished.facts


@contextlib.contextmanager
def _interruptions(instance: Instance, team: int, number: int, present: list[str]) -> Generator[None]:
    """A context in which whatever ends a round before its end is written into the log, and told with what to do."""
    try:
        yield
    except BaseException as error:
        facts: dict[str, Fact] = {"number": number, "error": getattr(error, "id", type(error).__name__)}
        with contextlib.suppress(TestbedError):  # the first error matters more than a scorer that does not run
            Desk(instance, "white").note("fault", facts, team)
        if not isinstance(error, RunError):
            raise
        who = ", ".join(f"{place} is {hospital}" for place, hospital in enumerate(present))
        raise RunError(
            error.id,
            error.what,
            f"{error.why} Round {number} of team {team} does not count, and nobody has seen anything of it.",
            f"Give the same inject again, or first: testbed range inject {instance.name} drop HOSPITAL. "
            f"By the number of a client or node, {who}.",
        ) from error


def _told_red(instance: Instance, team: int, number: int, hospitals: tuple[str, ...]) -> None:
    """The hospital of each client number, and the par of the trivial attack once there is one."""
    path = instance.desk("red", team) / "rounds.json"
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    told[str(number)] = {"hospitals": list(hospitals)}
    path.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _told_blue(instance: Instance, team: int, number: int, finished: fields.Finished) -> None:
    """Blue's own log: what its guards noticed, and how good the model is. What the coordinator did is not in it."""
    facts = {k: finished.facts[k] for k in ("title", "answered", "utility", "above_floor", "defence", "guards")}
    line = {"round": number, **facts, "alarms": [f"{guard} at {hospital}" for guard, hospital in finished.alarms]}
    with (instance.desk("blue", team) / "rounds.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
