"""The ground of an exercise about boosted trees: its people, its rounds, and the leaves that red counts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from testbed.attacks.registry import find as find_attack
from testbed.core import Array, Batch, Cohort, Groups, Threat, Transcript
from testbed.core.randomness import keyed_rng
from testbed.defences import named
from testbed.findings import statistics
from testbed.judge.described import within
from testbed.models.boosters import grown
from testbed.range.desk import Desk
from testbed.range.events import Fact
from testbed.range.exercise import TreeExercise, TreeRound
from testbed.range.instance import Instance, write_secret
from testbed.range.records import DATES, SERIES, stays
from testbed.range.state import Progress, State
from testbed.range.truth import Truth
from testbed.subjects.federation import transcript
from testbed.subjects.federation.trees import TreeFederation, predictions

RANGES: dict[str, tuple[float, float]] = {
    "age": (18, 98),
    "systolic": (70, 230),
    **dict.fromkeys(SERIES, (0, 600)),
    "wait": (0, 60),
    "stay": (0, 120),
}
"""The columns, each with the values that become 0 and 1; `wait` and `stay` are days between the dates."""
CLASSES = 2
KNOWS = frozenset({"auxiliary", "defence", "hyper_parameters"})
"""What red knows: other people's rows, the rules of training, and what the hospitals' rules prescribe in a round."""
PUBLIC = "public.npz"


@dataclass(frozen=True, slots=True)
class Crowd:
    """Everybody of one team: the hospitals' patients, and people of no hospital on whom the model is measured."""

    hospitals: dict[str, Cohort]
    outsiders: Cohort


def people(n: int, rng: np.random.Generator, tag: str) -> Cohort:
    """Rows of generated patients; the class is whether the diagnosis is sepsis."""
    table = stays(n, rng)
    days = [table[c].to_numpy(dtype="datetime64[D]") for c in DATES]
    values = {c: table[c].to_numpy(float) for c in RANGES if c in table.columns}
    values |= {"wait": (days[1] - days[0]).astype(float), "stay": (days[2] - days[1]).astype(float)}
    x = np.column_stack([(values[c] - low) / (high - low) for c, (low, high) in RANGES.items()])
    ill = (table["diagnosis"] == "sepsis").to_numpy(np.int64)
    return Cohort(x.astype(np.float32), ill, np.array([f"{tag}-{i:05d}" for i in range(n)]))


def crowd(exercise: TreeExercise, seed: int) -> Crowd:
    """The people by a seed, which is drawn anew at every start and stays with the instructor."""
    rng, sizes = keyed_rng(seed, "people"), exercise.patients
    return Crowd({h: people(sizes.each, rng, h) for h in exercise.hospitals}, people(sizes.outsiders, rng, "outsider"))


def public(exercise: TreeExercise, seed: int) -> Cohort:
    """The sample of other people that both teams hold."""
    return people(exercise.patients.public, keyed_rng(seed, "public"), "public")


def populate(instance: Instance, exercise: TreeExercise, progress: Progress) -> State:
    """New people. The truth of a round follows from its trees, so that it is written when the round is played."""
    state = State.new(instance.teams)
    progress("generating the patients")
    sample = public(exercise, state.public_seed)
    nobody = Cohort(np.zeros((0, 1), np.float32), np.zeros(0, np.int64), np.zeros(0, "<U1"))
    for team in range(1, instance.teams + 1):
        Truth(nobody, nobody, (), np.zeros(0, bool), {}).write(instance.scorer / f"truth-{team}.npz")
        for desk in (instance.desk("red", team), instance.desk("blue", team)):
            np.savez_compressed(desk / PUBLIC, x=sample.x, y=sample.y, columns=np.array(list(RANGES)))
    return state


def prescribed(planned: TreeRound, own: str) -> str:
    """The defences of a round: those of the hospitals' rules, and blue's. Of one that both name, blue's is used."""
    both = _by_name(planned.defence) | _by_name(own)
    return "+".join(both.values()) or named.NONE


