"""Worlds of released tables: a share of the original among fresh people, as the dial says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack
from testbed.core import (
    Evidence,
    Fields,
    Gaps,
    Guesses,
    Halves,
    Links,
    Records,
    Release,
    Table,
)
from testbed.core.randomness import keyed_rng
from testbed.core.tables.index import Index
from testbed.data.tables.encode import encode
from testbed.harness.release.setting import RECIPIENT, Targets
from tests.conformance.base import World, as_bytes
from tests.conftest import thirds


@cache
def _tables(leak: float) -> tuple[Table, Table, Table]:
    people = thirds(400, seed=11)
    frames = encode(people.original, people.leaky(leak), people.control)
    assert frames.control is not None
    return frames.original, frames.synthetic, frames.control


def together(attack: Attack) -> World:
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


def release(attack: Attack) -> World:
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


def _copying(leak: float, people: Table, rng: np.random.Generator) -> Release:
    """The recipe behind `_tables`: a share of the people as they are, and fresh people for the rest."""
    fresh, size = _tables(0.0)[1], len(people)
    copies = people.take(rng.permutation(size)[: round(leak * size)])
    rest = fresh.take(rng.permutation(len(fresh))[: size - len(copies)])
    values = (np.concatenate(pair) for pair in zip(copies.values, rest.values, strict=True))
    return Release(Table(people.columns, tuple(values), np.concatenate([copies.persons, rest.persons])))


def presence(attack: Attack) -> World:
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
