"""The hospitals of a team at work: one round of their federation, under blue's defences, recorded for red."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from testbed import models
from testbed.attacks.registry import find as find_attack
from testbed.core import Act, Array, Batch, Cohort, ModelSpec, Parameters, Protocol, Transcript
from testbed.core.defence import guarantees
from testbed.core.randomness import keyed_rng
from testbed.defences import named
from testbed.defences.accounting import DELTA
from testbed.defences.guards.registry import find as find_guard
from testbed.range.events import Fact
from testbed.range.exercise import FederatedExercise, Round
from testbed.range.patients import CLASSES, SHAPE
from testbed.range.population import Population, first
from testbed.range.truth import true_positives
from testbed.subjects.federation import deployment
from testbed.subjects.federation.apps import batches
from testbed.subjects.federation.federation import Federation, ruled
from testbed.subjects.federation.local import local_update

FEWEST = 2
"""Hospitals that must answer for a round to count as finished."""
INNER = "inner."
"""What the parameters of a model are called inside one that a malicious server put around it."""


@dataclass(frozen=True, slots=True)
class Switches:
    """What blue has switched on: defences as in `-s defence=`, and guards by name."""

    defence: str = named.NONE
    guards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """A round that was played: what red sees of it, the next model, the patients behind it, and facts for the log."""

    seen: Transcript
    model: Parameters
    hospitals: tuple[str, ...]
    """The hospitals of the transcript's clients, in their order."""
    people: Mapping[str, tuple[str, ...]]
    alarms: tuple[tuple[str, str], ...]
    """Guard and hospital of each alarm: for blue's own log."""
    facts: Mapping[str, Fact]


def network(exercise: FederatedExercise) -> ModelSpec:
    """The network that the hospitals train."""
    return ModelSpec("mlp", {"shape": list(SHAPE), "classes": CLASSES, "hidden": [exercise.model.hidden]})


def warmed(exercise: FederatedExercise, public: Cohort, seed: int) -> Parameters:
    """The model before the first round, trained on the public sample."""
    spec, rules = network(exercise), exercise.model
    start = models.get_parameters(models.build(spec, seed))
    if not rules.warm_epochs:
        return start
    protocol = Protocol("fedavg", rules.warm_batch, rules.warm_epochs, learning_rate=rules.warm_rate)
    return local_update(spec, start, public, protocol, list(batches(protocol, seed, 0, 1, len(public))))


def play(
    exercise: FederatedExercise,
    number: int,
    people: Population,
    start: Parameters,
    switches: Switches,
    at_work: Mapping[str, Any],
) -> Finished:
    """One round of a team's federation. `at_work` has `seed`, `public`, `dropped` hospitals, an `act` if there is one
    that is not planned, and the `engine` if it is another than one process."""
    planned, seed, public = exercise.planned(number), int(at_work["seed"]) + number, at_work["public"]
    act_name, engine = at_work.get("act") or planned.act, str(at_work.get("engine") or "in-process")
    spec, present = network(exercise), [h for h in exercise.hospitals if h not in at_work["dropped"]]
    text = promised(exercise, planned, switches.defence)
    defences = named.configured(text)
    protocol = ruled(_protocol(exercise, planned), defences)
    parties = [
        _ordered(people.hospitals[h], protocol, seed, i, _sequence(exercise, number, len(people.hospitals[h])))
        for i, h in enumerate(present)
    ]
    act = _act(act_name, public, spec, seed)
    guards = tuple(find_guard(name)() for name in switches.guards)
    federation = Federation(spec, protocol, seed, defences, start=_start(start, act, seed), guards=guards)
    with _alarms(present) as alarms, deployment.at([exercise.hospitals.index(h) for h in present]):
        seen = federation.run(parties, engine, act, act_name)
    answered = {e.client for e in seen.exchanges if e.status == "ok"}
    used = {
        h: _used(parties[i], protocol, seed, i) if planned.kind == "gradient" and i in answered else ()
        for i, h in enumerate(present)
    }
    after = _after(seen, start)
    useful = utility(exercise, after, people)
    par = None
    if planned.membership:
        asked, _ = _losses(spec, after, people.asked)
        par = max(
            exercise.limits.membership_fpr,
            true_positives(-asked, people.truth.used, exercise.limits.membership_fpr).value,
        )
    facts: dict[str, Fact] = {
        "title": planned.title,
        "kind": planned.kind,
        "sent": sum(map(len, used.values())),
        "answered": len(answered),
        "utility": round(useful, 4),
        "above_floor": useful >= exercise.limits.utility_floor and len(answered) >= FEWEST,
        "defence": text,
        "guards": ",".join(switches.guards),
        "alarms": len(alarms),
        "act": act_name,
        "par": None if par is None else round(par, 4),
        "engine": engine,
    }
    return Finished(seen, after, tuple(present), used, tuple(alarms), facts)


def promised(exercise: FederatedExercise, planned: Round, text: str) -> str:
    """The defences of a round: blue's, or `dpsgd` where the round promises an epsilon that blue's do not guarantee."""
    if planned.epsilon is None:
        return text
    defences = named.configured(text)
    protocol = ruled(_protocol(exercise, planned), defences)
    exposure = Federation(network(exercise), protocol, 0, defences).exposure(exercise.patients.each)
    kept = [g for g in guarantees(defences, exposure) if g is not None and g.unit == "record"]
    if any(g.epsilon <= planned.epsilon and g.delta <= DELTA for g in kept):
        return text
    return f"dpsgd:{planned.epsilon:g}"


