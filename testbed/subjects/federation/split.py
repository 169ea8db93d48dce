"""Split learning by columns: one party holds some columns, the other one all others and the labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from flwr.app import Array as Sent
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from testbed.core import Array, Cohort, ModelSpec, Parameters, Protocol, Transcript
from testbed.core.defence import Defence
from testbed.core.randomness import keyed_rng
from testbed.subjects.federation import compat
from testbed.subjects.federation.apps import Ordered, identified
from testbed.subjects.federation.engines import ENGINES
from testbed.subjects.federation.local import one_thread
from testbed.subjects.federation.messages import PARTITION_METRIC, to_parameters
from testbed.subjects.federation.tap import record

ROWS, OF, GRADIENT, CUT = "rows", "of", "gradient", "cut"
"""The names of the arrays: which rows to send next, the rows of the last batch, their gradients, and the outputs."""
HIDDEN = 16
"""Neurons of the network of the party with the labels."""


@dataclass(frozen=True, slots=True)
class SplitLearning:
    """A recipe: the first `own` features belong to the party without labels; `width` numbers a record cross the cut."""

    features: int
    own: int
    width: int = 8
    rounds: int = 100
    batch: int = 32
    learning_rate: float = 0.5
    seed: int = 0
    defences: tuple[Defence, ...] = ()

    def rows(self, people: int, round_: int) -> Array:
        """The row numbers of a round's batch, which both parties know."""
        start = (round_ - 1) * self.batch
        passes = range(start // people, (start + self.batch - 1) // people + 1)
        order = np.concatenate([keyed_rng(self.seed, "split rows", p).permutation(people) for p in passes])
        return order[np.arange(start, start + self.batch) - passes.start * people]

    def run(self, people: Cohort, engine: str = "in-process") -> tuple[Transcript, Joint]:
        """Trains on these people. Returns what passed between the parties, and the trained network."""
        with compat.quiet():
            strategy = LabelParty(self, people)
        ordered = Ordered(strategy, None)
        spec = ModelSpec("split", {"shape": [self.own], "classes": 2})
        tap = record(ordered, spec, Protocol("unknown", batch_size=self.batch, rounds=self.rounds, clients=1))
        tap.partition_of = ordered.partition_of
        app = ServerApp()

        @app.main()
        def main(grid: Grid, context: Context) -> None:
            ordered.meet(grid, 1)
            first = _sent({ROWS: self.rows(len(people), 1), OF: np.empty(0, int), GRADIENT: np.empty((0, self.width))})
            tap.start(grid, first, num_rounds=self.rounds, train_config=ConfigRecord())

        def seen() -> Transcript:
            return replace(tap.transcript(), final=strategy.top.parameters())

        view = ENGINES[engine](app, client_app(people.x[:, : self.own], self), 1, seen)
        bottom = Bottom(self)
        for exchange in view.exchanges:  # the party's network, trained again from what it was sent
            assert exchange.sent is not None
            bottom.learn(people.x[:, : self.own], exchange.sent)
        assert view.final is not None
        return replace(view, final=None), Joint(self, bottom, view.final)


@dataclass(slots=True)
class Bottom:
    """The network of the party without labels: one layer with a ReLU, from its own columns to the cut."""

    split: SplitLearning
    weight: torch.Tensor = field(init=False)
    bias: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        rng = keyed_rng(self.split.seed, "bottom")
        bound = 1 / np.sqrt(self.split.own)
        self.weight = _drawn(rng, bound, self.split.own, self.split.width)
        self.bias = _drawn(rng, bound, self.split.width)

    def __call__(self, x: Array) -> torch.Tensor:
        return torch.relu(torch.from_numpy(np.ascontiguousarray(x)) @ self.weight + self.bias)

    def learn(self, x: Array, sent: Parameters) -> None:
        """One step against the gradients of the last batch."""
        if not len(sent[OF]):
            return
        parts = [self.weight, self.bias]
        told = torch.from_numpy(np.array(sent[GRADIENT], np.float32))
        for part, slope in zip(parts, torch.autograd.grad(self(x[sent[OF]]), parts, told), strict=True):
            part.data -= self.split.learning_rate * slope


@dataclass(slots=True)
class Top:
    """The network of the party with the labels: from the cut and its own columns to one number, whose sigmoid is p."""

    split: SplitLearning
    parts: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        rng, inputs = keyed_rng(self.split.seed, "top"), self.split.width + self.split.features - self.split.own
        shapes = [(inputs, HIDDEN), (HIDDEN,), (HIDDEN, 1), (1,)]
        self.parts = [_drawn(rng, 1 / np.sqrt(inputs if i < 2 else HIDDEN), *s) for i, s in enumerate(shapes)]

    def __call__(self, cut: torch.Tensor, x: Array) -> torch.Tensor:
        first, shift, last, end = self.parts
        inputs = torch.cat([cut, torch.from_numpy(np.ascontiguousarray(x))], 1)
        return (torch.relu(inputs @ first + shift) @ last + end)[:, 0]

    def learn(self, cut: Array, x: Array, y: Array) -> Array:
        """One step on this batch. Returns the gradient of each record's mean loss at the cut (records, width)."""
        given = torch.tensor(cut, requires_grad=True)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            self(given, x), torch.tensor(y, dtype=torch.float32)
        )
        *slopes, at_cut = torch.autograd.grad(loss, [*self.parts, given])
        for part, slope in zip(self.parts, slopes, strict=True):
            part.data -= self.split.learning_rate * slope
        return at_cut.numpy()

    def parameters(self) -> dict[str, Array]:
        return {str(i): part.detach().numpy().copy() for i, part in enumerate(self.parts)}


