"""Membership from the updates: a client's update points against the gradients of its own records."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from testbed import models
from testbed.attacks.kit import attack
from testbed.core import Array, Cohort, Exchange, Records, Scores, Transcript, Unavailable


def update_of(view: Transcript, exchange: Exchange) -> dict[str, Array] | None:
    """The direction in which a client pulled: minus its gradient, or its change of weights."""
    if exchange.sent is None or exchange.returned is None:
        return None
    if view.protocol.kind == "fedsgd":
        return {k: -np.asarray(v, np.float32) for k, v in exchange.returned.items()}
    return {
        k: np.asarray(v, np.float32) - np.asarray(exchange.sent[k], np.float32) for k, v in exchange.returned.items()
    }


@attack(
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/1812.00910",
)
def update_product(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by how much each update lowered its loss, to first order, summed over the rounds.

    Threat model: a curious server that sees every client's update, with the target records and their labels (the
    passive global attacker of Nasr et al. 2019, with one feature and no attack model to train). The
    inner product of a record's gradient with an update is one forward-mode derivative over all records at once (no
    gradient of a single record is formed). A record's score is its best client's, each client standardised over
    the records asked about.
    """
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    model = models.build(view.model)
    people = question.people
    assert isinstance(people, Cohort)
    x, y = torch.tensor(people.x), torch.tensor(people.y)
    total: dict[int, Array] = {}
    for exchange in view.exchanges:
        update = update_of(view, exchange)
        if update is None or exchange.sent is None:
            continue
        at = models.to_tensors(exchange.sent, model)
        towards = models.to_tensors(update, model)

        def losses(parameters: dict[str, Tensor]) -> Tensor:
            return models.losses_of(model, parameters, x, y)

        _, change = torch.func.jvp(losses, (at,), (towards,))
        total[exchange.client] = total.get(exchange.client, np.zeros(len(people))) - change.double().numpy()
    if not total:
        raise Unavailable("no_update", "an exchange whose update the position sees, whole and finite")
    standard = [(v - v.mean()) / max(float(v.std()), 1e-12) for v in total.values()]
    return Scores(np.max(standard, axis=0))
