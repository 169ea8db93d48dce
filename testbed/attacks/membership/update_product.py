"""Membership from the updates: a client's update points against the gradients of its own records."""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

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


def _losses(model: nn.Module, x: Tensor, y: Tensor, parameters: dict[str, Tensor]) -> Tensor:
    return models.losses_of(model, parameters, x, y)


@attack(
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/1812.00910",
)
def update_product(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by how much its suspected client's updates lowered its loss, to first order, over the rounds.

    Threat model: a curious server that sees every client's update, with the target records, their labels and the
    client that is asked about (the passive global attacker of Nasr et al. 2019, with one feature and no attack
    model to train). The inner product of a record's gradient with an update is one forward-mode derivative over
    all records at once; no gradient of a single record is formed. Where no client is suspected, all are summed.
    """
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    model = models.build(view.model)
    people = question.people
    assert isinstance(people, Cohort)
    score = np.zeros(len(people))
    seen = 0
    for exchange in view.exchanges:
        update = update_of(view, exchange)
        if update is None or exchange.sent is None:
            continue
        seen += 1
        at, towards = models.to_tensors(exchange.sent, model), models.to_tensors(update, model)
        asked = slice(None) if question.suspected is None else np.flatnonzero(question.suspected == exchange.client)
        x, y = torch.tensor(people.x[asked]), torch.tensor(people.y[asked])
        if not len(y):
            continue

        losses = partial(_losses, model, x, y)
        change = cast(Tensor, torch.func.jvp(losses, (at,), (towards,))[1])
        score[asked] -= change.double().numpy()
    if not seen:
        raise Unavailable("no_update", "an exchange whose update the position sees, whole and finite")
    return Scores(score)
