"""Worlds of federations: updates under more or less noise, over-fitting, and what clients hold."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from testbed import judge, models
from testbed.attacks.properties.updates import drawn
from testbed.attacks.registry import Attack
from testbed.core import (
    Batch,
    Classes,
    Cohort,
    Evidence,
    ModelSpec,
    Property,
    Protocol,
    Records,
    Sources,
    Split,
    Threat,
    Transcript,
)
from testbed.core.defence import Defence
from testbed.core.randomness import keyed_rng
from testbed.data import load_images
from testbed.data.cohorts import sentences
from testbed.defences.gaussian import gaussian
from testbed.defences.random_update import random_update
from testbed.findings.plan import Plan
from testbed.harness.federation.trial import Trial
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.secure import SecureAggregation
from testbed.subjects.federation.tap import seen_by
from tests.conformance.base import ENGINE, EVERYTHING, World, as_bytes


def about_classes(attack: Attack) -> World:
    """A client sees two others, who hold sixteen classes. The dial is the share of classes with the right name."""
    kinds, rng = 16, keyed_rng(13, "kinds")
    y = np.arange(480) % kinds
    x = (np.eye(kinds)[y] * 3 + rng.normal(size=(480, kinds))).astype(np.float32)
    right, wrong = rng.random(480), rng.integers(0, kinds, 480)
    people = Cohort(x, y, np.arange(480).astype(str))
    question = Classes(kinds, x.min(0), x.max(0))
    spec = ModelSpec("mlp", {"shape": [kinds], "classes": kinds, "hidden": [32]})
    federation = Federation(spec, Protocol("fedavg", 10, 2, learning_rate=0.1, rounds=6, clients=3), 3)
    threat = Threat("client", malicious=attack.malicious, knows=EVERYTHING, nodes=(0,))

    @cache
    def view(leak: float) -> Transcript:
        told = replace(people, y=np.where(right < leak, y, wrong))
        act = attack.act and replace(attack.act(question, None, keyed_rng(2, attack.name), spec), nodes=(0,))
        parties = [told.take(np.arange(480)[client::3]) for client in range(3)]
        return seen_by(federation.run(parties, ENGINE, act, attack.name if act else None), threat)

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        claim = attack.run(view(leak), question, None, seed, threat)
        truth = people.take(keyed_rng(9, "order").permutation(480)) if shuffled else people
        renamed = replace(people, y=(y + 1) % kinds)
        return Evidence.join(
            judge.representatives(claim, truth, "true", "used"),
            judge.representatives(claim, renamed, "true", "unused"),
        )

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(attack.run(view(leak), question, None, seed, threat))

    return World(judged, claimed, threat, view, question, None)


WORLDS = 24


def worlds(attack: Attack) -> World:
    """Two dozen federations of two clients; the dial is by how much few and many differ, around one half."""
    rng = keyed_rng(12, "people")
    x = rng.random((400, 5)).astype(np.float32)
    x[:, 4] = np.arange(400) % 2
    everybody = Cohort(x, (x[:, 0] + 0.5 * x[:, 4] > 0.75).astype(np.int64), np.arange(400).astype(str))
    people, others = everybody.take(np.arange(200)), everybody.take(np.arange(200, 400))
    spec = ModelSpec("mlp", {"shape": [5], "classes": 2, "hidden": [8]})
    federation = Federation(spec, Protocol("fedavg", 10, 2, learning_rate=0.2, rounds=2), 3)
    threat = Threat(attack.position, attack.malicious, EVERYTHING, nodes=(1,) if attack.position == "client" else ())
    truth = np.arange(WORLDS) % 2

    def question(leak: float) -> Property:
        return Property(0, 4, (0.5 - 0.45 * leak, 0.5 + 0.45 * leak), (40, 20))

    @cache
    def views(leak: float) -> list[Transcript]:
        made: list[Transcript] = []
        for world in range(WORLDS):
            rows = drawn(people, question(leak), question(leak).levels[truth[world]], keyed_rng(world, "world"))
            act = attack.act and replace(
                attack.act(question(leak or 0.5), others, keyed_rng(world, "act"), spec), nodes=threat.nodes
            )
            parties = [people.take(r) for r in rows]
            made.append(replace(federation, seed=world).run(parties, ENGINE, act, act and attack.name))
        return [seen_by(v, threat) for v in made]

    def score(leak: float, world: int, seed: int) -> float:
        asked = question(leak or 0.5)  # where nothing differs, the attacker still expects that it may
        claim = attack.run(views(leak)[world], asked, others, seed, threat, {"shadows": 10})
        return float(claim.values[0])

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        order = keyed_rng(9, "order").permutation(WORLDS) if shuffled else np.arange(WORLDS)
        guesses = np.array([score(leak, int(w), seed) > 0 for w in order])
        right = (guesses == truth[order]).astype(float)
        wrong = (guesses == (np.arange(WORLDS) // 2 % 2)[order]).astype(float)
        return Evidence.join(
            Evidence.rows("true", "used", success=right, item=order),
            Evidence.rows("true", "unused", success=wrong, item=order),
        )

    def claimed(leak: float, seed: int) -> bytes:
        return np.array([score(leak, w, seed) for w in range(3)]).tobytes()

    return World(judged, claimed, threat, lambda leak: views(leak)[0], question(1.0), others)


@cache
def _digits() -> Cohort:
    images = load_images("digits")
    return Cohort(images.x, images.y, images.person.astype(str))


def _split(sent: int, clients: int, people: Cohort | None = None) -> Split:
    people = people or _digits()
    rows = keyed_rng(1, "people").permutation(len(people))
    groups = [people.take(rows[i * sent : (i + 1) * sent]) for i in range(3)]
    return Split(*groups, np.arange(sent) % clients, people.take(rows[3 * sent : 3 * sent + 300]))


def _noise(leak: float) -> tuple[Defence, ...]:
    """None at 1; at 0 nothing of the update is left; between, noise that shrinks as the dial goes up."""
    if leak >= 1:
        return ()
    return (random_update() if leak <= 0 else gaussian(noise=0.02 * (1 - leak), clip=10.0),)


MLP = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [16]})


WIDE = ModelSpec("mlp", {"shape": [1, 8, 8], "classes": 10, "hidden": [128]})


CNN = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [4, 8]})


ACTING: dict[str, dict[str, int]] = {
    "imprint": {"bins": 64},
    "loki": {"bins": 64},
    "model_inconsistency": {"target": 0},
    "fishing": {"target": 0, "batch": 1},
}


UNDER_SUMS = ("secagg_unmasking", "model_inconsistency")


def _text() -> tuple[Cohort, ModelSpec]:
    source, words = sentences("lee-background", 8)
    arguments = {"shape": [8], "classes": 2, "vocabulary": len(words), "width": 32, "layers": 2}
    first = np.unique(source.people.persons, return_index=True)[1]
    return source.people.take(first), ModelSpec("transformer", arguments)


def reconstruction(attack: Attack) -> World:
    unrolled = attack.name == "fedavg_unrolling"
    clients, rounds = (12, 1) if unrolled else (2, 6)
    people, spec = _text() if attack.name == "dager" else (_digits(), MLP)
    if attack.name == "fishing":  # a class that is often in a batch of one
        people = people.take(np.flatnonzero(people.y < 2))
    split = _split(clients * rounds, clients, people)
    threat = Threat(attack.position, attack.malicious, EVERYTHING, nodes=(0,) if attack.position == "client" else ())
    if attack.name in ("fedavg_unrolling", "cosine_tv", "deep_leakage", "see_through"):
        spec = CNN
    params = dict(attack.traits.get("quick", {}))
    plan = Plan(
        rule="TB-RECONSTRUCTION-001",
        risk="reconstruction",
        attack=attack.name,
        metric="line_up_top1",
        unit="record",
        params=params,
        primary=True,
    )

    @cache
    def recorded(leak: float) -> Any:
        protocol = Protocol("fedsgd", batch_size=1, learning_rate=0.1, rounds=rounds, clients=clients)
        protocol = replace(protocol, kind="fedavg", local_epochs=2) if unrolled else protocol
        acting = ACTING.get(attack.name, {})
        secure = SecureAggregation() if attack.name in UNDER_SUMS else None
        federation = Federation(spec, protocol, 2, _noise(leak), secure=secure)
        return Trial(split, federation, threat, (plan,), act_params=acting).record(ENGINE, cells=("true",))

    def question(truth: Any) -> Batch:
        keys = tuple(truth.batches["true"])
        shape, classes = models.input_of(spec)
        return Batch(keys, shape, classes, (1,) * len(keys))

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        made = recorded(leak)
        asked = question(made.truth)
        if shuffled:
            asked = replace(asked, keys=asked.keys[::-1])
        claim = attack.run(made.views["true"], asked, made.truth.auxiliary, seed, threat, params)
        line_up = judge.LineUp(made.truth.decoys)
        parts = [
            judge.tokens(claim, made.truth.batches[cell], "true", group)[0]
            if attack.name == "dager"
            else judge.reconstruction(claim, made.truth.batches[cell], line_up, "true", group)
            for cell, group in (("true", "used"), ("control", "unused"))
        ]
        return Evidence.join(*parts)

    def claimed(leak: float, seed: int) -> bytes:
        made = recorded(leak)
        claim = attack.run(made.views["true"], question(made.truth), made.truth.auxiliary, seed, threat, params)
        return as_bytes(claim)

    truth = recorded(1.0).truth
    return World(judged, claimed, threat, lambda leak: recorded(leak).views["true"], question(truth), truth.auxiliary)


@cache
def _kept() -> Path:
    """The folder of finished federations: attacks that only read share one, and each reads it from its file."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def membership(attack: Attack) -> World:
    # Classes drawn at random can only be learnt by heart, so that whatever is known of them is membership.
    clients, members = (2 if attack.position == "client" else 5), 100
    split = _split(members, clients)
    coin = keyed_rng(8, "classes")
    groups = (split.members, split.controls, split.auxiliary)
    random = [replace(g, y=coin.integers(0, 2, len(g))) for g in groups if isinstance(g, Cohort)]
    split = Split(random[0], random[1], random[2], split.party)
    knows = EVERYTHING | {"recipe"}
    threat = Threat(attack.position, attack.malicious, knows, nodes=(0,) if attack.position == "client" else ())
    plan = Plan(
        rule="TB-MEMBERSHIP-001",
        risk="membership",
        attack=attack.name,
        metric="tpr_at_fpr",
        unit="record",
        primary=True,
    )
    named = attack.claim is not Sources

    @cache
    def recorded(leak: float) -> Any:
        # What leaks of membership is over-fitting: the dial is how long clients train on few records.
        epochs = max(1, round(20 * leak))
        protocol = Protocol("fedavg", 4, local_epochs=epochs, learning_rate=0.1, rounds=4, clients=clients)
        federation = Federation(WIDE, protocol, 2, () if leak else _noise(0))
        return Trial(split, federation, threat, (plan,)).record(ENGINE, store=_kept(), cells=("true",))

    def asked(leak: float) -> Any:
        return recorded(leak).truth.pooled["true"]

    def asking(leak: float, question: Records, seed: int) -> Any:
        made = recorded(leak)
        return attack.run(made.views["true"], question, split.auxiliary, seed, threat, {}, made.recipes["true"])

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        pooled = asked(leak)
        order = keyed_rng(9, "order").permutation(len(pooled.used)) if shuffled else np.arange(len(pooled.used))
        suspected, used = pooled.suspected[order], pooled.used[order]
        claim = asking(leak, Records(pooled.people.take(order), suspected if named else None), seed)
        if isinstance(claim, Sources):
            return judge.sources(claim, suspected, used, "true", pooled.people.persons[order])
        return judge.scores(claim, used, "true")

    def claimed(leak: float, seed: int) -> bytes:
        pooled = asked(leak)
        return as_bytes(asking(leak, Records(pooled.people, pooled.suspected if named else None), seed))

    pooled = asked(1.0)
    question = Records(pooled.people, pooled.suspected if named else None)
    return World(judged, claimed, threat, lambda leak: recorded(leak).views["true"], question, split.auxiliary)
