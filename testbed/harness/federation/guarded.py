"""What guards notice: their signals in many honest federations and in attacked ones, by plain loops without Flower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from testbed import models
from testbed.attacks.registry import find
from testbed.core import (
    Act,
    Array,
    Batch,
    Cohort,
    Exchange,
    ModelSpec,
    Parameters,
    Protocol,
    Question,
    Reconstruction,
    Records,
    Transcript,
)
from testbed.core.guard import Gathered, Guard, Memory, Received
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import Source
from testbed.data.partition import partition
from testbed.harness.federation.disguises import Disguise
from testbed.judge.reconstructions import LineUp, reconstruction
from testbed.subjects.federation.apps import batches, local_update, one_thread

AUXILIARY = 300
"""Records of other people that a malicious server holds."""
TARGETS = 20
"""Records of a client, and as many of other people, that an attack on membership asks about."""
LINE_UP = 100
"""Look-alikes beside whom a reconstructed record must be recognised."""
RATES = (0.02, 0.05, 0.1, 0.2)
BATCHES = (8, 16, 32)
SIZES = (40, 60, 100)
"""Learning rates, batch sizes, and records of each client, among which a federation's own are drawn."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One kind of federation: data, network, and how many clients and rounds. The rest is drawn for each federation:
    learning rate, batch size, records of each client, gradients or weights, alike or skewed classes."""

    source: Source
    spec: ModelSpec
    clients: int = 4
    rounds: int = 5
    watched: int = 2
    """Clients whose guards are asked; the others only train."""


@dataclass(frozen=True, slots=True)
class Attacked:
    """A malicious server, or client 0, by the name of its attack. `disguise` changes what it does."""

    attack: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    disguise: Disguise | None = None


@dataclass(frozen=True, slots=True)
class Signals:
    """One guard's signals (n,), with the federation, round and client of each; NaN where it could not tell."""

    values: Array
    federation: Array
    round: Array
    client: Array

    def alarms(self, threshold: float) -> Array:
        """Whether each signal is an alarm (n,) bool; where the guard could not tell, there is none."""
        return self.values > threshold

    @staticmethod
    def of(rows: Sequence[tuple[float, int, int, int]]) -> Signals:
        values = np.array(rows, np.float64).reshape(-1, 4)
        return Signals(values[:, 0], *values[:, 1:].astype(int).T)


@dataclass(frozen=True, slots=True)
class Read:
    """What a malicious server read: for each record of a watched client (n,), its federation, round and client, and
    how surely it was picked from a line-up; `by_luck`: the same claims, judged for other people."""

    picked: Array
    by_luck: Array
    federation: Array
    round: Array
    client: Array


@dataclass(frozen=True, slots=True)
class Watched:
    """The signals of all guards, by name, and what the server read, if its attack reads records."""

    signals: Mapping[str, Signals]
    read: Read | None = None

    def alarms(self, guards: Sequence[Guard]) -> Signals:
        """1 for each round and client in which one of these guards raised an alarm, else 0; guards of one side."""
        first = self.signals[guards[0].name]
        any_of = np.any([self.signals[g.name].alarms(g.threshold) for g in guards], axis=0)
        return Signals(any_of.astype(float), first.federation, first.round, first.client)

    def answered(self, guards: Sequence[Guard]) -> Array:
        """For each record that was read, 1 if its client answered: if none of these guards raised an alarm; else 0."""
        assert self.read is not None
        refused = self.alarms(guards)
        keys = np.stack([refused.federation, refused.round, refused.client], 1)[refused.values > 0]
        gone = {tuple(k) for k in keys.tolist()}
        asked = np.stack([self.read.federation, self.read.round, self.read.client], 1).tolist()
        return np.array([tuple(k) not in gone for k in asked], float)


