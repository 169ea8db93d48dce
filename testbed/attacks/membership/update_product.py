"""Membership from the updates: a client's update points against the gradients of its own records."""

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
    """Score each record by how much its suspected client's updates lowered its loss, to first order, over the rounds.

    Threat model: a curious server that sees every client's update, with the target records, their labels and the
    client that is asked about (the passive global attacker of Nasr et al. 2019, with one feature and no attack
    model to train). The inner product of a record's gradient with an update is one forward-mode derivative over
    all records at once; no gradient of a single record is formed. Where no client is suspected, all are summed.
    """
    made = signals(view, question)
    return Scores(over_rounds(made.of_suspected(made.product, question.suspected)))
