"""Membership by a curious server, from a single signal of a record and the suspected client's updates."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from testbed.attacks.membership.signals import Signals, over_rounds, signals
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Records, Scores, Transcript, Unavailable

FEWEST_OTHERS = 3
"""Other clients at least, with whom the suspected client is compared."""
BLOCK = 2**22
"""Numbers of a signal that are in memory as doubles at once: there may be a thousand clients."""


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
    """Score each record by minus its mean loss under the models that the suspected client returned.

    Threat model: a curious server that sees every client's weights after local training, and knows the records asked
    about and their classes (after Zari et al. 2021, who train an attack model on a few outputs a round; here the mean
    is used). Raises `Unavailable` for gradients (FedSGD), which do not show a client's model.
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

    Threat model: as `update_product`. In a network with many parameters, the gradients of different records are nearly
    orthogonal. An update that contains a record's gradient therefore points in its direction, but not in others'.
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

    Threat model: as `update_product`. The score is |u|^2 - |u - g|^2 = 2 <u, g> - |g|^2, where u is the update and g is
    minus the record's gradient. If clients return weights, u is far shorter than g, and the score is mostly -|g|^2, the
    model's own confidence.
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
    """Score each record by how much the suspected client differs from the other clients, over the rounds (FedMIA 2024).

    Threat model: as `update_product`, with four clients or more. In each round, the other clients' signals for the same
    record give a normal distribution for a client without it. The score is the mean over rounds of the probability that
    such a client shows less than the suspected one. `signal` is cosine, product, or loss (minus the loss under the
    returned model). Raises `Unavailable` for fewer clients, or if no client is suspected.
    """
    if question.suspected is None:
        raise Unavailable("no_client_suspected", "a client that is asked about")
    made = signals(view, question)
    if (~np.isnan(made.lengths)).sum(1).max() <= FEWEST_OTHERS:
        raise Unavailable(
            "too_few_clients", f"{FEWEST_OTHERS + 1} clients or more, whose updates are seen in one round"
        )
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
    """Difference (rounds, n) of the suspected client from the other clients' mean, in their standard deviations."""
    own = made.of_suspected(signal, suspected).astype(np.float64)
    wide = max(1, BLOCK // (signal.shape[0] * signal.shape[1]))
    starts = range(0, signal.shape[2], wide)
    return np.concatenate([_apart(signal[:, :, s : s + wide], own[:, s : s + wide]) for s in starts], axis=1)


def _apart(signal: Array, own: Array) -> Array:
    values = signal.astype(np.float64)
    seen = ~np.isnan(values)
    filled = np.where(seen, values, 0.0)
    count, total, squares = seen.sum(1), filled.sum(1), (filled**2).sum(1)
    others = np.maximum(count - 1, 2)
    mean = (total - own) / others
    variance = np.maximum((squares - own**2 - others * mean**2) / (others - 1), 0.0)
    spread = np.sqrt(variance)
    apart = (own - mean) / np.where(spread > 0, spread, np.inf)
    return np.where(count > FEWEST_OTHERS, apart, np.nan)
