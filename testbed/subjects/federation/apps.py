"""The ServerApp and the ClientApp of every federation, on Flower's public interface, the same on every engine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Strategy

from testbed import models
from testbed.core import Array, Cohort, ModelSpec, Parameters, Protocol
from testbed.core.errors import RunError
from testbed.core.randomness import keyed_rng
from testbed.subjects.federation.local import Rule, evaluated, local_update, one_thread, ruled
from testbed.subjects.federation.messages import (
    PARTITION_METRIC,
    REFUSED,
    Answer,
    Craft,
    Observe,
    to_parameters,
    with_parameters,
)

PARTITION = "partition-id"
REPORT = "query.identity"
PATIENCE_S = 120.0
"""Seconds that the server waits for all clients to register."""


def batches(protocol: Protocol, seed: int, partition: int, round_: int, n: int) -> Iterator[Array]:
    """The row numbers of each local step of a client in a round. The judge knows them, the attacker does not.

    FedSGD takes one batch a round, in a fixed random order that starts again at its end. FedAvg shuffles the records in
    every local epoch.
    """
    size = min(protocol.batch_size or n, n)
    if protocol.kind == "fedsgd":
        order = keyed_rng(seed, "batches", partition).permutation(n)
        start = (round_ - 1) * size
        yield order[np.arange(start, start + size) % n]
        return
    steps = 0
    rng = keyed_rng(seed, "batches", partition, round_)
    for _ in range(protocol.local_epochs):
        order = rng.permutation(n)
        for start in range(0, n - size + 1, size):
            if protocol.local_steps is not None and steps >= protocol.local_steps:
                return
            steps += 1
            yield order[start : start + size]


def uses(protocol: Protocol, records: int) -> int:
    """The largest number of batches that one of a client's `records` enters over all rounds."""
    if protocol.kind == "fedsgd":
        return -(-protocol.rounds * min(protocol.batch_size or records, records) // max(records, 1))
    each = protocol.local_epochs if protocol.local_steps is None else min(protocol.local_epochs, protocol.local_steps)
    return protocol.rounds * each


def client_app(
    partitions: Sequence[Cohort], protocol: Protocol, seed: int, mods: Sequence[Mod] = (), rules: Sequence[Rule] = ()
) -> ClientApp:
    """A ClientApp that trains on its node's partition and returns a gradient (FedSGD) or new weights (FedAvg).

    `rules` change the gradient of each local step.
    """
    app = identified(ClientApp(mods=list(mods)))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        partition = int(context.node_config[PARTITION])
        config = next(iter(message.content.config_records.values()))
        given = to_parameters(message.content)
        assert given is not None
        round_ = int(str(config["server-round"]))
        returned = local_update(
            _named(message),
            given,
            partitions[partition],
            protocol,
            list(batches(protocol, seed, partition, round_, len(partitions[partition]))),
            ruled(rules, partition, round_),
        )
        metrics = MetricRecord({"num-examples": len(partitions[partition]), PARTITION_METRIC: partition})
        content = with_parameters(RecordDict({"metrics": metrics}), returned)
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        partition = int(context.node_config[PARTITION])
        given = to_parameters(message.content)
        assert given is not None
        told = evaluated(_named(message), given, partitions[partition])
        metrics = MetricRecord({**told, "num-examples": len(partitions[partition]), PARTITION_METRIC: partition})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def _named(message: Message) -> ModelSpec:
    """The model that a message's configuration names."""
    config = next(iter(message.content.config_records.values()))
    told = json.loads(str(config["model"]))
    return ModelSpec(told["factory"], told["arguments"])


def identified(app: ClientApp) -> ClientApp:
    """The app, which now also answers which partition its node holds."""

    @app.query("identity")
    def identity(message: Message, context: Context) -> Message:
        content = RecordDict({"metrics": MetricRecord({PARTITION_METRIC: int(context.node_config[PARTITION])})})
        return Message(content, reply_to=message)

    return app


def adversary(answer: Answer, nodes: Sequence[int]) -> Mod:
    """A client mod that replaces what the clients of these partitions return, by `answer`."""

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        reply = call_next(message, context)
        partition = int(context.node_config[PARTITION])
        sent, returned = to_parameters(message.content), None if reply.has_error() else to_parameters(reply.content)
        if partition not in nodes or sent is None or returned is None:
            return reply
        config = next(iter(message.content.config_records.values()))
        with one_thread():
            changed = answer(int(str(config["server-round"])), partition, sent, returned)
        reply.content = with_parameters(reply.content, changed)
        return reply

    return mod


class Ordered(Strategy):
    """A strategy wrapper that makes runs repeatable: it sends and aggregates in the order of partitions.

    It first asks every node for its partition, and it fails on any client's error, unless `tolerate`. Where clients
    `may_refuse`, a refusal is no error. Flower alone aggregates in order of arrival, treats a client that failed as
    absent, and samples by random node ids, so equal runs would differ.
    """

    def __init__(
        self,
        inner: FedAvg,
        craft: Craft | None,
        tolerate: bool = False,
        observe: Observe | None = None,
        probe: Craft | None = None,
        may_refuse: bool = False,
        evaluates: bool = False,
    ) -> None:
        self.evaluates = evaluates
        self.inner, self.craft, self.tolerate, self.observe, self.probe = inner, craft, tolerate, observe, probe
        self.may_refuse = may_refuse
        self.partition_of: dict[int, int] = {}

    def meet(self, grid: Grid, clients: int) -> None:
        """Asks every node for its partition. Raises `RunError` unless all clients answer."""
        waited = time.monotonic()
        while len(nodes := sorted(grid.get_node_ids())) < clients and time.monotonic() - waited < PATIENCE_S:
            time.sleep(0.05)  # some engines register nodes only after the server has started
        asked = [Message(RecordDict(), node, REPORT) for node in nodes]
        for reply in grid.send_and_receive(asked):
            if reply.has_error():
                raise failed(reply)
            metrics = next(iter(reply.content.metric_records.values()))
            self.partition_of[reply.metadata.src_node_id] = int(str(metrics[PARTITION_METRIC]))
        if len(self.partition_of) != clients:
            raise RunError(
                "TB-RUN-003",
                f"{len(self.partition_of)} of {clients} clients answered.",
                "The results would be those of a smaller federation.",
                "Check that all nodes are running, and start again.",
            )

    def _by_partition(self, node: int) -> int:
        return self.partition_of[node]

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self._crafted(self.craft, server_round, self.inner.configure_train(server_round, arrays, config, grid))

    def _crafted(self, craft: Craft | None, server_round: int, messages: Iterable[Message]) -> list[Message]:
        """The messages in the order of partitions, with what `craft` makes of their parameters."""
        ordered = sorted(messages, key=lambda m: self._by_partition(m.metadata.dst_node_id))
        for message in ordered if craft else []:
            sent = to_parameters(message.content)
            if craft and sent is not None:
                with one_thread():
                    crafted = craft(server_round, self._by_partition(message.metadata.dst_node_id), sent)
                message.content = with_parameters(message.content, crafted)
        return ordered

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answered = self._answered(replies)
        for message in answered if self.observe else []:
            returned = None if message.has_error() else to_parameters(message.content)
            if self.observe and returned is not None:
                self.observe(server_round, self._by_partition(message.metadata.src_node_id), returned)
        return self.inner.aggregate_train(server_round, answered)

    def _answered(self, replies: Iterable[Message]) -> list[Message]:
        """The replies in the order of partitions. Raises `RunError` for a client's error, unless it is tolerated."""
        answered = sorted(replies, key=lambda m: self._by_partition(m.metadata.src_node_id))
        if not self.tolerate:
            for message in answered:
                if message.has_error() and not (self.may_refuse and message.error.code == REFUSED):
                    raise failed(message)
        return answered

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        if not self.evaluates:  # some strategies evaluate even with a fraction of 0
            return []
        messages = self.inner.configure_evaluate(server_round, arrays, config, grid)
        return self._crafted(self.probe, server_round, messages)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        answered = self._answered(replies)
        return self.inner.aggregate_evaluate(server_round, answered) if answered else None

    def summary(self) -> None:
        self.inner.summary()


def failed(message: Message) -> RunError:
    """The error for a client that failed, without the client's message, which may quote records."""
    kind = message.error.reason.partition(":")[0] if message.error.reason else "an unnamed error"
    if kind.startswith("<class "):  # as nodes in other processes write it
        kind = kind.strip("<>'").rpartition(".")[2].removeprefix("class '")
    return RunError(
        "TB-RUN-001",
        f"A client failed in training ({kind.split()[-1][:40]}).",
        "Flower would continue without this client, and the run would seem a success.",
        "Correct the client, or declare that the scenario tolerates dropout.",
    )


class FedSGD(FedAvg):
    """FedSGD (McMahan et al. 2017): clients send gradients, and the server takes a step against their weighted mean."""

    def __init__(self, learning_rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.learning_rate = learning_rate
        self._current: dict[str, Array] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self._current = {k: v.numpy() for k, v in arrays.items()}
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        gradient, metrics = super().aggregate_train(server_round, replies)
        if gradient is None:
            return None, metrics
        step = np.float32(self.learning_rate)
        stepped = {k: self._current[k] - step * v.numpy().astype(np.float32) for k, v in gradient.items()}
        content = with_parameters(RecordDict(), stepped)
        return next(iter(content.array_records.values())), metrics


def strategy_for(protocol: Protocol, evaluates: bool = False) -> FedAvg:
    """The strategy of a protocol: FedSGD, or Flower's FedAvg, with all clients in every round.

    If it `evaluates`, all clients also evaluate each round's global model.
    """
    everyone: dict[str, Any] = {
        "fraction_train": 1.0,
        "fraction_evaluate": float(evaluates),
        "min_evaluate_nodes": protocol.clients,
        # Flower draws its sample before it waits for clients, so the minimum must be all of them.
        "min_train_nodes": protocol.clients,
        "min_available_nodes": protocol.clients,
    }
    if protocol.kind == "fedsgd":
        return FedSGD(protocol.learning_rate or 0.1, **everyone)
    return FedAvg(**everyone)


def server_app(
    strategy: Strategy,
    ordered: Ordered,
    model: ModelSpec,
    protocol: Protocol,
    seed: int,
    start: Parameters | None = None,
) -> ServerApp:
    """A ServerApp that asks the clients for their partitions and then runs the outermost `strategy`.

    `ordered` is the wrapper inside it. Training begins with the parameters `start`, or with those drawn by `seed`.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        ordered.meet(grid, protocol.clients)
        initial = with_parameters(RecordDict(), start or models.get_parameters(models.build(model, seed)))
        told = {"model": json.dumps({"factory": model.factory, "arguments": dict(model.arguments)})}
        strategy.start(
            grid,
            next(iter(initial.array_records.values())),
            num_rounds=protocol.rounds,
            train_config=ConfigRecord({**told, **plain(asdict(protocol))}),
            evaluate_config=ConfigRecord({**told}),
        )

    return app


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """A protocol's fields as Flower's config, which is sent to the clients; fields that are None are left out."""
    return {k.replace("_", "-"): v for k, v in values.items() if v is not None}
