"""What every attack is put through: a small planted world for each kind of claim, with a dial.

`World.evidence(leak, seed, order)` runs the attack on a view whose leak is dialled from 0 (none) to 1 (undefended),
on the same people, and judges it. `order` permutes the items asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from testbed import judge, models
from testbed.attacks.properties.updates import drawn
from testbed.attacks.registry import Attack, find
from testbed.core import (
    Act,
    Array,
    Batch,
    Classes,
    Cohort,
    Evidence,
    Feature,
    Fields,
    Gaps,
    Guesses,
    Halves,
    Known,
    Links,
    ModelSpec,
    Predicates,
    Predictor,
    Property,
    Protocol,
    Queries,
    Reconstruction,
    Records,
    Release,
    Representatives,
    Scores,
    Sources,
    Split,
    Substitutes,
    Table,
    Threat,
    Transcript,
)
from testbed.core.defence import Defence
from testbed.core.randomness import keyed_rng
from testbed.core.tables.index import Index
from testbed.data import load_images
from testbed.data.cohorts import sentences
from testbed.data.tables.encode import encode
from testbed.defences.gaussian import gaussian
from testbed.defences.random_update import random_update
from testbed.findings.plan import Plan
from testbed.harness.federation.trial import Trial
from testbed.harness.model import deciding
from testbed.harness.model.deciding import taught
from testbed.harness.release.setting import RECIPIENT, Targets
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.secure import SecureAggregation
from testbed.subjects.federation.tap import seen_by
from tests.conftest import thirds

EVERYTHING = frozenset(
    {"architecture", "auxiliary", "batch_size", "hyper_parameters", "known_columns", "queries", "target_records"}
)
BASELINES = {"marginal_guess", "random_predicates"}
"""Attacks that look at nothing of the person: they must find no leak even where one is planted."""


@dataclass(frozen=True)
class World:
    """How to run and judge one attack. `claim(leak, seed)` gives the raw claim's bytes."""

    evidence: Callable[[float, int, bool], Evidence]
    claim: Callable[[float, int], bytes]
    threat: Threat
    view: Callable[[float], Any]
    question: Any
    auxiliary: Any
    recipe: Any = None


ENGINE = "in-process"
"""On which federations of these worlds run; both engines record the same."""

_MADE: dict[Any, World] = {}


def world(attack: Attack) -> World:
    """The world of an attack; what it recorded serves all tests of that attack."""
    if attack.read not in _MADE:
        _MADE[attack.read] = fresh(attack)
    return _MADE[attack.read]


def fresh(attack: Attack) -> World:
    """The world of an attack, of which nothing is recorded yet."""
    if attack.subject == "model":
        return _released(attack) if attack.claim is Scores else _about_models(attack)
    if attack.subject == "release":
        if attack.claim is Scores:
            return _presence(attack)
        return _together(attack) if attack.name == "linear_reconstruction" else _release(attack)
    if attack.claim is Representatives:
        return _about_classes(attack)
    if attack.risk == "property":
        return _worlds(attack)
    return _reconstruction(attack) if attack.claim is Reconstruction else _membership(attack)


def as_bytes(claim: Any) -> bytes:
    match claim:
        case Scores(values=v):
            return np.asarray(v, float).tobytes()
        case Sources(clients=v):
            return np.asarray(v, int).tobytes()
        case Representatives(records=v):
            return np.asarray(v, float).tobytes()
        case Guesses(values=v):
            return b"".join(np.asarray(v[name], float).tobytes() for name in sorted(v))
        case Links(left=a, right=b):
            return a.tobytes() + b.tobytes()
        case Reconstruction(batches=b):
            return b"".join(np.asarray(b[k], float).tobytes() for k in sorted(b))
        case Predicates(conjunctions=c):
            return repr(c).encode()
        case _:
            raise TypeError(type(claim))


@cache
def _people() -> tuple[Cohort, Array]:
    """Two hundred people of random classes, which can only be learnt by heart, and who of them was used."""
    rng = keyed_rng(5, "released")
    x = rng.normal(size=(400, 6)).astype(np.float32)
    return Cohort(x, rng.integers(0, 2, 400), np.arange(400).astype(str)), rng.permutation(400) < 200


