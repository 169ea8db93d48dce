"""The world of evaluations: hospitals report loss and accuracy on people of whom more or fewer are asked about."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack
from testbed.core import Cohort, Evidence, ModelSpec, Protocol, Records, Split, Threat, Transcript
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import source
from testbed.findings.plan import Plan
from testbed.harness.federation.people import groups
from testbed.harness.federation.trial import Trial
from testbed.subjects.federation.federation import Federation
from tests.conformance.base import ENGINE, EVERYTHING, World, as_bytes

CLIENTS, EACH = 10, 4


def evaluations(attack: Attack) -> World:
    """Ten hospitals of four people; the dial is the share of those who are among the people asked about."""
    people = groups(source("breast-cancer"), CLIENTS * EACH, 100, 100 + CLIENTS * EACH, 5)
    members, others = people.members, people.auxiliary
    assert isinstance(members, Cohort)
    assert isinstance(others, Cohort)
    others, auxiliary = others.take(np.arange(CLIENTS * EACH)), others.take(np.arange(CLIENTS * EACH, len(others)))
    spec = ModelSpec("mlp", {"shape": list(members.x.shape[1:]), "classes": 2, "hidden": [16]})
    threat = Threat("server", malicious=attack.malicious, knows=EVERYTHING)
    protocol = Protocol("fedavg", 2, local_epochs=2, learning_rate=0.1, rounds=12, clients=CLIENTS)
    federation = Federation(spec, protocol, 2, evaluates=True)
    plan = Plan(
        rule="TB-MEMBERSHIP-001",
        risk="membership",
        attack=attack.name,
        metric="tpr_at_fpr",
        unit="record",
        primary=True,
    )
    party = np.arange(CLIENTS * EACH) % CLIENTS

    def trial(leak: float) -> Trial:
        """Of each hospital's people, the first ones are members, and the others were never asked about."""
        there = np.arange(CLIENTS * EACH) // CLIENTS < round(EACH * leak)
        held = Cohort(
            np.where(there[:, None], members.x, others.x),
            np.where(there, members.y, others.y),
            np.where(there, members.persons, others.persons),
        )
        return Trial(Split(held, people.controls, auxiliary, party), federation, threat, (plan,))

    @cache
    def view(leak: float) -> Transcript:
        seen = trial(leak).record(ENGINE, cells=("true",)).views["true"]
        if attack.traits.get("suits") != "queries":
            return seen
        # A query with the model is answered by the same numbers; under another message type.
        return replace(seen, asked=tuple(replace(e, kind="query.loss") for e in seen.asked))

    @cache
    def pooled() -> Any:
        return trial(1.0).record(ENGINE, cells=("true",)).truth.pooled["true"]

    def judged(leak: float, seed: int, shuffled: bool) -> Evidence:
        truth = pooled()
        order = keyed_rng(9, "order").permutation(len(truth)) if shuffled else np.arange(len(truth))
        question = Records(truth.people.take(order), truth.suspected[order])
        claim = attack.run(view(leak), question, auxiliary, seed, threat)
        return judge.scores(claim, truth.used[order], "true")

    def claimed(leak: float, seed: int) -> bytes:
        return as_bytes(attack.run(view(leak), pooled().question(), auxiliary, seed, threat))

    return World(judged, claimed, threat, view, pooled().question(), auxiliary)
