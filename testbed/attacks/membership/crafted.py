"""Membership by a malicious server that chooses parameters so that a neuron responds to a single record."""

from __future__ import annotations

import math

import numpy as np
from sklearn.covariance import LedoitWolf

from testbed.attacks.inversion.updates import first_linear, first_linear_names, gradients
from testbed.attacks.registry import attack
from testbed.core import Act, Batch, Cohort, ModelSpec, Parameters, Records, Scores, Transcript

NEVER = 1e-24
"""Squared change, relative to the squared length of the layer's change, below which a neuron counts as unchanged."""


def _craft(
    question: Records, auxiliary: Cohort | None, rng: np.random.Generator, model: ModelSpec, *, height: float = 10.0
) -> Act:
    """Sends each client a first layer in which each neuron is active for one of the records asked about for the client.

    Records take turns over the rounds. A neuron's weights are the linear discriminant between its record and all
    records asked about. Its threshold is half-way to the nearest of them, and its own record lies `height` above.
    """
    people = question.people
    assert isinstance(people, Cohort)
    x = people.x.reshape(len(people), -1).astype(np.float64)
    covariance = LedoitWolf().fit(x)
    centre = np.asarray(covariance.location_, np.float64)
    along = (x - centre) @ np.asarray(covariance.precision_, np.float64)
    place = np.lexsort((people.y, *x.T))  # by contents, so that the order of the question plays no part

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        mine = place if question.suspected is None else place[question.suspected[place] == client]
        if not len(mine):
            return parameters
        names = first_linear_names(parameters, x.shape[1])
        weight, bias = (parameters[n].copy() for n in names)
        now = mine[np.arange((round_ - 1) * len(weight), round_ * len(weight)) % len(mine)][: len(mine)]
        # The position of every record asked about along the direction of each record whose turn it is.
        level = (x - centre) @ along[now].T
        own = level[now, np.arange(len(now))].copy()
        level[now, np.arange(len(now))] = -np.inf
        gap = np.maximum(own - level.max(0), 1e-3 * np.abs(own)) / 2 if len(x) > 1 else np.abs(own) / 2
        scale = height / np.maximum(gap, 1e-12)
        weight[: len(now)] = scale[:, None] * along[now]
        bias[: len(now)] = -scale * (own - gap + along[now] @ centre)
        weight[len(now) :], bias[len(now) :] = 0, -height
        return {**parameters, names[0]: weight, names[1]: bias}

    return Act(craft=craft, remember={"height": np.array([height])})


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-510",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/2302.12685",
    act=_craft,
)
def crafted_neurons(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by whether its own neuron changed in the record's direction (after AMI; Nguyen et al. 2023).

    Threat model: a malicious server that chooses the first layer's parameters, but not the architecture. A neuron that
    is active for one record only changes if the client trains on that record, and then in the record's direction. The
    score is the logarithm of the squared change along the record over the squared change across it. The authors find
    such weights by training; here they are linear discriminants.

    Limits: each round tests at most as many records a client as the layer has neurons. Records that no plane separates
    from the others (few columns) activate neurons together. Large inputs far from 0 suffer from rounding. Activations
    other than ReLU are always active. Raises `Unavailable` if the first layer is not fully connected.
    """
    people = question.people
    assert isinstance(people, Cohort)
    shape = people.x.shape[1:]
    x = people.x.reshape(len(people), -1).astype(np.float64)
    height = float(np.asarray(view.memory.get("height", 10.0)).ravel()[0])
    lowest = math.log(1e-6)
    scores = np.full(len(people), lowest)
    keys = tuple(e.key for e in view.exchanges)
    for (_, client), exchange, gradient in gradients(view, Batch(keys, tuple(shape), 2)):
        assert exchange.sent is not None
        asked = np.arange(len(people))
        asked = asked if question.suspected is None else asked[question.suspected == client]
        if not len(asked):
            continue
        weight, bias = (np.asarray(v, np.float64) for v in first_linear(exchange.sent, x.shape[1]))
        off = np.abs(x[asked] @ weight.T + bias - height)
        neuron = off.argmin(1)
        made = off[np.arange(len(asked)), neuron] < 0.01 * height
        asked, neuron = asked[made], neuron[made]
        moved_weight, moved_bias = first_linear(gradient, x.shape[1])
        moved = np.column_stack([moved_weight, moved_bias])[neuron]
        record = np.column_stack([x[asked], np.ones(len(asked))])
        along = (moved * record).sum(1) ** 2 / (record**2).sum(1)
        never = NEVER * float((moved_weight**2).sum() + (moved_bias**2).sum()) + 1e-300
        across = np.maximum((moved**2).sum(1) - along, 0)
        told = np.log((along + 1e-6 * never) / (across + never))
        scores[asked] = np.maximum(scores[asked], told)
    return Scores(scores)
