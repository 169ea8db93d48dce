"""What happens in an exercise: start, rounds, injects, claims, switches, snapshot, reset, end."""

from __future__ import annotations

import json
import secrets
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from testbed.core import catalogue
from testbed.core.errors import UsageError, perhaps
from testbed.defences import named
from testbed.range import exercise as exercises
from testbed.range import instance as instances
from testbed.range import processes
from testbed.range.desk import Desk
from testbed.range.instance import Instance, write_secret

Progress = Callable[[str], None]
STATE, SNAPSHOTS = "state.json", "snapshots"
INJECTS = ("round", "swap-model", "drop", "hint")


@dataclass
class State:
    """What the instructor's side remembers between commands. It stays in the folder white/."""

    seeds: dict[str, int]
    public_seed: int
    rounds: dict[str, int]
    dropped: list[str] = field(default_factory=list[str])
    hints: dict[str, int] = field(default_factory=dict[str, int])

    @staticmethod
    def of(instance: Instance) -> State:
        return State(**json.loads((instance.white / STATE).read_text(encoding="utf-8")))

    def keep(self, instance: Instance) -> None:
        write_secret(instance.white / STATE, json.dumps(vars(self)))


def up(source: str, name: str | None, teams: int, progress: Progress) -> Instance:
    """Start an exercise; or start the scorer of a known instance again, with everything as it was.

    Makes people and secrets, trains the first model, starts the scorer and plays the first round of every team.
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
        made = instances.create(folder, source, teams)
        _populate(made, progress)
        processes.start(made)
        Desk(made, "white").note("start", {"teams": teams, "exercise": made.exercise.id}, 0)
        for team in range(1, teams + 1):
            play_round(made, team, progress)
    except BaseException:
        if (folder / "instance.json").is_file():
            processes.stop(instances.find_at(folder))
        shutil.rmtree(folder, ignore_errors=True)  # half an exercise is none
        raise
    return made


def _populate(instance: Instance, progress: Progress) -> None:
    """New people, new flags and the first model; the truth goes to the scorer's folder alone."""
    from testbed.range import field as fields
    from testbed.range.population import population, public

    teams = [str(t) for t in range(1, instance.teams + 1)]
    state = State({t: secrets.randbits(48) for t in teams}, secrets.randbits(48), dict.fromkeys(teams, 0))
    state.keep(instance)
    sample = public(instance.exercise, state.public_seed)
    progress("training the first model on the public sample")
    start = fields.warmed(instance.exercise, sample, state.public_seed)
    for team in range(1, instance.teams + 1):
        people = population(instance.exercise, state.seeds[str(team)])
        people.truth.write(instance.scorer / f"truth-{team}.npz")
        fields.write_model(instance.white / f"model-{team}.npz", start)
        red = instance.desk("red", team)
        asked = people.asked
        np.savez_compressed(red / "names.npz", names=asked.persons, x=asked.x, y=asked.y, suspected=people.suspected)
        for desk in (red, instance.desk("blue", team)):
            np.savez_compressed(desk / "public.npz", x=sample.x, y=sample.y)


