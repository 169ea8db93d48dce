"""The ServerApp and the ClientApp of every federation, on Flower's public interface, the same on every engine."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from testbed.subjects.federation.algorithms import CONTROL, Own
from testbed.subjects.federation.attendance import Turn, unreliable, worked
from testbed.subjects.federation.local import Rule, evaluated, local_update, one_thread, ruled
from testbed.subjects.federation.messages import (
    PARTITION_METRIC,
    REFUSED,
    Answer,
    Craft,
    Observe,
    model_of,
    with_model,
    with_parameters,
)

PARTITION = "partition-id"
REPORT = "query.identity"
PATIENCE_S = 120.0
"""Seconds that the server waits for all clients to register, and for one that is gone to come back."""
LOST = frozenset({3, 4, 5})
"""Flower's codes for a message that expired, an answer that never came, and a node that no longer reports."""


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


STEPS_METRIC = "local-steps"
"""The metric by which a client reports how many local steps it made, where stragglers stop early."""


def client_app(
    partitions: Sequence[Cohort],
    protocol: Protocol,
    seed: int,
    mods: Sequence[Mod] = (),
    rules: Sequence[Rule] = (),
    turns: Array | None = None,
) -> ClientApp:
    """A ClientApp that trains on its node's partition and returns a gradient (FedSGD) or new weights (FedAvg).

    `rules` change the gradient of each local step. `turns` (rounds, clients) say who is a straggler; None: nobody.
    """
    app = identified(ClientApp(mods=list(mods)))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        partition = int(context.node_config[PARTITION])
        config = next(iter(message.content.config_records.values()))
        given = model_of(message.content)
        assert given is not None
        round_, data, spec = int(str(config["server-round"])), partitions[partition], _named(message)
        steps = list(batches(protocol, seed, partition, round_, len(data)))
        if turns is not None:
            steps = worked(turns[round_ - 1, partition], seed, partition, round_, steps)
        own = Own(context, spec, protocol, seed)
        correction = own.correction(message.content)
        full = {**given, **own.layers()}
        compute = ruled(rules, partition, round_)
        returned = own.apart(local_update(spec, full, data, protocol, steps, compute, given, correction))
        metrics = {"num-examples": len(data), PARTITION_METRIC: partition}
        if turns is not None and (turns == Turn.PARTIAL).any():
            metrics[STEPS_METRIC] = len(steps)
        content = with_parameters(RecordDict({"metrics": MetricRecord({**metrics})}), returned)
        if correction is not None:
            content[CONTROL] = own.new_control(correction, given, returned, len(steps))
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        partition = int(context.node_config[PARTITION])
        given, spec = model_of(message.content), _named(message)
        assert given is not None
        whole = {**given, **Own(context, spec, protocol, seed).layers()}
        told = evaluated(spec, whole, partitions[partition])
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
        sent, returned = model_of(message.content), None if reply.has_error() else model_of(reply.content)
        if partition not in nodes or sent is None or returned is None:
            return reply
        config = next(iter(message.content.config_records.values()))
        with one_thread():
            changed = answer(int(str(config["server-round"])), partition, sent, returned)
        reply.content = with_model(reply.content, changed)
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
        self.turns: Array | None = None
        """The turn (rounds, clients) of each client in each round; None if all of them always answer."""
        self._sent: list[Message] = []

    def meet(self, grid: Grid, clients: int) -> None:
        """Asks every node for its partition. Raises `RunError` unless all clients answer."""
        nodes = registered(grid, clients)
        asked = [Message(RecordDict(), node, REPORT) for node in nodes]
        for reply in grid.send_and_receive(asked):
            if reply.has_error():
                raise lost([]) if reply.error.code in LOST else failed(reply)
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
        self._still_there(grid)
        messages = self.inner.configure_train(server_round, arrays, config, grid)
        if self.turns is not None:
            now = self.turns[server_round - 1]
            messages = [m for m in messages if now[self._by_partition(m.metadata.dst_node_id)] != Turn.ABSENT]
        return self._crafted(self.craft, server_round, messages)

    def _still_there(self, grid: Grid) -> None:
        """Waits for clients that are gone, since Flower would wait for ever for as many as there were.

        Raises `RunError` if one stays away; where dropout is tolerated, the round goes on without it.
        """
        present = set(registered(grid, len(self.partition_of)))
        gone = sorted(client for node, client in self.partition_of.items() if node not in present)
        if gone and not (self.tolerate and present):
            raise lost(gone)
        for name in ("min_train_nodes", "min_evaluate_nodes", "min_available_nodes") if gone else ():
            setattr(self.inner, name, min(getattr(self.inner, name), len(present)))

    def _crafted(self, craft: Craft | None, server_round: int, messages: Iterable[Message]) -> list[Message]:
        """The messages in the order of partitions, with what `craft` makes of their parameters."""
        ordered = sorted(messages, key=lambda m: self._by_partition(m.metadata.dst_node_id))
        for message in ordered if craft else []:
            sent = model_of(message.content)
            if craft and sent is not None:
                with one_thread():
                    crafted = craft(server_round, self._by_partition(message.metadata.dst_node_id), sent)
                message.content = with_model(message.content, crafted)
        self._sent = ordered
        return ordered

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answered = self._answered(replies)
        for message in answered if self.observe else []:
            returned = None if message.has_error() else model_of(message.content)
            if self.observe and returned is not None:
                self.observe(server_round, self._by_partition(message.metadata.src_node_id), returned)
        return self.inner.aggregate_train(server_round, answered)

    def _answered(self, replies: Iterable[Message]) -> list[Message]:
        """The replies in the order of partitions. Raises `RunError` for a client's error, unless it is tolerated.

        Where a client is lost, the server's own machine answers in its place, and its message alone says whose it is.
        """
        told = {m.metadata.message_id: m.metadata.dst_node_id for m in self._sent}
        self._sent = []
        answered = list(replies)
        places = {id(m): self._place(m, told) for m in answered}
        answered.sort(key=lambda m: places[id(m)])
        if not self.tolerate:
            for message in answered:
                if message.has_error() and not (self.may_refuse and message.error.code == REFUSED):
                    raise lost([places[id(message)]]) if message.error.code in LOST else failed(message)
        return answered

    def _place(self, message: Message, told: Mapping[str, int]) -> int:
        source = message.metadata.src_node_id
        if source not in self.partition_of and message.has_error():
            source = told.get(message.metadata.reply_to_message_id, source)
        return self.partition_of[source]

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        if not self.evaluates:  # some strategies evaluate even with a fraction of 0
            return []
        self._still_there(grid)
        messages = self.inner.configure_evaluate(server_round, arrays, config, grid)
        return self._crafted(self.probe, server_round, messages)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        answered = self._answered(replies)
        return self.inner.aggregate_evaluate(server_round, answered) if answered else None

    def summary(self) -> None:
        self.inner.summary()


