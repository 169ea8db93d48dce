"""Membership from the final model alone: it fits members better."""

from __future__ import annotations

import numpy as np
import torch

from testbed import models
from testbed.attacks.heads import Heads
from testbed.attacks.own_gradient import ZERO, without_loss
from testbed.attacks.registry import attack
from testbed.core import Cohort, Records, Scores, Transcript, Unavailable


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-502",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/1709.01604",
)
def loss_threshold(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by minus its loss under the last global model (Yeom et al. 2018).

    Threat model: anybody who holds the final model and the records asked about, with their classes. An audit of the
    released model alone would see this much of a federation.
    """
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    if view.final is None:
        raise Unavailable("no_final_model", "the final parameters (a loop of your own records them by Writer.final)")
    model = models.build(view.model)
    people = question.people
    assert isinstance(people, Cohort)
    parameters = Heads(model, people, bool(view.protocol.personal)).at(view.final)
    with torch.no_grad():
        x, y = torch.tensor(people.x), torch.tensor(people.y)
        losses = models.losses_of(model, parameters, x, y)
    if without_loss(model, parameters, x, y):
        raise Unavailable(ZERO.code, ZERO.needs)  # a new exception, because one keeps its traceback
    return Scores(-losses.double().numpy())