def _trained(leak: float, people: Cohort, seed: int) -> Predictor:
    """A forest's answers, of which the dial is the share that is not plain ignorance."""
    forest = RandomForestClassifier(20, random_state=seed, bootstrap=False).fit(people.x, people.y)
    return Predictor(lambda asked: leak * forest.predict_proba(asked.x) + (1 - leak) / 2, 2)


def _released(attack: Attack) -> World:
    people, used = _people()
    knows = EVERYTHING | {"recipe", "some_memberships"}
    threat = Threat("recipient", knows=knows, access="score")
    rng = keyed_rng(6, "others")
    others = Cohort(rng.normal(size=(200, 6)).astype(np.float32), rng.integers(0, 2, 200), np.arange(200).astype(str))

    @cache
    def view(leak: float) -> Predictor:
        return _trained(leak, people.take(np.flatnonzero(used)), 1)

    def claim(leak: float, order: Array, seed: int) -> Any:
        def recipe(given: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
            return _trained(leak, given, int(rng.integers(2**31)))

        asked = people.take(order)
        if "some_memberships" in attack.needs:
            return taught(attack, view(leak), asked, used[order], half(order), seed, threat)
        params = {"shadows": 8} if "shadows" in attack.defaults else {}
        return attack.run(view(leak), Records(asked), others, seed, threat, params, recipe)

    def half(order: Array) -> Array:
        return deciding.Halves.of(people.persons[order], used[order], 0).first.astype(int)

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        order = keyed_rng(9, "order").permutation(len(people)) if shuffled else np.arange(len(people))
        evidence = judge.scores(claim(leak, order, seed), used[order], "true")
        return deciding.on_one_scale(evidence, half(order)) if "some_memberships" in attack.needs else evidence

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(claim(leak, np.arange(len(people)), seed))

    asked, rest = np.arange(200), np.arange(200, 400)
    question = Records(people.take(asked), known=Known(people.take(rest), used[rest]))
    return World(judged, claimed, threat, view, question, others)


CLASSES = 4


@cache
def _kinds() -> tuple[Cohort, Cohort, Cohort]:
    """Three groups of four kinds of people in six inputs, and a coin; a kind is hard to tell from one person."""
    rng = keyed_rng(7, "kinds")
    y = np.arange(600) % CLASSES
    x = np.eye(CLASSES, 6)[y] * 2 + rng.normal(size=(600, 6)) * 0.7
    x = np.concatenate([x, 4 * rng.integers(0, 2, (600, 1))], 1).astype(np.float32)
    return tuple(Cohort(x[g], y[g], g.astype(str)) for g in np.split(rng.permutation(600), 3))  # type: ignore[return-value]


def _about_models(attack: Attack) -> World:
    """A model's own secrets: what it says of an input, of a class, and of anything it is asked."""
    members, controls, others = _kinds()
    threat = Threat("recipient", knows=EVERYTHING, access="score")
    if attack.claim is Guesses:  # classes that can only be learnt by heart
        members, controls = (replace(g, y=keyed_rng(1, "coin").permutation(g.y)) for g in (members, controls))
    knows_hearts = KNeighborsClassifier(1).fit(members.x, members.y)
    # A model of its own opinion: its classes are renamed, so that the truth does not help to agree with it.
    knows_kinds = LogisticRegression().fit(members.x[:, :6], (members.y + 1) % CLASSES)

    def view(leak: float) -> Predictor:
        def ask(asked: Cohort) -> Array:
            flat = np.full((len(asked), CLASSES), 1 / CLASSES)
            if attack.claim is Guesses:
                return leak * knows_hearts.predict_proba(asked.x) + (1 - leak) * flat
            said = knows_kinds.predict_proba(asked.x[:, :6])
            return leak * (np.roll(said, -1, 1) if attack.claim is Representatives else said) + (1 - leak) * flat

        return Predictor(ask, CLASSES)

    def question(order: Array) -> Any:
        if attack.claim is Substitutes:
            return Queries(others, (len(others),))
        if attack.claim is Representatives:
            return Classes(CLASSES, members.x.min(0), members.x.max(0))
        pooled = Cohort(*(np.concatenate([getattr(g, f) for g in (members, controls)]) for f in ("x", "y", "persons")))
        return Feature(replace(pooled.take(order), x=_hidden(pooled.x[order])), 6, np.array([0, 4], np.float32))

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        order = keyed_rng(9, "order").permutation(400) if shuffled else np.arange(400)
        claim = attack.run(view(leak), question(order), others, seed, threat)
        if isinstance(claim, Substitutes):
            answers = view(1.0).ask(controls)
            never = attack.run(view(0.0), question(order), others, seed, threat).models[len(others)]
            return Evidence.join(
                judge.agreement(claim.models[len(others)], answers, controls, "true", "used"),
                judge.agreement(never, answers, controls, "true", "unused"),
            )
        if isinstance(claim, Representatives):
            renamed = replace(controls, y=keyed_rng(4, "names").permutation(controls.y))
            return Evidence.join(
                judge.representatives(claim, members, "true", "used"),
                judge.representatives(claim, renamed, "true", "unused"),
            )
        truth = np.concatenate([members.x[:, 6], controls.x[:, 6]])[order]
        persons = np.arange(400)[order].astype(str)
        return judge.feature(claim, truth, order < 200, "true", persons)

    def claimed(leak: float, seed: int) -> bytes:
        claim = attack.run(view(leak), question(np.arange(400)), others, seed, threat)
        return claim.models[len(others)].ask(controls).tobytes() if isinstance(claim, Substitutes) else as_bytes(claim)

    return World(judged, claimed, threat, view, question(np.arange(400)), others)


def _about_classes(attack: Attack) -> World:
    """A client's view of two others that hold sixteen kinds; the dial is the share of them that are called rightly."""
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


def _hidden(x: Array) -> Array:
    return np.concatenate([x[:, :6], np.zeros((len(x), 1), np.float32)], 1)


WORLDS = 24


def _worlds(attack: Attack) -> World:
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
def _tables(leak: float) -> tuple[Table, Table, Table]:
    people = thirds(400, seed=11)
    frames = encode(people.original, people.leaky(leak), people.control)
    assert frames.control is not None
    return frames.original, frames.synthetic, frames.control


def _together(attack: Attack) -> World:
    """An attack on a binary secret of all people at once: members and controls are asked about apart."""
    members, _, controls = _tables(0.0)
    names = tuple(c.name for c in members.columns if c.name != "sex")
    secret = next(c for c in members.columns if c.name == "sex")

    def guess(people: Table, leak: float, seed: int) -> Any:
        return attack.run(Release(_tables(leak)[1]), Gaps(people.select(names), (secret,)), None, seed, RECIPIENT)

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        order = keyed_rng(9, "order").permutation(400) if shuffled else np.arange(400)
        parts = []
        for people, used in ((members.take(order), True), (controls.take(order), False)):
            claim = guess(people, leak, seed)
            parts.append(judge.guesses(claim, (secret,), people, np.full(400, used), "true", people.persons))
        return Evidence.join(*parts)

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(guess(members, leak, seed))

    question = Gaps(members.select(names), (secret,))
    return World(judged, claimed, RECIPIENT, lambda leak: Release(_tables(leak)[1]), question, None)


def _release(attack: Attack) -> World:
    def question(targets: Targets, members: Table) -> tuple[Any, Any]:
        names = tuple(c.name for c in members.columns)
        if attack.claim is Links:
            order = keyed_rng(5, "halves").permutation(len(targets.table))
            right = targets.table.select(names[1::2]).take(order)
            return Halves(targets.table.select(names[::2]), right), np.argsort(order)
        if attack.claim is Guesses:
            return Gaps(targets.table.select(names[1:]), members.columns[:1]), None
        return Fields(members.columns, 200), None

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        members, release, controls = _tables(leak)
        targets = Targets.draw(members, controls, 400, keyed_rng(3, "targets"))
        order = keyed_rng(9, "order").permutation(len(targets.table)) if shuffled else np.arange(len(targets.table))
        targets = Targets(targets.table.take(order), targets.used[order])
        asked, partner = question(targets, members)
        claim = attack.run(Release(release), asked, None, seed, RECIPIENT)
        persons = targets.table.persons
        if isinstance(claim, Links):
            return judge.links(claim, partner, targets.used, "true", persons)
        if isinstance(claim, Guesses):
            return judge.guesses(claim, members.columns[:1], targets.table, targets.used, "true", persons)
        return judge.predicates(claim, Index.of(members), Index.of(controls), "true", 200)

    members, _, controls = _tables(0.0)
    asked, _ = question(Targets.draw(members, controls, 400, keyed_rng(3, "targets")), members)

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(attack.run(Release(_tables(leak)[1]), asked, None, seed, RECIPIENT))

    return World(judged, claimed, RECIPIENT, lambda leak: Release(_tables(leak)[1]), asked, None)


def _presence(attack: Attack) -> World:
    """Membership in what a release was made from: half of the controls are the attacker's reference."""

    def parts() -> tuple[Targets, Table]:
        members, _, controls = _tables(0.0)
        targets = Targets.draw(members, controls.take(np.arange(200)), 400, keyed_rng(3, "targets"))
        return targets, controls.take(np.arange(200, 400))

    targets, reference = parts()
    threat = replace(RECIPIENT, knows=RECIPIENT.knows | attack.needs)

    def claim(leak: float, question: Records, seed: int) -> Any:
        view = Release(_tables(leak)[1])
        return attack.run(view, question, reference, seed, threat, recipe=partial(_copying, leak))

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        order = keyed_rng(9, "order").permutation(len(targets.table)) if shuffled else np.arange(len(targets.table))
        return judge.scores(claim(leak, Records(targets.table.take(order)), seed), targets.used[order], "true")

    question = Records(targets.table)

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(claim(leak, question, seed))

    return World(judged, claimed, threat, lambda leak: Release(_tables(leak)[1]), question, reference)


def _copying(leak: float, people: Table, rng: np.random.Generator) -> Release:
    """The recipe behind `_tables`: a share of the people as they are, and fresh people for the rest."""
    fresh, size = _tables(0.0)[1], len(people)
    copies = people.take(rng.permutation(size)[: round(leak * size)])
    rest = fresh.take(rng.permutation(len(fresh))[: size - len(copies)])
    values = (np.concatenate(pair) for pair in zip(copies.values, rest.values, strict=True))
    return Release(Table(people.columns, tuple(values), np.concatenate([copies.persons, rest.persons])))


@cache
def _digits() -> Cohort:
    images = load_images("digits")
    return Cohort(images.x, images.y, images.person.astype(str))


def _split(sent: int, clients: int, people: Cohort | None = None) -> Split:
    people = people or _digits()
    rows = keyed_rng(1, "people").permutation(len(people))
    groups = [people.take(rows[i * sent : (i + 1) * sent]) for i in range(3)]
    return Split(*groups, np.arange(sent) % clients, people.take(rows[3 * sent : 3 * sent + 300]))


def _noise(leak: float) -> Defence | None:
    """None at 1; at 0 nothing of the update is left; between, noise that shrinks as the dial goes up."""
    if leak >= 1:
        return None
    return random_update() if leak <= 0 else gaussian(noise=0.02 * (1 - leak), clip=10.0)


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


def _reconstruction(attack: Attack) -> World:
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
        return Trial(split, federation, threat, (plan,), act_params=acting).record(ENGINE)

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


def _membership(attack: Attack) -> World:
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
        return Trial(split, Federation(WIDE, protocol, 2, None if leak else _noise(0)), threat, (plan,)).record(ENGINE)

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


def advantage(evidence: Evidence) -> float:
    """How much better the attack does on those used: difference of success rates, or AUC - 1/2 for scores."""
    from testbed.findings import statistics

    used, unused = evidence.cell("true", "used"), evidence.cell("true", "unused")
    if np.isnan(evidence.success).all():
        return statistics.auc(used.score, unused.score).value - 0.5
    return float(used.success.mean() - unused.success.mean())


def named(name: str) -> World:
    return world(find(name))


__all__ = ["BASELINES", "Transcript", "World", "advantage", "as_bytes", "named", "world"]