def registered(grid: Grid, clients: int) -> list[int]:
    """The nodes that are there, as soon as they are as many as the clients, or when patience ends."""
    waited = time.monotonic()
    while len(nodes := sorted(grid.get_node_ids())) < clients and time.monotonic() - waited < PATIENCE_S:
        time.sleep(0.05)  # some engines register nodes only after the server has started
    return nodes


def lost(clients: Sequence[int]) -> RunError:
    """The error for clients that the server no longer reaches, by their numbers, if these are known."""
    who = f"client {', '.join(map(str, clients))}" if clients else "a client"
    return RunError(
        "TB-RUN-022",
        f"The server lost {who}: no sign of life came, and no answer.",
        "Its process hangs, its machine is off, or the connection is cut. The round has no result.",
        "Check its machine and the network, then start again; or declare that the scenario tolerates dropout.",
    )


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
        drawn = models.build(model, seed)
        own = set(models.last_layers(drawn, protocol.personal)) if protocol.personal else set[str]()
        begun = {k: v for k, v in (start or models.get_parameters(drawn)).items() if k not in own}
        initial = with_parameters(RecordDict(), begun)
        told = {"model": json.dumps({"factory": model.factory, "arguments": dict(model.arguments)})}
        lost = contextlib.nullcontext()
        if ordered.turns is not None:
            lost = unreliable(grid, ordered.turns, ordered.partition_of)
        with lost:
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
