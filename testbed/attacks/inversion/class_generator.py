"""Class inversion in a federation: a generator trained against the global models (Hitaj et al. 2017)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from testbed import models
from testbed.attacks.own_gradient import CONSTANT, DRAWS, gradient, says_nothing
from testbed.attacks.registry import attack
from testbed.core import Act, Array, Classes, Cohort, ModelSpec, Parameters, Representatives, Transcript, Unavailable
from testbed.core.randomness import keyed_rng

LATENT = 32
BATCH = 64


class Generator(nn.Module):
    """A network that makes records of a class from normal draws, within the bounds of the inputs.

    Pictures are made by convolutions, other records by two linear layers.
    """

    def __init__(self, question: Classes) -> None:
        super().__init__()
        shape = question.low.shape
        self.low, self.range = (torch.tensor(np.asarray(b, np.float32)) for b in (question.low, _width(question)))
        self.of_class = nn.Embedding(question.count, LATENT)
        self.body: nn.Module
        if len(shape) == 3 and not shape[1] % 4 and not shape[2] % 4:
            height, width = shape[1] // 4, shape[2] // 4
            self.body = nn.Sequential(
                nn.Linear(2 * LATENT, 64 * height * width),
                nn.ReLU(),
                nn.Unflatten(1, (64, height, width)),
                nn.Upsample(scale_factor=2),
                nn.Conv2d(64, 32, 3, padding=1),
                nn.ReLU(),
                nn.Upsample(scale_factor=2),
                nn.Conv2d(32, shape[0], 3, padding=1),
            )
        else:
            self.body = nn.Sequential(
                nn.Linear(2 * LATENT, 128), nn.ReLU(), nn.Linear(128, int(np.prod(shape))), nn.Unflatten(1, shape)
            )

    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        made = self.body(torch.cat([z, self.of_class(classes)], 1))
        return self.low + self.range * torch.sigmoid(made)


def _width(question: Classes) -> Array:
    return np.asarray(question.high, np.float64) - np.asarray(question.low, np.float64)


def taught(
    question: Classes, model: ModelSpec, sent: Sequence[Parameters], steps: int, rng: np.random.Generator
) -> tuple[Generator, torch.Generator]:
    """A generator trained to make records that the models assign to a given class, for `steps` against each in turn."""
    network = models.build(model)
    draw = torch.Generator().manual_seed(int(rng.integers(2**31)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        generator = Generator(question)
    optimizer = torch.optim.Adam(generator.parameters(), 2e-3)
    for parameters in sent:
        at = models.to_tensors(parameters, network)
        for _ in range(steps):
            classes = torch.randint(question.count, (BATCH,), generator=draw)
            made = generator(torch.randn(BATCH, LATENT, generator=draw), classes)
            optimizer.zero_grad()
            models.loss_of(network, at, made, classes).backward()
            optimizer.step()
    return generator, draw


def _read(view: Transcript, question: Classes, rng: np.random.Generator, steps: int) -> Representatives:
    if view.model is None:
        raise Unavailable("no_model", "the model's factory (--model module:factory)")
    by_round = {e.round: e.sent for e in view.exchanges if e.sent is not None}
    seen = [by_round[r] for r in sorted(by_round)][1:]
    seen += [] if view.final is None else [view.final]
    if not seen:
        raise Unavailable("too_few_rounds", "a global model that was trained: a second round, or the final model")
    _has_gradient(question, view.model, seen[-1])
    generator, _ = taught(question, view.model, seen, steps, rng)
    with torch.no_grad():
        return Representatives(generator(torch.zeros(question.count, LATENT), torch.arange(question.count)).numpy())


def _has_gradient(question: Classes, model: ModelSpec, sent: Parameters) -> None:
    """Raises `Unavailable` if the assumed loss has no gradient, so that a generator cannot learn from it."""
    network = models.build(model)
    own = keyed_rng(0, "own gradient")  # not the attack's generator: its draws must not depend on this check
    y = torch.arange(question.count)
    found: list[list[Tensor]] = []
    for _ in range(DRAWS):
        drawn = np.asarray(question.low) + own.uniform(size=(question.count, *question.low.shape)) * _width(question)
        x = torch.tensor(drawn, dtype=torch.float32).requires_grad_()
        found.append(gradient(models.loss_of(network, models.to_tensors(sent, network), x, y), [x]))
    if (nothing := says_nothing(found)) is not None and nothing is not CONSTANT:
        raise Unavailable(nothing.code, nothing.needs)


@attack(
    subject="transcript",
    rule="TB-CLASS_INVERSION-001",
    risk="class_inversion",
    claim=Representatives,
    needs={"architecture"},
    position="client",
    reference="https://arxiv.org/abs/1702.07464",
)
def class_generator(
    view: Transcript, question: Classes, auxiliary: Cohort | None, rng: np.random.Generator, *, steps: int = 40
) -> Representatives:
    """Train a generator against each global model in turn, and claim its output for each class at latent code zero.

    Threat model: a curious client that takes part, stores every global model it receives, and asks what records of
    classes look like that only other clients hold (Hitaj et al. 2017, without their poisoning). It knows the bounds of
    the inputs, and no record of those classes. The generator makes `steps` training steps a round. Raises `Unavailable`
    unless the client saw a trained model.
    """
    return _read(view, question, rng, steps)


def _deceive(
    question: Classes,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    model: ModelSpec,
    *,
    fakes: int = 64,
    learning_rate: float = 0.05,
    steps: int = 40,
    wrong: Collection[int] = (0,),
) -> Act:
    """Returns the result of its training, after one more step on `fakes` of other classes, labelled as one of `wrong`.

    The clients that hold the real classes must then train to distinguish them from the fakes. The generator is trained
    again in each round, against the model that was sent, so that rounds do not depend on each other.
    """
    seed = int(rng.integers(2**31))

    def answer(round_: int, client: int, sent: Parameters, returned: Parameters) -> Parameters:
        own = np.random.default_rng([seed, round_])
        generator, draw = taught(question, model, [sent], steps, own)
        others = torch.tensor([c for c in range(question.count) if c not in wrong])
        called = torch.tensor(own.choice(np.array(sorted(wrong)), fakes))
        network = models.build(model)
        at = {k: v.requires_grad_() for k, v in models.to_tensors({**sent, **returned}, network).items()}
        with torch.no_grad():
            which = others[torch.randint(len(others), (fakes,), generator=draw)]
            made = generator(torch.randn(fakes, LATENT, generator=draw), which)
        parts = torch.autograd.grad(models.loss_of(network, at, made, called), list(at.values()))
        moved = {k: v - learning_rate * g for (k, v), g in zip(at.items(), parts, strict=True)}
        return models.changed(returned, moved)

    return Act(answer=answer)


@attack(
    subject="transcript",
    rule="TB-CLASS_INVERSION-002",
    risk="class_inversion",
    claim=Representatives,
    needs={"architecture"},
    position="client",
    reference="https://arxiv.org/abs/1702.07464",
    act=_deceive,
)
def class_generator_poisoning(
    view: Transcript, question: Classes, auxiliary: Cohort | None, rng: np.random.Generator, *, steps: int = 40
) -> Representatives:
    """As `class_generator`, while the client also trains the global model on fakes with a wrong class (Hitaj 2017).

    Threat model: a malicious client. It labels its fakes of other clients' classes as a class of its own. The clients
    that hold the real classes should then train harder to distinguish them, and so reveal more. Raises `Unavailable`
    unless clients return weights (FedAvg) and this client saw a trained model.
    """
    if view.protocol.kind == "fedsgd":
        raise Unavailable("no_local_model", "clients that return weights (FedAvg)")
    return _read(view, question, rng, steps)
