"""What happens in an exercise: start, rounds, injects, claims, switches, end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.core import catalogue
from testbed.core.defence import FEDERATED, OF_TREES, check_where
from testbed.core.errors import UsageError, perhaps
from testbed.defences import named
from testbed.range import exercise as exercises
from testbed.range import instance as instances
from testbed.range import processes
from testbed.range.desk import STATIONS, Desk, address, closed
from testbed.range.events import Fact
from testbed.range.exercise import ReleaseExercise, TreeExercise, federated
from testbed.range.instance import Instance, write_secret
from testbed.range.state import Progress, State

INJECTS = ("round", "swap-model", "drop", "hint")
IN_PROCESS, DEPLOYED = "in-process", "deployment"


def up(source: str, name: str | None, teams: int | None, progress: Progress) -> Instance:
    """Start an exercise; or start the servers of a known instance again, with everything as it was.

    Makes people and secrets, trains the first model, starts scorer and board. No round is played: blue looks first.
    """
    called = name or Path(source).name
    folder = instances.home() / called
    if not instances.NAME.match(called):
        raise UsageError(
            "TB-RANGE-018",
            f"{called!r} cannot be the name of an instance.",
            "It becomes the name of a folder.",
            "Use letters, digits, - and _, at most 41.",
        )
    if (folder / "instance.json").is_file():
        known = instances.find(folder.name)
        if teams not in (None, known.teams):
            raise UsageError(
                "TB-RANGE-036",
                f"The instance {called} exists already, with {known.teams} teams.",
                "The number of teams cannot be changed any more.",
                "Leave --teams out, or give another --name for a new instance.",
            )
        processes.start(known)
        return known
    exercises.load(source)
    if folder.exists():
        raise UsageError(
            "TB-RANGE-019",
            f"The folder {folder.name} exists and holds no instance.",
            "It would be overwritten.",
            "Give another --name.",
        )
    try:
        made = instances.create(folder, source, teams or 1)
        populate(made, progress)
        processes.start(made)
        Desk(made, "white").note("start", {"teams": made.teams, "exercise": made.exercise.id}, 0)
    except BaseException:
        if (folder / "instance.json").is_file():
            processes.stop(instances.find_at(folder))
        shutil.rmtree(folder, ignore_errors=True)  # half an exercise is none
        raise
    return made


def populate(instance: Instance, progress: Progress) -> None:
    """New people, new flags and the first model; the truth goes to the scorer's folder alone."""
    exercise = instance.exercise
    if isinstance(exercise, ReleaseExercise):
        from testbed.range import releases

        releases.populate(instance, exercise, progress).keep(instance)
    elif isinstance(exercise, TreeExercise):
        from testbed.range import trees

        trees.populate(instance, exercise, progress).keep(instance)
    else:
        from testbed.range import hospitals

        hospitals.populate(instance, federated(instance.exercise), progress).keep(instance)


def play_round(
    instance: Instance, team: int, progress: Progress, act: str | None = None, engine: str = IN_PROCESS
) -> Mapping[str, Fact]:
    """The next round of a team on this engine, or its next candidate release. Returns its facts."""
    exercise = instance.exercise
    if isinstance(exercise, ReleaseExercise):
        from testbed.range import releases

        return releases.play(instance, exercise, team, progress)
    if isinstance(exercise, TreeExercise):
        from testbed.range import trees

        return trees.play(instance, exercise, team, progress)
    from testbed.range import hospitals

    return hospitals.play(instance, federated(instance.exercise), team, progress, act, engine)


def defend(instance: Instance, team: int, defence: str, guards: tuple[str, ...]) -> None:
    """Blue's switches from the next round on. Raises `UsageError` for a name that does not exist."""
    trees = isinstance(instance.exercise, TreeExercise)
    if not trees:
        federated(instance.exercise)
    named.check(defence)
    for guard in guards:
        catalogue.known("guard", guard)
    if trees and guards:
        raise UsageError(
            "TB-RANGE-068",
            "There are no guards in an exercise about trees.",
            "Guards look at models of another kind.",
            "Leave --guards out.",
        )
    subject = "the exercise's federation" + " of trees" * trees
    possible = OF_TREES if trees else FEDERATED
    check_where(named.configured(defence), possible, subject, "See testbed describe for what each changes.")
    desk = instance.desk("blue", team)
    write_secret(desk / "defence.json", json.dumps({"defence": defence, "guards": list(guards)}))
    Desk(instance, "blue", team).note("defend", {"defence": defence, "guards": ",".join(guards)})


