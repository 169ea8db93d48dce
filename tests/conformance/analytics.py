"""The world of attacks on statistics: two hospitals, whose patients' values and times are drawn at random."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack
from testbed.core import Batch, Cohort, Evidence, Group, Groups, Reconstruction, Threat, Transcript, Values
from testbed.core.randomness import keyed_rng
from testbed.models.summaries import Statistic
from testbed.subjects.federation.analytics import Analytics
from testbed.subjects.federation.tap import seen_by
from tests.conformance.base import ENGINE, EVERYTHING, World, as_bytes

EACH, CLIENTS, ROUNDS, COLUMNS = 40, 2, 21, 8
STATISTIC: dict[type[Any], Statistic] = {Reconstruction: "histograms", Groups: "curves", Values: "quantiles"}


@cache
def people(name: str, n: int) -> Cohort:
    rng = keyed_rng(24, name)
    x = rng.random((n, COLUMNS)).astype(np.float32)
    return Cohort(x, rng.integers(0, 2, n), np.array([f"{name} {i}" for i in range(n)]))


def statistics(attack: Attack) -> World:
    """Two hospitals of forty people. The dial is the share of people asked about who are really among them."""
    statistic = STATISTIC[attack.claim]
    rounds = ROUNDS if statistic == "histograms" else 1
    analytics = Analytics(statistic, COLUMNS, CLIENTS, rounds, seed=5)
    members, controls, others = (people(name, EACH * CLIENTS) for name in ("members", "controls", "others"))
    decoys, auxiliary = people("decoys", 200), people("auxiliary", 200)
    threat = Threat(attack.position, knows=EVERYTHING, nodes=(1,) if attack.position == "client" else ())
    party = np.arange(EACH * CLIENTS) % CLIENTS
    clients = [c for c in range(CLIENTS) if c not in threat.nodes]

    def of(group: Cohort) -> dict[tuple[int, int], Cohort]:
        parts = {c: group.take(np.flatnonzero(party == c)) for c in clients}
        if rounds == 1:
            return {(1, c): part for c, part in parts.items()}
        return {(r, c): p.take(analytics.arrivals(EACH, r)) for c, p in parts.items() for r in range(2, rounds + 1)}

    @cache
    def view(leak: float) -> Transcript:
        real = keyed_rng(4, "dial").permutation(len(party)) < leak * len(party)
        mixed = Cohort(
            np.where(real[:, None], members.x, others.x),
            np.where(real, members.y, others.y),
            np.where(real, members.persons, others.persons),
        )
        parts = [mixed.take(np.flatnonzero(party == c)) for c in range(CLIENTS)]
        return seen_by(analytics.run(parts, ENGINE), threat)

    question = Batch(tuple(of(members)), (COLUMNS,), 2)

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        asked = replace(question, keys=question.keys[::-1]) if shuffled else question
        claim: Any = attack.run(view(leak), asked, auxiliary, seed, threat)
        parts: list[Evidence] = []
        groups: tuple[tuple[Cohort, Group], ...] = ((members, "used"), (controls, "unused"))
        for group, name in groups:
            match claim:
                case Groups():
                    parts.append(judge.described.groups(claim, of(group), "true", name))
                case Values():
                    parts.append(judge.described.values(claim, of(group), "true", name))
                case _:
                    parts.append(judge.reconstruction(claim, of(group), judge.LineUp(decoys), "true", name))
        return Evidence.join(*parts)

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(attack.run(view(leak), question, auxiliary, seed, threat))

    return World(judged, claimed, threat, view, question, auxiliary)