def utility(exercise: FederatedExercise, parameters: Parameters, people: Population) -> float:
    """The accuracy of a model on the true diagnoses of people of no hospital."""
    return float(_losses(network(exercise), parameters, people.outsiders)[1].mean())


def _protocol(exercise: FederatedExercise, planned: Round) -> Protocol:
    rate = exercise.model.learning_rate
    if planned.kind == "gradient":
        return Protocol("fedsgd", planned.batch, learning_rate=exercise.model.gradient_rate, rounds=1)
    return Protocol("fedavg", planned.batch, planned.epochs, learning_rate=rate, rounds=planned.repeats)


def _sequence(exercise: FederatedExercise, number: int, n: int) -> Array:
    """A hospital's patients in the order in which this round uses them: those planned, then others."""
    planned = exercise.planned(number)
    begin = first(exercise, min(number, len(exercise.rounds)))
    own = np.arange(begin, min(n, begin + planned.batch)) if planned.kind == "gradient" else np.arange(0)
    return np.concatenate([own, np.setdiff1d(np.arange(n), own)[::-1]])


def _ordered(people: Cohort, protocol: Protocol, seed: int, client: int, sequence: Array) -> Cohort:
    """The hospital's patients, placed so that its own rule draws them in this sequence.

    The hospital holds all of them, since its guards look at them, and its message is about the first ones.
    """
    if protocol.kind != "fedsgd":
        return people
    everybody = Protocol("fedsgd", len(people))
    drawn = next(iter(batches(everybody, seed, client, 1, len(people))))
    placed = np.empty(len(people), np.int64)
    placed[drawn] = sequence
    return people.take(placed)


def _used(people: Cohort, protocol: Protocol, seed: int, client: int) -> tuple[str, ...]:
    rows = np.unique(np.concatenate(list(batches(protocol, seed, client, 1, len(people)))))
    return tuple(people.persons[rows].tolist())


def _act(name: str | None, public: Cohort, spec: ModelSpec, seed: int) -> Act | None:
    if name is None:
        return None
    attack = find_attack(name)
    assert attack.act is not None
    return attack.act(Batch((), SHAPE, CLASSES), public, keyed_rng(seed, name, "act"), spec)


def _start(start: Parameters, act: Act | None, seed: int) -> Parameters:
    """The parameters to begin with. A malicious server's other model has the hospitals' own one inside it."""
    if act is None or act.model is None:
        return start
    around = models.get_parameters(models.build(act.model, seed))
    return {k: start.get(k.removeprefix(INNER), v) if k.startswith(INNER) else v for k, v in around.items()}


def _after(seen: Transcript, before: Parameters) -> Parameters:
    """The model after the round; the one before it if nobody answered, or if the coordinator sent another one."""
    final = seen.final
    fits = final is not None and seen.act is None and final.keys() == before.keys()
    return final if fits and final is not None and all(np.isfinite(v).all() for v in final.values()) else before


def _losses(spec: ModelSpec, parameters: Parameters, people: Cohort) -> tuple[Array, Array]:
    """The loss of each person (n,), and whether the model's class is right (n,)."""
    model = models.build(spec)
    tensors = models.to_tensors(parameters, model)
    with torch.no_grad():
        outputs = torch.func.functional_call(model, tensors, (torch.tensor(people.x),))
        losses = torch.nn.functional.cross_entropy(outputs, torch.tensor(people.y), reduction="none")
    return losses.numpy(), outputs.argmax(1).numpy() == people.y


class _Heard(logging.Handler):
    def __init__(self, hospitals: list[str]) -> None:
        super().__init__()
        self.hospitals, self.alarms = hospitals, list[tuple[str, str]]()

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args
        if isinstance(arguments, tuple) and len(arguments) > 3:
            self.alarms.append((str(arguments[0]), self.hospitals[int(str(arguments[3]))]))


@contextmanager
def _alarms(hospitals: list[str]) -> Generator[list[tuple[str, str]]]:
    """The guards' alarms, as they are written to the hospitals' own log."""
    log, heard = logging.getLogger("testbed.guards"), _Heard(hospitals)
    before = log.propagate
    log.addHandler(heard)
    log.propagate = False
    try:
        yield heard.alarms
    finally:
        log.removeHandler(heard)
        log.propagate = before


def write_model(path: Path, parameters: Parameters) -> None:
    """Writes a model's parameters."""
    np.savez(path, **{k: np.asarray(v) for k, v in parameters.items()})  # pyright: ignore[reportArgumentType]
    path.chmod(0o600)


def read_model(path: Path) -> Parameters:
    with np.load(path, allow_pickle=False) as file:
        return {k: file[k] for k in file.files}


def switches_of(desk: Path) -> Switches:
    """What blue has switched on, as its desk says at this moment."""
    path = desk / "defence.json"
    if not path.is_file():
        return Switches()
    told = json.loads(path.read_text(encoding="utf-8"))
    return Switches(str(told["defence"]), tuple(told["guards"]))