def inject(
    instance: Instance,
    what: str,
    value: str | None,
    team: int | None,
    progress: Progress,
    engine: str | None = None,
) -> list[str]:
    """What the instructor puts into the exercise, for one team or for all; rounds are played on this engine. By default
    it is one process; where the hospitals are containers of their own, they play.

    Returns what happened."""
    if what not in INJECTS:
        raise UsageError(
            "TB-RANGE-020",
            f"There is no inject {what!r}.",
            "The instructor can play the next round, change the model, drop a hospital, or give a hint.",
            f"Did you mean one of these? {perhaps(what, INJECTS)}",
        )
    teams = [team] if team is not None else list(range(1, instance.teams + 1))
    _possible(instance, what, value, teams)
    if engine is None:
        engine = DEPLOYED if os.environ.get(STATIONS) else IN_PROCESS
    elif engine != IN_PROCESS:
        check_engine(instance, engine)
    white = Desk(instance, "white")
    done: list[str] = []
    for one in teams:
        if what in ("round", "swap-model"):
            act = value if what == "swap-model" else None
            if act is not None:
                white.note("inject", {"what": what, "value": act}, one)
            facts = play_round(instance, one, progress, act, engine)
            told = f", utility {facts['utility']:g}, {facts['answered']} answered" if "utility" in facts else ""
            done.append(f"team {one}, round played: {facts['title']}{told}")
        elif what == "hint":
            done.append(_hint(instance, one, white))
        else:
            done.append(_drop(instance, one, str(value), white))
    return done


def _drop(instance: Instance, team: int, hospital: str, white: Desk) -> str:
    state = State.of(instance)
    gone = state.dropped.setdefault(str(team), [])
    if hospital in gone:
        return f"team {team}: {hospital} takes no part already"
    white.note("inject", {"what": "drop", "value": hospital}, team)
    gone.append(hospital)
    state.keep(instance)
    return f"team {team}: {hospital} takes no part from the next round on"


def _check_drop(instance: Instance, hospital: str | None, teams: list[int]) -> None:
    """Raises `UsageError` unless this hospital can be dropped for all of these teams."""
    state, hospitals = State.of(instance), federated(instance.exercise).hospitals
    left = [sum(h not in (*state.dropped.get(str(t), []), hospital) for h in hospitals) for t in teams]
    if hospital not in hospitals or min(left) < 2:
        raise UsageError(
            "TB-RANGE-021",
            f"The hospital {hospital!r} cannot be dropped.",
            "It must be one of the exercise, and two must stay with each team.",
            f"Did you mean one of these? {perhaps(hospital or '', hospitals)}",
        )


def _possible(instance: Instance, what: str, value: str | None, teams: list[int]) -> None:
    """Raises `UsageError` for an inject that must not begin, before anything of it is done for any team."""
    if value is not None and what in ("round", "hint"):
        raise UsageError(
            "TB-RANGE-038",
            f"The inject {what} takes no value, and one was given.",
            "It gives the next one, and cannot be undone.",
            f"Leave it out: testbed range inject {instance.name} {what}",
        )
    for team in teams:
        instance.desk("red", team)
    if what == "swap-model":
        federated(instance.exercise)
        check_act(value)
    if what == "drop":
        _check_drop(instance, value, teams)
    if what in ("round", "swap-model"):
        state, rounds = State.of(instance), len(instance.exercise.stages)
        if over := [t for t in teams if state.rounds[str(t)] >= rounds]:
            raise UsageError(
                "TB-RANGE-039",
                f"Team {over[0]} has played all {rounds} rounds of the exercise.",
                "A further round would give points that the briefs do not tell of.",
                f"See testbed range score {instance.name}; for the teams that are not done, give --team.",
            )
    _open(instance)