def watch(
    setting: Setting, guards: Sequence[Guard], federations: int, seed: int, attacked: Attacked | None = None
) -> Watched:
    """The guards' signals in so many federations: honest ones, or `attacked`.

    A client's guard gives one signal for each watched client and round. Under an attack by a client, a server's guard
    gives the signals about that client alone; in an honest federation, those about the watched ones.
    """
    rows: dict[str, list[tuple[float, int, int, int]]] = {g.name: [] for g in guards}
    reads: list[Array] = []
    for number in range(federations):
        with one_thread():
            world = _world(setting, seed, number, attacked)
            for name, signal, round_, client in world.run(guards):
                rows[name].append((signal, number, round_, client))
            reads += [np.array([*row, number], float) for row in world.read()]
    made = {name: Signals.of(r) for name, r in rows.items()}
    if not reads:
        return Watched(made)
    picked, luck, round_, client, number = np.array(reads).T
    return Watched(made, Read(picked, luck, number.astype(int), round_.astype(int), client.astype(int)))


@dataclass(slots=True)
class World:
    """One federation: its people, its protocol and the one who attacks it."""

    setting: Setting
    seed: int
    protocol: Protocol
    parts: list[Cohort]
    auxiliary: Cohort
    decoys: Cohort
    attacked: Attacked | None
    spec: ModelSpec
    act: Act | None
    exchanges: list[Exchange] = field(default_factory=list[Exchange])

    def run(self, guards: Sequence[Guard]) -> Iterator[tuple[str, float, int, int]]:
        """Each guard's name, signal, round and client, while the federation trains."""
        ours = [g for g in guards if g.side == "client"]
        theirs = [g for g in guards if g.side == "server"]
        memories: dict[tuple[str, int], Memory] = {}
        before: dict[int, Exchange] = {}
        current: Parameters = models.get_parameters(models.build(self.spec, self.seed))
        gradients = self.protocol.kind == "fedsgd"
        settings = {
            "kind": self.protocol.kind,
            "learning-rate": self.protocol.learning_rate,
            "clients": len(self.parts),
        }
        act = self.act or Act()
        for round_ in range(1, self.protocol.rounds + 1):
            now: dict[int, Exchange] = {}
            for client, own in enumerate(self.parts):
                sent = act.craft(round_, client, current) if act.craft else current
                if client < self.setting.watched:
                    seen = Received(round_, client, self.spec, sent, own, before.get(client), settings)
                    for guard in ours:
                        signal = guard.check(seen, memories.setdefault((guard.name, client), {}))
                        assert not isinstance(signal, Mapping)
                        yield guard.name, signal, round_, client
                now[client] = Exchange(round_, client, sent, self._returned(round_, client, sent))
            updates = {c: _update(e, gradients) for c, e in now.items()}
            gathered = Gathered(round_, {c: e.sent or {} for c, e in now.items()}, updates)
            about = range(1) if act.answer else range(self.setting.watched)
            for guard in theirs:
                signals = guard.check(gathered, memories.setdefault((guard.name, -1), {}))
                assert isinstance(signals, Mapping)
                for client in about:
                    yield guard.name, signals[client], round_, client
            before = now
            self.exchanges += [now[c] for c in range(self.setting.watched)]
            current = _aggregated(current, list(now.values()), self.protocol)

    def _returned(self, round_: int, client: int, sent: Parameters) -> Parameters:
        own = self.parts[client]
        returned: Parameters = local_update(self.spec, sent, own, self.protocol, self._rows(round_, client))
        if self.act and self.act.answer and client == 0:
            returned = self.act.answer(round_, client, sent, returned)
        if self.act and self.act.observe:
            self.act.observe(round_, client, returned)
        return returned

    def _rows(self, round_: int, client: int) -> list[Array]:
        return list(batches(self.protocol, self.seed, client, round_, len(self.parts[client])))

    def read(self) -> list[tuple[float, float, int, int]]:
        """For each record of an attacked exchange: was it picked, is another person's picked, its round and client."""
        if self.attacked is None or find(self.attacked.attack).claim is not Reconstruction:
            return []
        attack = find(self.attacked.attack)
        view = Transcript(tuple(self.exchanges), self.spec, self.protocol, memory=(self.act or Act()).remember)
        question = _batch(self.setting, self.protocol)
        claim = attack.read(view, question, self.auxiliary, keyed_rng(self.seed, "read"), **attack.defaults)
        rng = keyed_rng(self.seed, "others")
        truth = {e.key: self.parts[e.client].take(np.concatenate(self._rows(*e.key))) for e in self.exchanges}
        others = {
            k: self.auxiliary.take(rng.choice(len(self.auxiliary), len(p), replace=False)) for k, p in truth.items()
        }
        line_up = LineUp(self.decoys)
        one, other = (reconstruction(claim, people, line_up, "true", "used").success for people in (truth, others))
        keys = [key for key, people in truth.items() for _ in range(len(people))]
        return [(float(a), float(b), *key) for a, b, key in zip(one, other, keys, strict=True)]


