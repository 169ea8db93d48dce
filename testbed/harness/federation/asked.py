"""Attacks on messages that train nothing: which of them they read, and a positive control of a foreign app's answers.

An answer to an evaluation, or to a query with a model, can be computed from the records that it is about. So the
owner's records tell whether anything stands between (noise, rounding, another loss). If nothing does, the testbed gives
the same answers of other people, two to a client, whom an attack that works finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from testbed import models
from testbed.attacks.membership.evaluations import reported
from testbed.attacks.membership.queries import answered
from testbed.attacks.registry import Attack
from testbed.core import Asked, Cohort, Exchange, Transcript
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.harness.federation.recorded import Key, Pooled, as_members
from testbed.subjects.federation.local import evaluated

READ = {"evaluations": "evaluate", "queries": "query"}
"""What attacks read that read no update, by their trait `suits`: the kind of the messages."""
CLIENTS, EACH = 10, 2
"""Clients of the positive control, and the people of each. It is known to leak: a mean is that of two people."""
FEWEST = 100
"""Controls that are left, at least, beside the people of the positive control."""
COMPARED = 20
"""Answers that are computed again, drawn at random."""
EXACT = 1e-4, 1e-6
"""The largest difference between an answer and what the records give, relative and absolute: rounding of sums."""


def kind_read(attack: Attack) -> str | None:
    """The kind of the messages that an attack reads, `evaluate` or `query`; None if it reads updates."""
    return READ.get(str(attack.traits.get("suits")))


def of_kind(view: Transcript, kind: str) -> list[Asked]:
    """The messages of this kind: evaluations, or queries of any name."""
    return [e for e in view.asked if e.kind.partition(".")[0] == kind]


def answers(view: Transcript, attack: Attack) -> Sequence[Exchange]:
    """The exchanges that an attack reads: those that train, the evaluations, or the queries."""
    kind = kind_read(attack)
    return view.exchanges if kind is None else of_kind(view, kind)


def read_by(view: Transcript, attack: Attack, params: Mapping[str, Any]) -> list[Asked]:
    """The answers that an attack on evaluations or queries can read, with their numbers as metrics."""
    kind, names = kind_read(attack), set(models.trained_by(view.model))
    if kind is None:
        return []
    read = answered(view, params.get("query", "")) if kind == READ["queries"] else of_kind(view, kind)
    return [e for e in read if e.sent is not None and names <= e.sent.keys() and reported(e.metrics)]


def leaky(
    view: Transcript,
    attack: Attack,
    params: Mapping[str, Any],
    held: Mapping[Key, Cohort],
    controls: Cohort,
    seed: int,
) -> tuple[Transcript, Pooled] | None:
    """The positive control: what clients of two people each would have answered, and about whom is asked then.

    Their people are the first of the controls, the others stay controls. None if there are too few controls, or if the
    records do not give the answers that were recorded, so that something unknown stands between.
    """
    known = CLIENTS * EACH
    read = read_by(view, attack, params)
    if not read or view.model is None or len(controls) < known + FEWEST:
        return None
    if not _given_by(view, read, held, seed):
        return None
    clients = sorted({e.client for e in read})
    made: list[Asked] = []
    for client in range(CLIENTS):
        theirs = controls.take(np.arange(client * EACH, (client + 1) * EACH))
        asked = [one for one in read if one.client == clients[client % len(clients)]]
        size = {"num-examples": float(EACH)}
        made += [
            replace(one, client=client, returned=None, metrics={**computed(view, one, theirs), **size}) for one in asked
        ]
    members = controls.take(np.arange(known))
    others = controls.take(np.flatnonzero(~np.isin(controls.persons, members.persons)))
    holder = np.repeat(np.arange(CLIENTS), EACH)
    suspected = np.concatenate([holder, as_members(holder, members.y, others.y)])
    both = Cohort(*(np.concatenate([getattr(p, f) for p in (members, others)]) for f in ("x", "y", "persons")))
    order = keyed_rng(seed, "positive pool").permutation(len(both))
    pooled = Pooled(both.take(order), (np.arange(len(both)) < known)[order], suspected[order])
    return Transcript((), view.model, view.protocol, view.position, asked=tuple(made)), pooled


def _given_by(view: Transcript, read: Sequence[Asked], held: Mapping[Key, Cohort], seed: int) -> bool:
    """Whether the records give the answers exactly, and on as many records as the clients say."""
    known = [e for e in read if e.key in held]
    order = keyed_rng(seed, "answers computed again").permutation(len(known))
    compared = 0
    for one in (known[i] for i in order[:COMPARED]):
        told, own = reported(one.metrics), computed(view, one, held[one.key])
        shared = told.keys() & own.keys()
        compared += len(shared)
        if not all(np.isclose(told[name], own[name], *EXACT) for name in shared):
            return False
        if one.metrics.get("num-examples", len(held[one.key])) != len(held[one.key]):
            return False
    return compared > 0


def computed(view: Transcript, one: Asked, people: Cohort) -> dict[str, float]:
    """What a client answers that holds these people, of what was answered here; empty if the model does not fit."""
    assert view.model is not None
    try:
        own = evaluated(view.model, one.sent or {}, people)
    except InputError:
        return {}
    return {name: own[name] for name in reported(one.metrics) if name in own}
