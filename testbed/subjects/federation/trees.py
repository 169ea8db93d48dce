"""Federations of boosted trees: Flower's `FedXgbBagging` and `FedXgbCyclic`, recorded as any other federation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xgboost
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, FedXgbBagging, FedXgbCyclic

from testbed.core import Array, Cohort, ModelSpec, Parameters, Protocol, Transcript
from testbed.core.defence import Defence, OfTrees
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.models.boosters import packed
from testbed.subjects.federation import compat
from testbed.subjects.federation.apps import PARTITION, Ordered, identified
from testbed.subjects.federation.engines import ENGINES
from testbed.subjects.federation.messages import PARTITION_METRIC, to_parameters
from testbed.subjects.federation.tap import record

Order = Literal["bagging", "cyclic"]
ORDERS: tuple[Order, ...] = ("bagging", "cyclic")
"""Bagging: all clients add trees to the same model in each round. Cyclic: one client a round adds trees to the model of
the client before it."""
STRICTER: dict[str, Callable[[float, float], float]] = {"max_depth": min, "min_child_weight": max}
"""Which of two values of a setting protects more."""


@dataclass(frozen=True, slots=True)
class Change:
    """A defence's change of a new tree, with the seed of its noise, which differs by client and round."""

    seed: int
    name: str
    make: Callable[[dict[str, Any], np.random.Generator], None]


@dataclass(frozen=True, slots=True)
class TreeFederation:
    """A recipe: how trees are grown and joined. `local` trees are grown by a client in a round."""

    features: int
    clients: int
    order: Order = "bagging"
    rounds: int = 5
    local: int = 1
    learning_rate: float = 0.1
    depth: int = 8
    least: float = 1.0
    """The smallest sum of Hessians of a leaf (XGBoost's min_child_weight): in a first tree people count 1/4 or less."""
    seed: int = 0
    defences: tuple[Defence, ...] = ()

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise UsageError(
                "TB-RUN-012",
                f"There is no order of training called {self.order!r}.",
                "It says whose trees a client adds its own to.",
                f"Use one of: {', '.join(ORDERS)}.",
            )

    @property
    def protocol(self) -> Protocol:
        """What every party knows of the training."""
        return Protocol("unknown", learning_rate=self.learning_rate, rounds=self.rounds, clients=self.clients)

    @property
    def settings(self) -> dict[str, Any]:
        """XGBoost's settings, after those defences that make them stricter."""
        made: dict[str, Any] = {
            "objective": "binary:logistic",
            "eta": self.learning_rate,
            "max_depth": self.depth,
            "min_child_weight": self.least,
            "tree_method": "hist",
            "nthread": 1,
            "seed": self.seed,
        }
        for one in self._rules():
            for name, value in one.settings.items():
                made[name] = STRICTER[name](made[name], value) if name in made else value
        return made

    def _rules(self) -> list[OfTrees]:
        return [d.build(self.seed) for d in self.defences]

    def run(self, partitions: Sequence[Cohort], engine: str = "in-process") -> Transcript:
        """Trains on one partition a client and returns what the server sees. Raises `RunError` if it fails."""
        with compat.quiet():
            strategy = _strategy(self.order, self.clients)
        ordered = Ordered(strategy, None)
        spec = ModelSpec("xgboost", {"shape": [self.features], "classes": 2})
        tap = record(ordered, spec, replace(self.protocol, clients=len(partitions)))
        tap.partition_of = ordered.partition_of
        app = ServerApp()

        @app.main()
        def main(grid: Grid, context: Context) -> None:
            ordered.meet(grid, len(partitions))
            if isinstance(strategy, FedXgbCyclic):  # else it numbers the clients in an order drawn at random
                strategy.registered_nodes = {node: place + 1 for node, place in ordered.partition_of.items()}
            tap.start(grid, ArrayRecord([np.empty(0, np.uint8)]), num_rounds=self.rounds, train_config=ConfigRecord())

        changes = [
            Change(d.drawn(self.seed), d.name, rule.change)
            for d, rule in zip(self.defences, self._rules(), strict=True)
            if rule.change is not None
        ]
        return ENGINES[engine](app, client_app(partitions, self, changes), len(partitions), tap.transcript)


def _strategy(order: Order, clients: int) -> FedAvg:
    if order == "cyclic":
        return FedXgbCyclic(fraction_evaluate=0.0, min_available_nodes=clients)
    return FedXgbBagging(
        fraction_evaluate=0.0, min_train_nodes=clients, min_evaluate_nodes=0, min_available_nodes=clients
    )


def client_app(
    partitions: Sequence[Cohort],
    federation: TreeFederation,
    changes: Sequence[Change] = (),
) -> ClientApp:
    """A ClientApp that adds trees to the model that it is sent, as in Flower's example.

    It returns the whole model under `cyclic`, and its own trees alone under `bagging`. `changes` are made to its new
    trees before they are sent.
    """
    app = identified(ClientApp())
    settings, local = federation.settings, federation.local

    @app.train()
    def train(message: Message, context: Context) -> Message:
        partition = int(context.node_config[PARTITION])
        people = partitions[partition]
        data = xgboost.DMatrix(people.x, people.y)
        content = packed(to_parameters(message.content))
        if content is None:
            model = xgboost.train(settings, data, num_boost_round=local)
        else:
            model = xgboost.Booster(settings, model_file=bytearray(content))
            for _ in range(local):
                model.update(data, model.num_boosted_rounds())
            if federation.order == "bagging":
                model = model[model.num_boosted_rounds() - local :]
        round_ = str(next(iter(message.content.config_records.values()))["server-round"])
        drawn = [(keyed_rng(c.seed, c.name, partition, round_), c.make) for c in changes]
        sent = changed(bytes(model.save_raw("json")), local, drawn)
        metrics = MetricRecord({"num-examples": len(people), PARTITION_METRIC: partition})
        arrays = ArrayRecord([np.frombuffer(sent, np.uint8)])
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return app


def changed(content: bytes, local: int, changes: Sequence[tuple[np.random.Generator, Any]]) -> bytes:
    """The model with these changes of its last `local` trees."""
    if not changes:
        return content
    told = json.loads(content)
    for tree in told["learner"]["gradient_booster"]["model"]["trees"][-local:]:
        for rng, change in changes:
            change(tree, rng)
    return json.dumps(told).encode()


def predictions(parameters: Parameters | None, x: Array) -> Array:
    """The model's probability of the second class (n,) for records (n, features), as XGBoost computes it."""
    content = packed(parameters)
    assert content is not None
    return np.asarray(xgboost.Booster(model_file=bytearray(content)).predict(xgboost.DMatrix(x)), dtype=np.float64)
