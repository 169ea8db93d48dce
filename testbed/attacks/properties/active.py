"""Property inference by a malicious client that trains the global model to recognise the property."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from testbed import models
from testbed.attacks.properties.updates import NEEDS, property_from_models
from testbed.attacks.registry import attack
from testbed.core import Act, Cohort, ModelSpec, Parameters, Property, Scores, Transcript, Unavailable

MOST_RECORDS = 400
BATCH = 20
"""Other people's records that are used at most, and records in each step."""


def _two_tasks(
    question: Property,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    model: ModelSpec,
    *,
    learning_rate: float = 0.1,
    passes: int = 2,
    weight: float = 1.0,
) -> Act:
    """After its own training, also trains `passes` times on other people's records, for their class and the property.

    A linear head predicts the property from the input of the last layer. It is trained again in each round, and its
    loss has the factor `weight`. Raises `Unavailable` without other people, or for a model without a linear layer.
    """
    if auxiliary is None:
        raise Unavailable("no_reference", "records of other people")
    network = models.build(model)
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    if not layers:
        raise Unavailable("no_linear_layer", "a model whose last layer is linear")
    people = auxiliary.take(rng.permutation(len(auxiliary))[:MOST_RECORDS])
    x, y = torch.tensor(people.x), torch.tensor(people.y)
    has = (x.flatten(1)[:, question.column] > 0.5).float()
    reached: list[Tensor] = []

    def catch(_: nn.Module, given: Any) -> None:
        reached.append(given[0])

    seed = int(rng.integers(2**31))

    def answer(round_: int, client: int, sent: Parameters, returned: Parameters) -> Parameters:
        hook = layers[-1].register_forward_pre_hook(catch)
        at = models.to_tensors({**sent, **returned}, network)
        w, b = torch.zeros(layers[-1].in_features), torch.zeros(())
        order = np.random.default_rng([seed, round_, client])
        for _ in range(passes):
            for rows in np.array_split(order.permutation(len(x)), -(-len(x) // BATCH)):
                reached.clear()
                at = {k: v.detach().requires_grad_() for k, v in at.items()}
                w, b = (h.detach().requires_grad_() for h in (w, b))
                main = models.loss_of(network, at, x[rows], y[rows])
                told = functional.binary_cross_entropy_with_logits(reached[-1].flatten(1) @ w + b, has[rows])
                *parts, by_w, by_b = torch.autograd.grad(main + weight * told, [*at.values(), w, b])
                at = {k: v - learning_rate * g for (k, v), g in zip(at.items(), parts, strict=True)}
                w, b = w - learning_rate * by_w, b - learning_rate * by_b
        hook.remove()
        return models.changed(returned, at)

    return Act(answer=answer)


@attack(
    subject="transcript",
    rule="TB-PROPERTY-003",
    risk="property",
    claim=Scores,
    needs=NEEDS,
    position="client",
    reference="https://arxiv.org/abs/1805.04049",
    act=_two_tasks,
)
def property_two_tasks(
    view: Transcript, question: Property, auxiliary: Cohort | None, rng: np.random.Generator, *, shadows: int = 100
) -> Scores:
    """As `property_from_models`, with a global model that this client also trains on the property (Melis et al. 2019).

    Threat model: a malicious client that also trains on a second task: the property of other people's records. The
    shared representation, and so everybody's updates, then depend on the property. Raises `Unavailable` unless clients
    return weights (FedAvg), and where the passive attack does. For columns of `heart` or `support2` it finds no more
    than the passive attack; the scenario `property_inference` prints both.
    """
    if view.protocol.kind == "fedsgd":
        raise Unavailable("no_local_model", "clients that return weights (FedAvg)")
    return property_from_models.read(view, question, auxiliary, rng, shadows=shadows)
