"""What one hospital learns of another from the global model alone."""

from __future__ import annotations

import math

import numpy as np

from testbed.attacks.inversion.analytic_linear import solve
from testbed.attacks.inversion.updates import first_linear
from testbed.attacks.kit import attack
from testbed.core import Array, Batch, Cohort, Parameters, Reconstruction, Transcript, Unavailable


def others_gradient(view: Transcript, round_: int, own: int) -> dict[str, Array] | None:
    """The summed gradient of all other clients in a round, from two successive global models and one's own update.

    FedSGD with equally weighted clients: sum_j g_j = clients * (w_r - w_{r+1}) / lr - g_own. None where the next
    global model was not seen.
    """
    sent: dict[int, Parameters] = {e.round: e.sent for e in view.exchanges if e.client == own and e.sent is not None}
    mine = {e.round: e.returned for e in view.exchanges if e.client == own}.get(round_)
    after = sent.get(round_ + 1, view.final if round_ == max(sent, default=0) else None)
    rate, clients = view.protocol.learning_rate, view.protocol.clients
    if mine is None or after is None or not rate:
        return None
    return {
        k: clients * (np.asarray(sent[round_][k], np.float64) - np.asarray(after[k], np.float64)) / rate
        - np.asarray(v, np.float64)
        for k, v in mine.items()
    }


@attack(
    risk="reconstruction",
    claim=Reconstruction,
    needs={"architecture", "hyper_parameters"},
    position="client",
    reference="https://arxiv.org/abs/1805.04049",
)
def aggregate_difference(
    view: Transcript, question: Batch, auxiliary: Cohort | None, rng: np.random.Generator
) -> Reconstruction:
    """Subtract one's own update from the aggregate; with two clients the rest is the other's, and is read exactly.

    Threat model: a curious client that sees successive global models and knows the server's learning rate and how
    many clients take part (Melis et al. 2019 observe the same difference). With N clients the rest is a sum of
    N - 1 updates, of which one mixture comes back. Limit: float32 rounding of the global model, divided by the
    learning rate.
    """
    if view.protocol.kind != "fedsgd":
        raise Unavailable("protocol", "a federation that averages gradients (protocol fedsgd)")
    width = math.prod(question.shape)
    own = min((e.client for e in view.exchanges), default=0)
    rebuilt: dict[tuple[int, int], Array] = {}
    for round_, client in question.keys:
        gradient = others_gradient(view, round_, own)
        x = None if gradient is None or client == own else solve(*first_linear(gradient, width))
        if x is not None:
            rebuilt[round_, client] = x.reshape(1, *question.shape)
    if not rebuilt:
        raise Unavailable("no_aggregate", "two successive global models and one's own update between them")
    return Reconstruction(rebuilt)
