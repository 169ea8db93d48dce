"""Membership by a server that does not keep to the protocol: it ascends on records in doubt, or isolates clients."""

from __future__ import annotations

import numpy as np
import torch

from testbed import models
from testbed.attacks.kit import attack
from testbed.attacks.membership.signals import over_rounds, signals
from testbed.core import Act, Array, Cohort, ModelSpec, Parameters, Records, Scores, Transcript


def _ascend(
    question: Records, auxiliary: Cohort | None, rng: np.random.Generator, model: ModelSpec, *, ascent: float = 0.1
) -> Act:
    """Sends each client the model moved up the mean loss of the records it is asked about.

    The step is as long as `ascent` times the model's weights.
    """
    network = models.build(model)
    people = question.people
    assert isinstance(people, Cohort)

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        asked = slice(None) if question.suspected is None else np.flatnonzero(question.suspected == client)
        x, y = torch.tensor(people.x[asked]), torch.tensor(people.y[asked])
        if not len(y):
            return parameters
        at = {k: v.requires_grad_() for k, v in models.to_tensors(parameters, network).items()}
        gradients = torch.autograd.grad(models.loss_of(network, at, x, y), list(at.values()))
        length = float(torch.stack([g.pow(2).sum() for g in gradients]).sum().sqrt())
        weights = float(torch.stack([v.detach().pow(2).sum() for v in at.values()]).sum().sqrt())
        step = ascent * weights / length if length > 0 else 0.0
        return {k: (v.detach() + step * g).numpy() for (k, v), g in zip(at.items(), gradients, strict=True)}

    return Act(craft=craft)


@attack(
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/1812.00910",
    act=_ascend,
)
def gradient_ascent(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by minus its loss after local training, in every round begun higher up (Nasr et al. 2019).

    Threat model: a malicious server that moves what it sends to a client up the loss of the records in doubt. Training
    on a record undoes it, and on others it does not. With gradients (FedSGD) the score is by how much they would undo
    it, to first order.
    """
    made = signals(view, question)
    low = made.product if view.protocol.kind == "fedsgd" else -made.after
    return Scores(over_rounds(made.of_suspected(low, question.suspected)))


def _isolate(question: Records, auxiliary: Cohort | None, rng: np.random.Generator, model: ModelSpec) -> Act:
    """Sends each client the model that it returned last, so that it trains alone."""
    latest: dict[int, dict[str, Array]] = {}

    def observe(round_: int, client: int, parameters: Parameters) -> None:
        latest[client] = dict(parameters)

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        return latest.get(client, parameters)

    return Act(craft=craft, observe=observe)


@attack(
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/1812.00910",
    act=_isolate,
)
def isolation(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by minus its loss under the isolated client's own model, over the rounds (Nasr et al. 2019).

    Threat model: a malicious server that never aggregates: a client goes on from its own weights, and fits its records
    by heart. Only in a federation whose clients return weights (FedAvg); raises `Unavailable` else.
    """
    made = signals(view, question)
    return Scores(-over_rounds(made.of_suspected(made.after, question.suspected)))