def _open(instance: Instance) -> None:
    """Raises `UsageError` if the scorer does not run, which would not hear of what is done."""
    if address(instance) is None:
        raise closed(instance)


def check_engine(instance: Instance, name: str) -> None:
    """Raises `UsageError` unless rounds of this exercise can be played on this engine."""
    federated(instance.exercise)
    if name not in (IN_PROCESS, DEPLOYED):
        raise UsageError(
            "TB-RANGE-067",
            f"A round cannot be played on an engine {name!r}.",
            "The hospitals are in one process, or each of them is a SuperNode of a deployed federation.",
            f"Did you mean one of these? {perhaps(name, (IN_PROCESS, DEPLOYED))}",
        )


def check_act(name: str | None) -> None:
    """Raises `UsageError` unless this attack can act as a server that changes the model. None: no attack was named."""
    able = able_to_act()
    if name not in able:
        raise UsageError(
            "TB-RANGE-022",
            f"The coordinator cannot do {name!r}." if name else "swap-model needs the attack that changes the model.",
            "It takes the place of the next planned round, and cannot be undone.",
            f"Did you mean one of these? {perhaps(name or '', able)}",
        )


def able_to_act() -> list[str]:
    """The attacks by which a server changes the model."""
    known = catalogue.entries("attack")
    return [e.name for e in known if "act" in e.arguments and e.arguments.get("claim") == "Reconstruction"]


def _hint(instance: Instance, team: int, white: Desk) -> str:
    state, hints = State.of(instance), instance.exercise.hints
    given = state.hints.get(str(team), 0)
    if given >= len(hints):
        return f"team {team}: there is no further hint"
    white.note("hint", {"number": given + 1}, team)
    state.hints[str(team)] = given + 1
    state.keep(instance)
    with (instance.desk("red", team) / "hints.md").open("a", encoding="utf-8") as file:
        file.write(f"- {hints[given]}\n")
    return f"team {team}: {hints[given]}"


def down(instance: Instance, remove: bool = False) -> bool:
    """Stop the scorer, and with `remove` delete the folder. Says whether a scorer ran."""
    ran = processes.stop(instance)
    if remove:
        shutil.rmtree(instance.folder)
    return ran


def status(instance: Instance) -> list[str]:
    """What runs and where, in lines for people."""
    running, state = processes.door(instance), State.of(instance)
    where = f"scorer at {running.url} (process {running.pid})" if running else "scorer stopped"
    lines = [f"{instance.name}: {instance.exercise.title}, {where}"]
    if (board := processes.door(instance, processes.BOARD)) is not None:
        lines.append(f"pages of all desks at {board.url} (process {board.pid}); each desk's token opens its own")
    for team in range(1, instance.teams + 1):
        played = state.rounds[str(team)]
        lines.append(
            f"team {team}: round {played} of {len(instance.exercise.stages)}; "
            f"red {instance.desk('red', team)}, blue {instance.desk('blue', team)}"
        )
    return lines


def scoreboard(told: Mapping[str, Any]) -> str:
    """A score for people: each side's points and what they were given for."""
    lines: list[str] = []
    for team in told["teams"]:
        for side in ("red", "blue"):
            counts = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in team[side].items() if k != "points")
            lines.append(f"team {team['team']} {side:4} {team[side]['points']:5} points  ({counts})")
        lines += [f"  round {e['round']:2}  {e['side']:4} {e['points']:+4}  {e['reason']}" for e in team["ledger"]]
    for one in told.get("ranking", []):
        red = ", ".join(f"team {team} ({100 * rate:.0f} %)" for team, rate in one["red"])
        blue = ", ".join(f"team {team} ({accuracy:.2f})" for team, accuracy in one["blue"])
        lines.append(
            f"round {one['round']}, {one['title']}: red by true-positive rate: {red}; blue by accuracy: {blue}"
        )
    return "\n".join(lines)
