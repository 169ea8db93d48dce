"""Audit of a claim of differential privacy about training, in one run with canaries (Steinke et al. 2023)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.attacks.membership.signals import Signals
from testbed.core import Array, Cohort, Exchange, ModelSpec, Protocol, Transcript, frozen
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Validity
from testbed.findings.statistics import Interval


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of DP-SGD. Each record's gradient is clipped, and noise is added to their sum.

    Batches are drawn by a coin for each record.
    """

    epochs: int = 10
    batch: int = 100
    learning_rate: float = 0.5
    noise: float = 1.0
    clip: float = 1.0
    delta: float = 1e-5


@dataclass(frozen=True, slots=True)
class Trained:
    """One private training: its steps, and the epsilon that its accountant states.

    `marks` (canaries,) is the trained parameter of each gradient canary.
    """

    steps: Transcript
    epsilon: float
    marks: Array


class Canaried(nn.Module):
    """A network with one extra parameter for each gradient canary. A canary's record changes only its own parameter.

    The loss of a canary is so steep that its gradient is always clipped to the clipping bound. This is the worst case
    that the mechanism allows (the Dirac canaries of Nasr et al. 2023, arXiv 2302.07956).
    """

    def __init__(self, inner: nn.Module, canaries: int) -> None:
        super().__init__()
        self.inner = inner
        self.marks = nn.Embedding(canaries + 1, 1)
        nn.init.zeros_(self.marks.weight)

    def forward(self, x: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of records, and canaries' parameters. `number` counts canaries from 1, and is 0 for other records."""
        return self.inner(x), self.marks(number)[:, 0]


STEEP = 1e3
"""Slope of a canary's loss, in clipping bounds."""


def private_training(
    spec: ModelSpec, people: Cohort, rules: Rules, seed: int, canaries: int = 0, included: Array | None = None
) -> Trained:
    """One training by Opacus with every step kept, as seen by a party that has all of them.

    There are `canaries` gradient canaries. Those `included` (canaries,) bool take part as records.
    """
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    inner = models.build(spec, seed)
    model = Canaried(inner, canaries).train()
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=rules.learning_rate)
    put = np.flatnonzero(included) + 1 if included is not None else np.empty(0, np.int64)
    x = np.concatenate([people.x, np.zeros((len(put), *people.x.shape[1:]), np.float32)])
    y = np.concatenate([people.y, np.zeros(len(put), np.int64)])
    number = np.concatenate([np.zeros(len(people), np.int64), put])
    data = TensorDataset(torch.tensor(x), torch.tensor(y), torch.tensor(number))
    loader: Any = DataLoader(data, rules.batch)
    drawn = int(keyed_rng(seed, "noise").integers(2**31))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus warns about its secure mode and about hooks that are intended
        torch.manual_seed(drawn)
        engine: Any = PrivacyEngine(accountant="rdp")
        private, optimizer, loader = engine.make_private(
            module=model,
            optimizer=optimizer,
            data_loader=loader,
            noise_multiplier=rules.noise,
            max_grad_norm=rules.clip,
            noise_generator=torch.Generator().manual_seed(drawn),
        )
        kept = [_parameters(inner)]
        for _ in range(rules.epochs):
            for records, labels, numbers in loader:
                if not len(labels):
                    continue
                optimizer.zero_grad()
                answers, marks = private(records, numbers)
                own = models.record_losses(inner, answers, records, labels)
                torch.where(numbers == 0, own, STEEP * rules.clip * marks).mean().backward()
                optimizer.step()
                kept.append(_parameters(inner))
    exchanges = tuple(Exchange(i, 0, a, b) for i, (a, b) in enumerate(pairwise(kept), 1))
    protocol = Protocol("fedavg", rules.batch, learning_rate=rules.learning_rate, rounds=len(exchanges), clients=1)
    epsilon = engine.get_epsilon(rules.delta) if rules.noise > 0 else float("inf")
    held = model.marks.weight.detach().numpy()[1:, 0].copy()
    return Trained(Transcript(exchanges, spec, protocol, "server", kept[-1]), float(epsilon), held)


def _parameters(model: nn.Module) -> dict[str, Array]:
    return {k: frozen(v) for k, v in models.get_parameters(model).items()}


def seen_throughout(trained: Trained, canaries: Cohort, rules: Rules) -> Array:
    """The white-box auditor's score (n,): how far all steps together point along a canary's clipped gradient."""
    made = Signals(trained.steps, canaries)
    return (made.product * np.minimum(1.0, rules.clip / np.maximum(made.norm, 1e-12)))[:, 0].sum(0)


def seen_at_the_end(trained: Trained, canaries: Cohort) -> Array:
    """The score (n,) of an auditor of the final model: how far each canary's loss fell from the first to the last."""
    first, last = trained.steps.exchanges[0].sent, trained.steps.final
    assert first is not None
    assert last is not None
    assert trained.steps.model is not None
    network = models.build(trained.steps.model)
    x, y = torch.tensor(canaries.x), torch.tensor(canaries.y)
    with torch.no_grad():
        before, after = (models.losses_of(network, models.to_tensors(p, network), x, y) for p in (first, last))
    return (before - after).double().numpy()


def bound(scores: Array, included: Array, guesses: int, delta: float) -> Interval:
    """Lower bound on epsilon from the number of correct guesses.

    Half of the guesses say that the canaries with the highest scores were included. The other half say that those with
    the lowest scores were not.
    """
    order = np.argsort(-scores, kind="stable")
    top, bottom = order[: guesses - guesses // 2], order[len(order) - guesses // 2 :]
    right = int(included[top].sum() + (~included[bottom]).sum())
    return statistics.epsilon_one_run(right, guesses, len(scores), delta)


def told(plan: Plan, bounds: list[Interval], claimed: float, guesses: int, canaries: int, delta: float) -> Finding:
    """The finding on three `bounds`: the training's own, one on coins that decided nothing, and one without noise.

    The second is the control, the third the positive control.
    """
    measure, null, broken = bounds
    ceiling = statistics.epsilon_one_run(guesses, guesses, canaries, delta).value
    exceeded = measure.value > claimed
    flags = (["claim_exceeded"] if exceeded else []) + ([] if broken.value > 0 else ["positive_control_weak"])
    promise = f"The claim is {claimed:.2f}" if np.isfinite(claimed) else "Nothing is claimed"
    plain = (
        f"Seen by {plan.target}, epsilon is at least {measure.value:.2f} (95 % sure, delta {delta:g}). {promise}. "
        f"An audit with {guesses} guesses can show at most {ceiling:.2f}. With the noise switched off it shows "
        f"{broken.value:.2f}. For coins that decided nothing it shows {null.value:.2f}."
    )
    estimates = [findings_.estimate("epsilon_lower", b, plan.unit, guesses) for b in bounds]
    return findings_.unmeasured(plan, findings_.NOT_APPLICABLE, guesses, guesses).model_copy(
        update={
            "measure": estimates[0],
            "control": estimates[1],
            "positive_control": estimates[2],
            "validity": Validity(ok=not flags, flags=flags),
            "plain": plain,
        }
    )
