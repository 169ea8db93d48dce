"""The world of attacks on boosted trees: random classes, which trees can only learn by telling people apart."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack
from testbed.core import Batch, Cohort, Evidence, Groups, Threat, Transcript, Values
from testbed.core.randomness import keyed_rng
from testbed.subjects.federation.tap import seen_by
from testbed.subjects.federation.trees import TreeFederation
from tests.conformance.base import ENGINE, EVERYTHING, World, as_bytes

EACH, CLIENTS = 40, 2
GROWN = TreeFederation(3, CLIENTS, rounds=6, learning_rate=0.3, least=0.0, seed=5)


@cache
def people(name: str, n: int) -> Cohort:
    rng = keyed_rng(21, name)
    x = rng.random((n, 3)).astype(np.float32)
    return Cohort(x, rng.integers(0, 2, n), np.array([f"{name} {i}" for i in range(n)]))


def trees(attack: Attack) -> World:
    """Two hospitals of forty people. The dial is the share of people asked about who are really among them."""
    members, controls, others = (people(name, EACH * CLIENTS) for name in ("members", "controls", "others"))
    decoys, auxiliary = people("decoys", 200), people("auxiliary", 200)
    threat = Threat(attack.position, knows=EVERYTHING, nodes=(1,) if attack.position == "client" else ())
    party = np.arange(EACH * CLIENTS) % CLIENTS
    clients = [c for c in range(CLIENTS) if c not in threat.nodes]

    def of(group: Cohort) -> dict[tuple[int, int], Cohort]:
        return {(1, c): group.take(np.flatnonzero(party == c)) for c in clients}

    @cache
    def view(leak: float) -> Transcript:
        real = keyed_rng(4, "dial").permutation(len(party)) < leak * len(party)
        mixed = Cohort(
            *(
                np.where(
                    real.reshape(-1, *[1] * (getattr(members, f).ndim - 1)), getattr(members, f), getattr(others, f)
                )
                for f in ("x", "y", "persons")
            )
        )
        parts = [mixed.take(np.flatnonzero(party == c)) for c in range(CLIENTS)]
        return seen_by(GROWN.run(parts, ENGINE), threat)

    question = Batch(tuple(of(members)), (3,), 2)

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        asked = replace(question, keys=question.keys[::-1]) if shuffled else question
        claim: Any = attack.run(view(leak), asked, auxiliary, seed, threat)
        parts: list[Evidence] = []
        for group, name in ((members, "used"), (controls, "unused")):
            match claim:
                case Groups():
                    parts.append(judge.described.groups(claim, of(group), "true", name))  # type: ignore[arg-type]
                case Values():
                    parts.append(judge.described.values(claim, of(group), "true", name))  # type: ignore[arg-type]
                case _:
                    line_up = judge.LineUp(decoys)
                    parts.append(judge.reconstruction(claim, of(group), line_up, "true", name))  # type: ignore[arg-type]
        return Evidence.join(*parts)

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(attack.run(view(leak), question, auxiliary, seed, threat))

    return World(judged, claimed, threat, view, question, auxiliary)
