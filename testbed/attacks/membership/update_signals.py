"""Membership by a curious server, from one signal each of a record and the suspected client's updates."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from testbed.attacks.membership.signals import Signals, over_rounds, signals
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Records, Scores, Transcript, Unavailable

FEWEST_OTHERS = 3


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-506",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/2111.00430",
)
def client_loss(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by minus its loss under the models that the suspected client returned, over the rounds.

    Threat model: a curious server that sees every client's weights after local training, with the target records
    and their labels (after Zari et al. 2021, who keep a few outputs a round and train a model on them; here the mean
    decides). Raises `Unavailable` for gradients, after which no client's model is known.
    """
    made = signals(view, question)
    return Scores(-over_rounds(made.of_suspected(made.after, question.suspected)))


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-504",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://openreview.net/forum?id=QsCSLPP55Ku",
)
def update_cosine(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by the cosine between minus its gradient and the client's update, over the rounds (Li 2023).

    Threat model: as `update_product`. In a network with many parameters the gradients of different records are
    nearly orthogonal, so that an update made of a record's gradient points its way and no other record's.
    """
    made = signals(view, question)
    return Scores(over_rounds(made.of_suspected(made.cosine, question.suspected)))


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-505",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://openreview.net/forum?id=QsCSLPP55Ku",
)
def gradient_difference(
    view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator
) -> Scores:
    """Score each record by how much shorter the update is without the record's gradient, over the rounds (Li 2023).

    Threat model: as `update_product`. |u|^2 - |u - g|^2 = 2 <u, g> - |g|^2, with u the update as it is seen: where
    clients return weights it is far shorter than a gradient, and the score is mostly minus |g|^2, the model's own
    confidence.
    """
    made = signals(view, question)
    return Scores(over_rounds(made.of_suspected(2 * made.product - made.norm**2, question.suspected)))


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-507",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/2402.06289",
)
def fedmia(
    view: Transcript,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    signal: str = "cosine",
) -> Scores:
    """Score each record by how far the suspected client stands out among the others, over the rounds (FedMIA 2024).

    Threat model: as `update_product`, with four clients or more. In each round the other clients' signal for the same
    record, taken as normal, is what a client without it shows; the score is the mean over rounds of the probability
    that they show less. `signal` is cosine, product, or loss (minus that under the returned model). Raises
    `Unavailable` for fewer clients, or where no client is suspected.
    """
    if question.suspected is None:
        raise Unavailable("no_client_suspected", "a client that is asked about")
    made = signals(view, question)
    if len(made.clients) <= FEWEST_OTHERS:
        raise Unavailable("too_few_clients", f"{FEWEST_OTHERS + 1} clients or more, whose updates are seen")
    apart = standing_out(made, named_signal(made, signal), question.suspected)
    return Scores(over_rounds(np.where(np.isnan(apart), np.nan, norm.cdf(apart))))


def named_signal(made: Signals, name: str) -> Array:
    """The signal of that name, larger for members. Raises `Unavailable` for another name."""
    if name == "loss":
        return -made.after
    if name not in ("cosine", "product"):
        raise Unavailable("unknown_signal", "one of the signals cosine, product and loss")
    return made.cosine if name == "cosine" else made.product


def standing_out(made: Signals, signal: Array, suspected: Array) -> Array:
    """(rounds, n): by how many standard deviations of the other clients the suspected one differs from their mean."""
    values = signal.astype(np.float64)
    seen = ~np.isnan(values)
    filled = np.where(seen, values, 0.0)
    count, total, squares = seen.sum(1), filled.sum(1), (filled**2).sum(1)
    own = made.of_suspected(values, suspected)
    others = np.maximum(count - 1, 2)
    mean = (total - own) / others
    variance = np.maximum((squares - own**2 - others * mean**2) / (others - 1), 0.0)
    spread = np.sqrt(variance)
    apart = (own - mean) / np.where(spread > 0, spread, np.inf)
    return np.where(count > FEWEST_OTHERS, apart, np.nan)