@dataclass(frozen=True, slots=True)
class Joint:
    """The trained network of both parties."""

    split: SplitLearning
    bottom: Bottom
    final: Parameters

    def predict(self, x: Array) -> Array:
        """The probability of class 1 (n,) for records of all columns (n, features)."""
        top = Top(self.split)
        top.parts = [torch.from_numpy(np.array(self.final[str(i)])) for i in range(len(self.final))]
        with torch.no_grad():
            return torch.sigmoid(top(self.bottom(x[:, : self.split.own]), x[:, self.split.own :])).numpy()


class LabelParty(FedAvg):
    """The party with the labels, as a Flower strategy: it gets a batch's outputs, and answers with their gradients."""

    def __init__(self, split: SplitLearning, people: Cohort) -> None:
        super().__init__(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1)
        self.split, self.people, self.top = split, people, Top(split)
        self.changes = [(d.drawn(split.seed), d.name, d.build(split.seed)) for d in split.defences]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        (reply,) = replies
        told = to_parameters(reply.content)
        assert told is not None
        rows = self.split.rows(len(self.people), server_round)
        with one_thread():
            gradient = self.top.learn(told[CUT], self.people.x[rows, self.split.own :], self.people.y[rows])
        for seed, name, change in self.changes:
            gradient = change(gradient, keyed_rng(seed, name, server_round))
        following = self.split.rows(len(self.people), server_round + 1)
        return _sent({ROWS: following, OF: rows, GRADIENT: gradient}), None


def client_app(x: Array, split: SplitLearning) -> ClientApp:
    """The party without labels, with its own columns `x`: it learns from the gradients and sends the next outputs."""
    app = identified(ClientApp())

    @app.train()
    def train(message: Message, context: Context) -> Message:
        given = to_parameters(message.content)
        assert given is not None
        bottom = Bottom(split)
        if "bottom" in context.state:
            kept = context.state.array_records["bottom"]
            bottom.weight, bottom.bias = (
                torch.tensor(kept[name].numpy(), requires_grad=True) for name in ("weight", "bias")
            )
        with one_thread():
            bottom.learn(x, given)
            cut = bottom(x[given[ROWS]]).detach().numpy()
        context.state["bottom"] = _sent(
            {"weight": bottom.weight.detach().numpy(), "bias": bottom.bias.detach().numpy()}
        )
        metrics = MetricRecord({"num-examples": len(cut), PARTITION_METRIC: 0})
        return Message(RecordDict({"arrays": _sent({CUT: cut}), "metrics": metrics}), reply_to=message)

    return app


def _sent(arrays: dict[str, Any]) -> ArrayRecord:
    return ArrayRecord({name: Sent(np.ascontiguousarray(values)) for name, values in arrays.items()})


def _drawn(rng: np.random.Generator, bound: float, *shape: int) -> torch.Tensor:
    return torch.tensor(rng.uniform(-bound, bound, shape).astype(np.float32), requires_grad=True)
