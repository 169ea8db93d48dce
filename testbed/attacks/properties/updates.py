"""Property inference from a client's updates, or from the global models."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from testbed import models
from testbed.attacks.inversion.aggregate_difference import left_over
from testbed.attacks.inversion.updates import answered, no_update
from testbed.attacks.membership.signals import update_of
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Parameters, Property, Protocol, Scores, Transcript, Unavailable
from testbed.models.ensemble import Training, train

NEEDS = {"architecture", "auxiliary", "hyper_parameters"}
FEWEST = 10
"""Shadows at least."""


@attack(
    subject="transcript",
    rule="TB-PROPERTY-001",
    risk="property",
    claim=Scores,
    needs=NEEDS,
    position="server",
    reference="https://arxiv.org/abs/1805.04049",
)
def property_inference(
    view: Transcript, question: Property, auxiliary: Cohort | None, rng: np.random.Generator, *, shadows: int = 100
) -> Scores:
    """Score one client: above 0 if many of its records seem to have the property, below 0 if few (Melis et al. 2019).

    Threat model: a curious server that sees the client's updates, and has records of other people. From every model
    that it sent, it trains `shadows` as the client would, half of them on many and half on few records with the
    property. A logistic regression learns to distinguish their updates, and its answers for all rounds are added.
    Raises `Unavailable` without other people, with too few of either kind, or if it saw no update.
    """
    trained = models.trained_by(view.model)
    seen = [
        (e.sent, flat(u))
        for e in view.exchanges
        if e.client == question.client and e.sent is not None and (u := update_of(view, e, trained)) is not None
    ]
    if not seen:
        raise no_update(view)
    return _inferred(view, question, auxiliary, rng, shadows, seen, [question.client])


@attack(
    subject="transcript",
    rule="TB-PROPERTY-002",
    risk="property",
    claim=Scores,
    needs=NEEDS,
    position="client",
    reference="https://arxiv.org/abs/1805.04049",
)
def property_from_models(
    view: Transcript, question: Property, auxiliary: Cohort | None, rng: np.random.Generator, *, shadows: int = 100
) -> Scores:
    """As `property_inference`, from the changes of the global model between rounds (Melis et al. 2019).

    Threat model: a curious client that stores the models it receives, and has records of other people. It sees the
    average of all clients' updates, subtracts its own, and trains shadows of each of the other clients. Raises
    `Unavailable` as `property_inference` does, and unless it took part in a round and saw the model after it.
    """
    own = {e.client for e in view.exchanges}
    others = [c for c in range(len(question.sizes)) if c not in own]
    if question.client not in others:
        raise Unavailable("own_client", "a question about another client than those that ask")
    rest = left_over(view, sum(question.sizes))
    if not rest:
        raise Unavailable("too_few_rounds", "a client that took part in a round and saw the model after it")
    sign = -1 if view.protocol.kind == "fedsgd" else 1
    trained = models.trained_by(view.model)
    seen: list[tuple[Parameters, Array]] = []
    for sent, left in rest.values():
        names = answered(sent, left, trained)
        seen.append((sent, sign * (flat(left, names) - (0 if sign < 0 else flat(sent, names)))))
    return _inferred(view, question, auxiliary, rng, shadows, seen, others)


def flat(parameters: Parameters, names: Iterable[str] = ()) -> Array:
    """The named parameters, or all of them, as one vector."""
    return np.concatenate([np.ravel(parameters[k]) for k in names or parameters])


def _inferred(
    view: Transcript,
    question: Property,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    shadows: int,
    seen: list[tuple[Parameters, Array]],
    clients: list[int],
) -> Scores:
    """The score: for each round, a rule learnt from shadows of `clients` is applied to the update; rounds are added."""
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    if auxiliary is None or shadows < FEWEST or shadows % 2:
        raise Unavailable("few_shadows", f"records of other people, and an even number of shadows, {FEWEST} or more")
    high = np.arange(shadows) % 2
    total = 0.0
    for start, update in seen:
        included = np.zeros((shadows * len(clients), len(auxiliary)), bool)
        for number in range(shadows):
            rows = drawn(auxiliary, question, question.levels[high[number]], rng)
            for place, client in enumerate(clients):
                included[number * len(clients) + place, rows[client]] = True
        made = _trained(view, start, auxiliary, included, int(rng.integers(2**31)))
        sizes = np.array([question.sizes[c] for c in clients], float)
        made = np.einsum("skd,k->sd", made.reshape(shadows, len(clients), -1), sizes / sizes.sum())
        # Updates are scaled to length 1, so that the rule uses their direction and works for any learning rate.
        learner: Any = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=1000))
        learner.fit(_unit(made), high)
        total += float(learner.decision_function(_unit(update[None]))[0])
    return Scores(np.array([total]))


def _unit(updates: Array) -> Array:
    return updates / np.maximum(np.linalg.norm(updates, axis=1, keepdims=True), 1e-30)


def _trained(view: Transcript, start: Parameters, people: Cohort, included: Array, seed: int) -> Array:
    """The updates (trained, parameters) of clients that hold these records and start from these parameters."""
    spec, protocol = view.model, view.protocol
    assert spec is not None
    network = models.build(spec)
    given = models.to_tensors(start, network)
    made = train(
        lambda: copy.deepcopy(network), people.x, people.y, included, _rules(protocol), seed, start=given
    ).parameters
    ends = np.concatenate([made[k].detach().numpy().reshape(len(included), -1) for k in given], 1)
    return ends - flat(start, given)


def _rules(protocol: Protocol) -> Training:
    size = protocol.batch_size or 10**9
    if protocol.kind == "fedsgd":
        return Training(1, 10**9, 1.0)  # one step on all drawn records
    return Training(protocol.local_epochs, size, protocol.learning_rate or 0.1, momentum=protocol.momentum)


def drawn(people: Cohort, question: Property, share: float, rng: np.random.Generator) -> list[Array]:
    """Row numbers of records drawn for each client, each row for one client only.

    A `share` of the records of the client asked about has the property; other clients get random records. Raises
    `Unavailable` if there are too few people.
    """
    has = people.x.reshape(len(people), -1)[:, question.column] > 0.5
    size = question.sizes[question.client]
    wanted = round(share * size)
    pools = [rng.permutation(np.flatnonzero(has == kind)) for kind in (True, False)]
    if len(pools[0]) < wanted or len(pools[1]) < size - wanted or len(people) < sum(question.sizes):
        raise Unavailable("too_few_people", "more people of either kind, or clients with fewer records")
    own = np.concatenate([pools[0][:wanted], pools[1][: size - wanted]])
    rest = rng.permutation(np.concatenate([pools[0][wanted:], pools[1][size - wanted :]]))
    starts = np.cumsum([0, *(0 if c == question.client else n for c, n in enumerate(question.sizes))])
    return [
        rng.permutation(own) if c == question.client else rest[starts[c] : starts[c + 1]]
        for c in range(len(question.sizes))
    ]