def _by_name(text: str) -> dict[str, str]:
    parts = named.SEPARATOR.split(text) if text.strip() != named.NONE else []
    return {named.split(part)[0][0]: part.strip() for part in parts}


def federation(exercise: TreeExercise, text: str, seed: int) -> TreeFederation:
    """How the hospitals boost their trees under these defences."""
    rules = exercise.model
    return TreeFederation(
        len(RANGES),
        len(exercise.hospitals),
        rounds=rules.rounds,
        learning_rate=rules.learning_rate,
        depth=rules.depth,
        seed=seed,
        defences=named.configured(text),
    )


def counted(seen: Transcript, parts: Sequence[Cohort], hospitals: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The patients of each leaf of each hospital's first tree, as it was sent: those who are well, and the ill."""
    truth: dict[str, tuple[int, int]] = {}
    for client, bounds in first_leaves(seen).items():
        for leaf, row in zip(names_of(hospitals[client], len(bounds)), held(parts[client], bounds), strict=True):
            truth[leaf] = (int(row[0]), int(row[1]))
    return truth


def first_leaves(seen: Transcript) -> dict[int, Array]:
    """The bounds (leaves, features, 2) of the leaves of each client's first tree."""
    first = {e.client: e for e in reversed(seen.exchanges) if e.returned is not None}
    made = {client: grown(exchange)[0] for client, exchange in sorted(first.items())}
    return {client: model.trees[0].boxes(model.features) for client, model in made.items()}


def names_of(hospital: str, leaves: int) -> list[str]:
    """What the leaves of a hospital's first tree are called."""
    return [f"{hospital}-{number:02d}" for number in range(leaves)]


def held(who: Cohort, bounds: Array) -> Array:
    """How many of these people stand in each leaf, by class (leaves, 2)."""
    inside = within(who.x, bounds)
    return np.stack([(inside & (who.y == c)).sum(1) for c in range(CLASSES)], 1)


def trivial(seen: Transcript, sample: Cohort, each: int, hospitals: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The trivial attack: each leaf has as large a share of the hospital's patients as of the public sample."""
    said: dict[str, tuple[int, int]] = {}
    for client, bounds in first_leaves(seen).items():
        guessed = np.round(held(sample, bounds) * each / len(sample)).astype(int)
        said |= {
            leaf: (int(a), int(b))
            for leaf, (a, b) in zip(names_of(hospitals[client], len(bounds)), guessed, strict=True)
        }
    return said


def exact(said: Mapping[str, tuple[int, int]], truth: Mapping[str, tuple[int, int]]) -> statistics.Interval:
    """The share of leaves of which both numbers are right, with its 95 % interval."""
    return statistics.wilson(sum(said[leaf] == counts for leaf, counts in truth.items()), len(truth))


def play(instance: Instance, exercise: TreeExercise, team: int, progress: Progress) -> Mapping[str, Fact]:
    """The next round of a team, under its own rules and what blue has switched on. Returns its facts."""
    state = State.of(instance)
    seed, number = state.seeds[str(team)], state.rounds[str(team)] + 1
    planned = exercise.planned(number)
    progress(f"playing round {number} for team {team}: {planned.title}")
    crew, switched = crowd(exercise, seed), _switched(instance.desk("blue", team))
    text = prescribed(planned, switched)
    parts = list(crew.hospitals.values())
    seen = federation(exercise, text, seed + number).run(parts)
    truth = counted(seen, parts, exercise.hospitals)
    sample = public(exercise, state.public_seed)
    par = exact(trivial(seen, sample, exercise.patients.each, exercise.hospitals), truth).value
    useful = _auc(seen, crew.outsiders)
    facts: dict[str, Fact] = {
        "title": planned.title,
        "kind": "trees",
        "sent": 0,
        "answered": len({e.client for e in seen.exchanges if e.status == "ok"}),
        "utility": round(useful, 4),
        "above_floor": useful >= exercise.limits.utility_floor,
        "defence": text,
        "guards": "",
        "alarms": 0,
        "act": None,
        "par": round(max(par, exercise.limits.least_par), 4),
        "leaves": len(truth),
    }
    told = json.dumps({leaf: [str(n) for n in counts] for leaf, counts in truth.items()})
    write_secret(instance.scorer / f"round-{team}-{number:03d}.json", told)
    Desk(instance, "white").note("round", {**facts, "round": number}, team)
    # What follows may be done again: the scorer knows the round, and nobody has seen anything of it yet.
    _tell(instance, exercise, team, number, seen, facts)
    state.rounds[str(team)] = number
    state.keep(instance)
    return facts


def _auc(seen: Transcript, who: Cohort) -> float:
    said = predictions(seen.final, who.x)
    return statistics.auc(said[who.y == 1], said[who.y == 0]).value


def _switched(desk: Path) -> str:
    path = desk / "defence.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["defence"]) if path.is_file() else named.NONE


def _tell(
    instance: Instance, exercise: TreeExercise, team: int, number: int, seen: Transcript, facts: Mapping[str, Fact]
) -> None:
    """What each side gets of a round: red the transcript and a list of leaves, blue how good the model is."""
    red, blue = instance.desk("red", team), instance.desk("blue", team)
    transcript.write(red / f"round-{number:02d}.transcript", seen)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["leaf", "who"])
    for client, bounds in first_leaves(seen).items():
        names = names_of(exercise.hospitals[client], len(bounds))
        table.writerows(zip(names, (worded(box) for box in bounds), strict=True))
    (red / f"round-{number:02d}.leaves.csv").write_text(text.getvalue(), encoding="utf-8")
    path = red / "rounds.json"
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rules = exercise.planned(number).defence
    told[str(number)] = {"hospitals": exercise.hospitals, "rules": rules, "par": facts["par"]}
    path.write_text(json.dumps(told, indent=1), encoding="utf-8")
    line = {"round": number, **{k: facts[k] for k in ("title", "answered", "utility", "above_floor", "defence")}}
    with (blue / "rounds.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def worded(box: Array) -> str:
    """Whom a leaf holds, in the columns' own units: `20.5 <= age < 61.0 and crp_1 < 12.3`."""
    said: list[str] = []
    for (column, (low, high)), (least, most) in zip(RANGES.items(), box.tolist(), strict=True):
        left = f"{low + least * (high - low):.4g} <= " if np.isfinite(least) else ""
        right = f" < {low + most * (high - low):.4g}" if np.isfinite(most) else ""
        said += [f"{left}{column}{right}"] if left or right else []
    return " and ".join(said) or "everybody"


def counts(desk: Path, round_: int, attack: str) -> dict[str, tuple[int, int]]:
    """What an attack on trees says of the leaves of a round, by what lies on red's desk. Raises `Unavailable`."""
    told = json.loads((desk / "rounds.json").read_text(encoding="utf-8"))[str(round_)]
    view = transcript.read(desk / f"round-{round_:02d}.transcript")
    with np.load(desk / PUBLIC) as file:
        sample = Cohort(file["x"], file["y"], np.array([f"public-{i}" for i in range(len(file["y"]))]))
    keys = tuple({e.client: e.key for e in reversed(view.exchanges) if e.returned is not None}.values())
    rules = str(told["rules"])
    question = Batch(tuple(sorted(keys)), (len(RANGES),), CLASSES, defences=named.configured(rules))
    claim = find_attack(attack).run(view, question, sample, 0, Threat("server", False, KNOWS), {})
    assert isinstance(claim, Groups)
    said: dict[str, tuple[int, int]] = {}
    for (_, client), rows in sorted(claim.counts.items()):
        for leaf, row in zip(names_of(told["hospitals"][client], len(rows)), rows, strict=True):
            said[leaf] = (int(row[0]), int(row[1]))
    return said