def _world(setting: Setting, seed: int, number: int, attacked: Attacked | None) -> World:
    own = seed * 100_003 + number
    rng = keyed_rng(own, "guarded")
    each, clients = int(rng.choice(SIZES)), setting.clients
    people = setting.source.people
    order = rng.permutation(len(people))
    mine, others = people.take(order[: each * clients]), order[each * clients :]
    skewed = rng.random() < 0.5
    party = partition("dirichlet" if skewed else "iid", mine.y, clients, rng, alpha=1.0)
    parts = [mine.take(np.flatnonzero(party == c)) for c in range(clients)]
    parts = [p if len(p) >= 20 else mine.take(rng.permutation(len(mine))[:20]) for p in parts]
    gradients, rate, size = rng.random() < 0.5, float(rng.choice(RATES)), int(rng.choice(BATCHES))
    kind: Literal["fedsgd", "fedavg"] = "fedsgd" if gradients else "fedavg"
    if attacked is not None:
        kind = _kind_for(attacked.attack)
    size = min(size, *(len(p) for p in parts))
    protocol = Protocol(kind, size, 1, learning_rate=rate, rounds=setting.rounds, clients=clients)
    auxiliary = people.take(others[:AUXILIARY])
    decoys = people.take(others[AUXILIARY : AUXILIARY + LINE_UP])
    spec, act = setting.spec, None
    if attacked is not None:
        attack = find(attacked.attack)
        assert attack.act is not None
        question = _question(setting, protocol, parts, auxiliary, attack.claim)
        act = attack.act(question, auxiliary, keyed_rng(own, "act"), spec, **attacked.params)
        if attacked.disguise is not None:
            act = attacked.disguise(act, auxiliary, keyed_rng(own, "disguise"))
        spec = act.model or spec
    return World(setting, own, protocol, parts, auxiliary, decoys, attacked, spec, act)


def _kind_for(attack: str) -> Literal["fedsgd", "fedavg"]:
    """Gradients for attacks that read records; weights for those that need a client's model."""
    return "fedsgd" if find(attack).claim is Reconstruction or attack == "crafted_neurons" else "fedavg"


def _question(
    setting: Setting, protocol: Protocol, parts: Sequence[Cohort], auxiliary: Cohort, claim: type[Any]
) -> Question:
    if claim is Reconstruction:
        return _batch(setting, protocol)
    inside, outside = parts[1].take(np.arange(TARGETS)), auxiliary.take(np.arange(TARGETS))
    asked = (np.concatenate([getattr(p, f) for p in (inside, outside)]) for f in ("x", "y", "persons"))
    return Records(Cohort(*asked), None)


def _batch(setting: Setting, protocol: Protocol) -> Batch:
    keys = tuple((r, c) for r in range(1, protocol.rounds + 1) for c in range(setting.watched))
    return Batch(keys, setting.source.shape, setting.source.classes)


def _update(exchange: Exchange, gradients: bool) -> Parameters:
    sent, returned = exchange.sent or {}, exchange.returned or {}
    return {k: -v if gradients else v - sent[k] for k, v in returned.items()}


def _aggregated(current: Parameters, answers: Sequence[Exchange], protocol: Protocol) -> Parameters:
    """The next global model: the mean of the clients' weights, or a step against the mean of their gradients."""
    mean = {k: np.mean([(e.returned or {})[k] for e in answers], axis=0, dtype=np.float32) for k in current}
    if protocol.kind != "fedsgd":
        return mean
    rate = np.float32(protocol.learning_rate or 0.1)
    return {k: current[k] - rate * mean[k] for k in current}
