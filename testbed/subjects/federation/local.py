"""A client's local training: the gradient of each step, and the rules by which a defence changes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.core import Array, Cohort, ModelSpec, Parameters, Protocol
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng

Gradient: TypeAlias = Callable[[nn.Module, Tensor, Tensor], dict[str, Tensor]]
"""`(model, x, y)` of one batch to the gradient of its mean loss, by parameter name."""
LocalRule: TypeAlias = Callable[[Gradient, np.random.Generator], Gradient]
"""`(gradient, rng)` to the gradient that is used instead. `rng` depends on the seed, the client and the round."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of local training with its name and its seed, from which its random generators are drawn."""

    name: str
    seed: int
    change: LocalRule

    def applied(self, inner: Gradient, client: int, round_: int) -> Gradient:
        """The changed gradient of this client in this round."""
        return self.change(inner, keyed_rng(self.seed, self.name, client, str(round_)))


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The gradient of the mean loss of a batch. A parameter that is not trained has a gradient of 0."""
    model.zero_grad()
    models.record_losses(model, model(x), x, y).mean().backward()
    return {k: torch.zeros_like(p) if p.grad is None else p.grad.clone() for k, p in model.named_parameters()}


def local_update(
    spec: ModelSpec,
    parameters: Parameters,
    data: Cohort,
    protocol: Protocol,
    steps: list[Array],
    compute: Gradient = gradient,
    shared: Collection[str] | None = None,
    correction: Parameters | None = None,
) -> dict[str, Array]:
    """What a client returns: the gradient of one batch (FedSGD), or the weights after its local steps (FedAvg).

    FedProx pulls the `shared` parameters (None: all) back to where they began; a `correction` (SCAFFOLD) is added to
    each step's gradient. Both come after what a defence makes of the gradient.
    """
    with one_thread():
        model = models.build(spec)
        model.load_state_dict(models.to_tensors(parameters, model), strict=False)
        models.as_trained(model, min(map(len, steps), default=1))
        optimizer = optimizer_for(model, protocol)
        x, y = torch.tensor(data.x), torch.tensor(data.y)
        pulled = {k: p.detach().clone() for k, p in model.named_parameters() if shared is None or k in shared}
        mu = protocol.proximal_mu or 0.0
        added = {k: torch.from_numpy(np.array(v)) for k, v in (correction or {}).items()}
        for rows in steps:
            index = torch.from_numpy(rows)
            found = compute(model, x[index], y[index])
            if protocol.kind == "fedsgd":
                # The server steps all parameters that it sent, so those that are not trained have a gradient of 0.
                return {k: g.numpy().copy() for k, g in found.items()}
            for name, p in model.named_parameters():
                p.grad = found[name] if p.requires_grad else None
                if p.grad is not None and mu and name in pulled:
                    p.grad = p.grad + mu * (p.detach() - pulled[name])
                if p.grad is not None and name in added:
                    p.grad = p.grad + added[name]
            optimizer.step()
        return models.get_parameters(model)


def evaluated(spec: ModelSpec, parameters: Parameters, data: Cohort) -> dict[str, float]:
    """What a client says of a model on all of its records: the mean loss and, of classes, the share of right ones."""
    with one_thread(), torch.no_grad():
        model = models.build(spec)
        model.load_state_dict(models.to_tensors(parameters, model), strict=False)
        x, y = torch.tensor(data.x), torch.tensor(data.y)
        outputs = model(x)
        told = {"loss": float(models.record_losses(model, outputs, x, y).mean())}
        if outputs.ndim == 2 and outputs.shape[1] > 1:
            told["accuracy"] = float((outputs.argmax(1) == y).double().mean())
        return told


def ruled(rules: Sequence[Rule], client: int, round_: int) -> Gradient:
    """The gradient of a client in a round under these rules; the first one stands nearest to the plain gradient."""
    compute: Gradient = gradient
    for rule in rules:
        compute = rule.applied(compute, client, round_)
    return compute


class Descent:
    """Stochastic gradient descent, equal to torch.optim.SGD to the byte.

    The first use of Torch's own imports its compiler, which costs more than a second of each process that trains.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, momentum: float) -> None:
        self.parameters, self.rate, self.momentum = list(parameters), rate, momentum
        self._moved: dict[int, Tensor] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Moves each parameter that has a gradient."""
        for place, p in enumerate(self.parameters):
            if p.grad is None:
                continue
            move = p.grad
            if self.momentum:
                before = self._moved.get(place)
                move = move.clone() if before is None else before.mul_(self.momentum).add_(move)
                self._moved[place] = move
            p.add_(move, alpha=-self.rate)


def optimizer_for(model: nn.Module, protocol: Protocol) -> Descent | torch.optim.Optimizer:
    """A new optimiser for a client's round. Raises `UsageError` for one that is neither sgd nor adam."""
    rate = protocol.learning_rate or 0.1
    if protocol.optimizer == "sgd":
        return Descent(model.parameters(), rate, protocol.momentum)
    if protocol.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate)
    raise UsageError(
        "TB-RUN-007",
        f"There is no local optimiser called {protocol.optimizer!r}.",
        "Clients know only the optimisers below.",
        "Use sgd (with momentum, if wanted) or adam.",
    )


@contextmanager
def one_thread() -> Generator[None]:
    """A context with Torch on one thread, so that sums have the same order on every engine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
