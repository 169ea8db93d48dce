"""Membership attacks by a malicious server or client: gradient ascent, isolation, and wrong classes."""

from __future__ import annotations

import numpy as np
import torch

from testbed import models
from testbed.attacks.heads import Heads
from testbed.attacks.membership.global_models import global_losses
from testbed.attacks.membership.signals import over_rounds, signals
from testbed.attacks.registry import attack
from testbed.core import Act, Array, Cohort, ModelSpec, Parameters, Records, Scores, Transcript, Unavailable


def _ascend(
    question: Records, auxiliary: Cohort | None, rng: np.random.Generator, model: ModelSpec, *, ascent: float = 0.1
) -> Act:
    """Sends each client a model with a higher mean loss on the records that are asked about for this client.

    The step along the gradient has `ascent` times the length of the model's weights.
    """
    people = question.people
    assert isinstance(people, Cohort)

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        asked = slice(None) if question.suspected is None else np.flatnonzero(question.suspected == client)
        return moved_up(model, parameters, people.take(np.arange(len(people))[asked]), ascent)

    return Act(craft=craft)


def moved_up(model: ModelSpec, parameters: Parameters, people: Cohort, step: float) -> Parameters:
    """The parameters moved along the gradient of these people's mean loss, by `step` times their own length."""
    if not len(people):
        return parameters
    network = models.build(model)
    at = {k: v.requires_grad_() for k, v in Heads(network, people).at(parameters).items()}
    loss = models.loss_of(network, at, torch.tensor(people.x), torch.tensor(people.y))
    gradients = torch.autograd.grad(loss, list(at.values()))
    length = float(torch.stack([g.pow(2).sum() for g in gradients]).sum().sqrt())
    weights = float(torch.stack([v.detach().pow(2).sum() for v in at.values()]).sum().sqrt())
    by = step * weights / length if length > 0 else 0.0
    moved = {k: v.detach() + by * g for (k, v), g in zip(at.items(), gradients, strict=True)}
    return models.changed(parameters, moved)


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-512",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/1812.00910",
    act=_ascend,
)
def gradient_ascent(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by minus its loss after local training, where each round began with a raised loss (Nasr 2019).

    Threat model: a malicious server that changes the model it sends to a client, so that the loss of the records asked
    about is higher. Training on such a record lowers its loss again; training on other records does not. If clients
    return gradients (FedSGD), the score is how much they would lower the loss, to first order.
    """
    made = signals(view, question)
    low = made.product if view.protocol.kind == "fedsgd" else -made.after
    return Scores(over_rounds(made.of_suspected(low, question.suspected)))


def _isolate(question: Records, auxiliary: Cohort | None, rng: np.random.Generator, model: ModelSpec) -> Act:
    """Sends each client the model that this client returned last, so that it trains alone."""
    latest: dict[int, dict[str, Array]] = {}

    def observe(round_: int, client: int, parameters: Parameters) -> None:
        latest[client] = dict(parameters)

    def craft(round_: int, client: int, parameters: Parameters) -> Parameters:
        return latest.get(client, parameters)

    return Act(craft=craft, observe=observe)


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-511",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="server",
    reference="https://arxiv.org/abs/1812.00910",
    act=_isolate,
)
def isolation(view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator) -> Scores:
    """Score each record by minus its loss under the isolated client's own model, averaged over rounds (Nasr 2019).

    Threat model: a malicious server that never aggregates: each client continues from its own weights, and memorises
    its records. Raises `Unavailable` unless clients return weights (FedAvg).
    """
    made = signals(view, question)
    return Scores(-over_rounds(made.of_suspected(made.after, question.suspected)))


def _poison(
    question: Records, auxiliary: Cohort | None, rng: np.random.Generator, model: ModelSpec, *, ascent: float = 0.1
) -> Act:
    """Returns, instead of the result of training, a model with a higher mean loss on the records asked about.

    The step along the gradient has `ascent` times the length of the model's weights.
    """
    people = question.people
    assert isinstance(people, Cohort)

    def answer(round_: int, client: int, sent: Parameters, returned: Parameters) -> Parameters:
        return moved_up(model, sent, people, ascent)

    return Act(answer=answer)


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-513",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="client",
    reference="https://arxiv.org/abs/1812.00910",
    act=_poison,
)
def client_gradient_ascent(
    view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator
) -> Scores:
    """Score each record by minus its loss under the later global models, while this client raises the loss (Nasr 2019).

    Threat model: a malicious client that sees only the global models. It returns, instead of the result of training,
    the global model changed so that the loss of the records asked about is higher. A client that holds such a record
    lowers its loss again; the loss of a record that nobody holds stays high. Raises `Unavailable` unless it saw two
    rounds of weights (FedAvg) or more.
    """
    if view.protocol.kind == "fedsgd":
        raise Unavailable("no_local_model", "clients that return weights (FedAvg)")
    losses = global_losses(view, question)
    return Scores(-losses[1:].mean(0))


def _mislabel(
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    model: ModelSpec,
    *,
    learning_rate: float = 0.05,
    passes: int = 1,
) -> Act:
    """After its own training, also trains `passes` times on the records asked about, each with a wrong class.

    A record's wrong class is drawn once. Steps are plain gradient descent on eight records.
    """
    people = question.people
    assert isinstance(people, Cohort)
    people = people.take(
        np.lexsort((people.y, *people.x.reshape(len(people), -1).T))
    )  # the order of the question plays no part
    classes = models.build(model)(torch.tensor(people.x[:1])).shape[-1]
    called = torch.tensor((people.y + rng.integers(1, classes, len(people))) % classes)
    seed = int(rng.integers(2**31))

    def answer(round_: int, client: int, sent: Parameters, returned: Parameters) -> Parameters:
        network = models.build(model)
        at = Heads(network, people).at({**sent, **returned}, sent)
        order = np.random.default_rng([seed, round_])
        for _ in range(passes):
            for rows in np.array_split(order.permutation(len(people)), -(-len(people) // 8)):
                at = {k: v.detach().requires_grad_() for k, v in at.items()}
                loss = models.loss_of(network, at, torch.tensor(people.x[rows]), called[torch.tensor(rows)])
                parts = torch.autograd.grad(loss, list(at.values()))
                at = {k: v - learning_rate * g for (k, v), g in zip(at.items(), parts, strict=True)}
        return models.changed(returned, at)

    return Act(answer=answer)


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-514",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records"},
    position="client",
    reference="https://arxiv.org/abs/2204.00032",
    act=_mislabel,
)
def client_mislabelling(
    view: Transcript, question: Records, auxiliary: Cohort | None, rng: np.random.Generator
) -> Scores:
    """Score each record by minus its loss under the later global models, which learn a wrong class of it (Tramer 2022).

    Threat model: a malicious client that sees only the global models. It also trains on the records asked about, each
    with a wrong class. If another client holds a record with its right class, the record's loss is lower than that of
    similar records; if nobody holds it, the models learn the wrong class. Raises `Unavailable` unless it saw two rounds
    of weights (FedAvg) or more.
    """
    if view.protocol.kind == "fedsgd":
        raise Unavailable("no_local_model", "clients that return weights (FedAvg)")
    return Scores(-global_losses(view, question)[1:].mean(0))
