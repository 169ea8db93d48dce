"""Membership from updates: a client's update points against the gradients of the client's own records."""

from __future__ import annotations

import numpy as np

from testbed.attacks.membership.signals import over_rounds, signals
from testbed.attacks.registry import attack
from testbed.core import Cohort, Records, Scores, Transcript


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-501",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/1812.00910",
)
def update_product(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by how much the suspected client's updates lowered its loss, to first order, over the rounds.

    Threat model: a curious server that sees every client's update, and knows the records asked about, their classes and
    the suspected client (the passive global attacker of Nasr et al. 2019, with one feature and without a trained attack
    model). The score is minus the inner product of a record's gradient with an update, computed for all records at once
    by a forward-mode derivative. If no client is suspected, the scores of all clients are summed.
    """
    made = signals(view, question)
    return Scores(over_rounds(made.of_suspected(made.product, question.suspected)))
