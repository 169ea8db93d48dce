"""Membership by a curious client, which sees only the global models that it receives."""

from __future__ import annotations

import numpy as np
import torch

from testbed import models
from testbed.attacks.heads import Heads
from testbed.attacks.own_gradient import ZERO, without_loss
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Records, Scores, Transcript, Unavailable


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-503",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="client",
    reference="https://arxiv.org/abs/1812.00910",
)
def global_models(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score a record by its loss under the first global model minus its mean loss under the later ones.

    Threat model: a curious client that takes part, stores every global model it receives, and asks about records of the
    other clients (Nasr et al. 2019, the passive local attacker; here by the loss alone). It does not see single
    updates. Raises `Unavailable` unless it saw two rounds or more.
    """
    losses = global_losses(view, question)
    return Scores(losses[0] - losses[1:].mean(0))


def global_losses(view: Transcript, question: Records) -> Array:
    """Losses (rounds, n) under each global model that was sent. Raises `Unavailable` for fewer than two models."""
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    by_round = {e.round: e.sent for e in view.exchanges if e.sent is not None}
    seen = [by_round[r] for r in sorted(by_round)]
    if len(seen) < 2:
        raise Unavailable("too_few_rounds", "a client that took part in two rounds or more")
    model, people = models.build(view.model), question.people
    assert isinstance(people, Cohort)
    x, y = torch.tensor(people.x), torch.tensor(people.y)
    heads = Heads(model, people, bool(view.protocol.personal))
    with torch.no_grad():
        made = [models.losses_of(model, heads.at(p), x, y).double().numpy() for p in seen]
    if all(without_loss(model, heads.at(p), x, y) for p in seen):
        raise Unavailable(ZERO.code, ZERO.needs)  # a new exception, because one keeps its traceback
    return np.stack(made)
