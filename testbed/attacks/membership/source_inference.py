"""Source inference: which client holds a record that is known to be somewhere in the federation?"""

from __future__ import annotations

import numpy as np

from testbed.attacks.membership.signals import over_rounds, signals
from testbed.attacks.membership.update_signals import named_signal
from testbed.attacks.registry import attack
from testbed.core import Cohort, Records, Sources, Transcript, Unavailable


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-509",
    risk="membership",
    claim=Sources,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/2109.05659",
)
def source_inference(
    view: Transcript,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    *,
    signal: str = "product",
) -> Sources:
    """Name for each record the client with the largest signal, averaged over rounds (Hu et al. 2021).

    Threat model: a curious server that sees every client's update, and knows that a record is somewhere in the
    federation. `signal` is loss (the authors': the client whose returned model gives the record the smallest loss),
    product or cosine. Raises `Unavailable` if fewer than two clients are seen.
    """
    made = signals(view, question)
    if len(made.clients) < 2:
        raise Unavailable("too_few_clients", "two clients or more, whose updates are seen")
    values = named_signal(made, signal)
    each = np.stack([over_rounds(values[:, place].astype(np.float64)) for place in range(len(made.clients))])
    each[~np.isfinite(each) | np.isnan(values).all(0)] = -np.inf
    return Sources(np.asarray(made.clients)[each.argmax(0)])