def play_round(instance: Instance, team: int, progress: Progress, act: str | None = None) -> Mapping[str, Any]:
    """The next round of a team, under what blue has switched on at this moment. Returns its facts."""
    from testbed.range import field as fields
    from testbed.range.population import population, public
    from testbed.subjects.federation import transcript

    state, exercise = State.of(instance), instance.exercise
    number = state.rounds[str(team)] + 1
    progress(f"team {team}, round {number}: {exercise.planned(number).title}")
    people = population(exercise, state.seeds[str(team)])
    model = instance.white / f"model-{team}.npz"
    finished = fields.play(
        exercise,
        number,
        people,
        fields.read_model(model),
        fields.switches_of(instance.desk("blue", team)),
        {
            "seed": state.seeds[str(team)],
            "public": public(exercise, state.public_seed),
            "dropped": state.dropped,
            "act": act,
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


def _told_red(instance: Instance, team: int, number: int, hospitals: tuple[str, ...]) -> None:
    """The hospital of each client number, and the par of the trivial attack once there is one."""
    path = instance.desk("red", team) / "rounds.json"
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    told[str(number)] = {"hospitals": list(hospitals)}
    path.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _told_blue(instance: Instance, team: int, number: int, finished: Any) -> None:
    """Blue's own log: what its guards noticed, and how good the model is. What the coordinator did is not in it."""
    facts = {k: finished.facts[k] for k in ("title", "answered", "utility", "above_floor", "defence", "guards")}
    line = {"round": number, **facts, "alarms": [f"{guard} at {hospital}" for guard, hospital in finished.alarms]}
    with (instance.desk("blue", team) / "rounds.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def defend(instance: Instance, team: int, defence: str, guards: tuple[str, ...]) -> None:
    """Blue's switches from the next round on. Raises `UsageError` for a name that does not exist."""
    named.check(defence)
    for guard in guards:
        catalogue.known("guard", guard)
    named.configured(defence)
    desk = instance.desk("blue", team)
    write_secret(desk / "defence.json", json.dumps({"defence": defence, "guards": list(guards)}))
    Desk(instance, "blue", team).note("defend", {"defence": defence, "guards": ",".join(guards)})


def inject(instance: Instance, what: str, value: str | None, team: int | None, progress: Progress) -> list[str]:
    """What the instructor puts into the exercise, for one team or for all. Returns what happened."""
    if what not in INJECTS:
        raise UsageError(
            "TB-RANGE-020",
            f"There is no inject {what!r}.",
            "The instructor can play the next round, change the model, drop a hospital, or give a hint.",
            f"Did you mean one of these? {perhaps(what, INJECTS)}",
        )
    teams = [team] if team is not None else list(range(1, instance.teams + 1))
    white = Desk(instance, "white")
    done: list[str] = []
    if what == "drop":
        state, hospitals = State.of(instance), instance.exercise.hospitals
        left = [h for h in hospitals if h not in state.dropped and h != value]
        if value not in hospitals or len(left) < 2:
            raise UsageError(
                "TB-RANGE-021",
                f"The hospital {value!r} cannot be dropped.",
                "It must be one of the exercise, and two must stay.",
                f"Did you mean one of these? {perhaps(value or '', hospitals)}",
            )
        state.dropped = [*state.dropped, *([value] if value not in state.dropped else [])]
        state.keep(instance)
    for one in teams:
        instance.desk("red", one)
        if what in ("round", "swap-model"):
            act = (value or "imprint") if what == "swap-model" else None
            if act is not None:
                check_act(act)
                white.note("inject", {"what": what, "value": act}, one)
            facts = play_round(instance, one, progress, act)
            done.append(f"team {one}: {facts['title']}, utility {facts['utility']:g}, {facts['answered']} answered")
        elif what == "hint":
            done.append(_hint(instance, one, white))
        else:
            white.note("inject", {"what": what, "value": value}, one)
            done.append(f"team {one}: {value} takes no part from the next round on")
    return done


def check_act(name: str) -> None:
    """Raises `UsageError` unless this attack can act as a server that changes the model."""
    known = catalogue.entries("attack")
    able = [e.name for e in known if "act" in e.arguments and e.arguments.get("claim") == "Reconstruction"]
    if name not in able:
        raise UsageError(
            "TB-RANGE-022",
            f"The coordinator cannot do {name!r}.",
            "It must be an attack that changes the model.",
            f"Did you mean one of these? {perhaps(name, able)}",
        )


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


def snapshot(instance: Instance) -> Path:
    """The whole instance as one file, which its owner alone can read. The scorer may run meanwhile."""
    folder = instance.folder / SNAPSHOTS
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{len(list(folder.glob('*.tar'))) + 1:03d}.tar"
    target.touch(mode=0o600)
    skipped = {SNAPSHOTS, processes.DOOR}
    with tarfile.open(target, "w") as archive:
        for path in sorted(instance.folder.iterdir()):
            if path.name not in skipped:
                archive.add(path, path.name)
    return target


def reset(instance: Instance, progress: Progress, to: Path | None = None) -> Instance:
    """Everything new: people, flags, secrets, model and log; or everything as it was in a snapshot."""
    name, teams, folder = instance.name, instance.teams, instance.folder
    if to is not None and not to.is_file():
        raise UsageError(
            "TB-RANGE-023", "There is no such snapshot.", f"{to.name} was not found.", "Name a file of snapshots/."
        )
    processes.stop(instance)
    kept = folder.with_name(f".{name}.before-reset")
    shutil.rmtree(kept, ignore_errors=True)
    whole = to.resolve() if to is not None else kept
    if whole.is_relative_to(folder.resolve()):
        whole = kept / whole.relative_to(folder.resolve())
    folder.rename(kept)
    try:
        if to is None:
            made = up(str(kept / "white" / instances.SOURCE), name, teams, progress)
        else:
            folder.mkdir(mode=0o700)
            with tarfile.open(whole) as archive:
                archive.extractall(folder, filter="data")
            made = instances.find(name)
            processes.start(made)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        kept.rename(folder)
        raise
    if (kept / SNAPSHOTS).is_dir():
        (kept / SNAPSHOTS).rename(made.folder / SNAPSHOTS)
    shutil.rmtree(kept)
    return made


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
    for team in range(1, instance.teams + 1):
        played = state.rounds[str(team)]
        lines.append(
            f"team {team}: round {played} of {len(instance.exercise.rounds)}; "
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
    return "\n".join(lines)
