"""Neurons made for one record each: only the record's presence moves them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from testbed.attacks.inversion.updates import first_linear
from testbed.attacks.membership.crafted import _craft  # pyright: ignore[reportPrivateUsage]
from testbed.attacks.registry import find
from testbed.core import Cohort, ModelSpec, Protocol, Records, Threat, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import source
from testbed.findings import statistics
from testbed.harness.federation.people import groups
from testbed.harness.federation.prepare import mlp
from testbed.harness.federation.trial import by_party
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.tap import summed

SERVER = Threat("server", malicious=True, knows=frozenset({"architecture", "target_records"}))
CLIENTS = 3


def asked_of(name: str, each: int) -> tuple[ModelSpec, list[Cohort], Records, np.ndarray]:
    known = source(name)
    split = groups(known, CLIENTS * each, CLIENTS * each, CLIENTS * each, 0)
    assert isinstance(split.members, Cohort)
    assert isinstance(split.controls, Cohort)
    pooled = Cohort(*(np.concatenate([getattr(g, f) for g in (split.members, split.controls)]) for f in FIELDS))
    order = keyed_rng(1).permutation(len(pooled))
    suspected, used = np.tile(np.arange(CLIENTS), 2 * each), np.arange(len(pooled)) < CLIENTS * each
    parts = by_party(split.members, np.arange(CLIENTS * each) % CLIENTS)
    return mlp(known, 64), parts, Records(pooled.take(order), suspected[order]), used[order]


FIELDS = ("x", "y", "persons")


@pytest.mark.parametrize("name", ["digits", "heart", "breast-cancer"])
@pytest.mark.parametrize("kind", ["fedsgd", "fedavg"])
def test_members_stand_apart_from_all_others(name: str, kind: Literal["fedsgd", "fedavg"]) -> None:
    spec, parts, question, used = asked_of(name, 30)
    act = _craft(question, None, keyed_rng(0), spec)
    protocol = Protocol(kind, 10, local_epochs=3, learning_rate=0.1, rounds=2, clients=CLIENTS)
    if kind == "fedsgd":
        protocol = replace(protocol, batch_size=None)
    view = Federation(spec, protocol, 0).run(parts, "in-process", act, "crafted_neurons")
    scores = find("crafted_neurons").run(view, question, None, 0, SERVER).values
    assert statistics.auc(scores[used], scores[~used]).value > 0.97


def test_the_sum_of_all_clients_hides_nothing_of_it() -> None:
    spec, parts, question, used = asked_of("digits", 30)
    question = replace(question, suspected=None)
    act = _craft(question, None, keyed_rng(0), spec)
    protocol = Protocol("fedavg", 10, learning_rate=0.1, rounds=3, clients=CLIENTS)
    view = summed(Federation(spec, protocol, 0).run(parts, "in-process", act, "crafted_neurons"))
    assert len(view.exchanges) == 3
    scores = find("crafted_neurons").run(view, question, None, 0, SERVER).values
    assert statistics.auc(scores[used], scores[~used]).value > 0.97


def test_each_record_fires_a_neuron_of_its_own_and_hardly_any_other() -> None:
    spec, parts, question, _ = asked_of("digits", 20)
    assert isinstance(question.people, Cohort)
    made = _craft(question, None, keyed_rng(0), spec)
    assert made.craft is not None
    first = Federation(spec, Protocol("fedsgd", None, learning_rate=0.1, rounds=1, clients=CLIENTS), 0).run(parts)
    sent = first.exchanges[0].sent
    assert sent is not None
    crafted = made.craft(1, 0, sent)
    weight, bias = (np.asarray(v, float) for v in first_linear(dict(crafted), 64))
    mine = question.people.take(np.flatnonzero(question.suspected == 0))
    level = mine.x.reshape(len(mine), -1) @ weight.T + bias
    assert ((level > 0).sum(1) <= 3).all()
    assert np.isclose(level.max(1), 10, rtol=1e-3).mean() > 0.9
    assert [k for k in sent if not np.array_equal(sent[k], crafted[k])] == list(sent)[:2]  # the first layer alone


def test_a_network_that_looks_at_parts_of_a_record_cannot_be_crafted() -> None:
    _, parts, question, _ = asked_of("digits", 4)
    spec = ModelSpec("cnn", {"shape": [1, 8, 8], "classes": 10, "channels": [4]})
    act = _craft(question, None, keyed_rng(0), spec)
    with pytest.raises(Unavailable, match="no_linear_input_layer"):
        Federation(spec, Protocol("fedsgd", None, learning_rate=0.1, rounds=1, clients=CLIENTS), 0).run(
            parts, "in-process", act, "crafted_neurons"
        )
