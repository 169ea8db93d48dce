"""The tap: the outermost strategy wrapper, which records what the server sends and receives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from testbed.core import Exchange, ModelSpec, Parameters, Protocol, Status, Threat, Transcript, frozen
from testbed.core.errors import RunError
from testbed.subjects.federation.messages import PARTITION_METRIC, to_parameters

REFUSED = 6
"""Flower's code of an error by which a client's mod says that it will not train (a failed precondition)."""


def record(strategy: Strategy, model: ModelSpec | None = None, protocol: Protocol | None = None) -> Tap:
    """A wrapper around any Flower strategy; after `start(...)`, its `.transcript()` is what the server saw.

    Clients are numbered by the metric `partition-id` if they report it, otherwise by ascending node id.
    """
    return Tap(strategy, model, protocol or Protocol())


class Tap(Strategy):
    """A strategy that passes everything on to `inner` and records each training exchange as it was sent."""

    def __init__(self, inner: Strategy, model: ModelSpec | None, protocol: Protocol) -> None:
        self.inner, self.model, self.protocol = inner, model, protocol
        self.partition_of: dict[int, int] = {}
        self.final: Parameters | None = None
        self._pending: dict[int, tuple[Parameters | None, dict[str, Any]]] = {}
        self._raw: list[tuple[int, int, Exchange]] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        messages = list(self.inner.configure_train(server_round, arrays, config, grid))
        self._pending = {m.metadata.dst_node_id: (to_parameters(m.content), _config(m.content)) for m in messages}
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answered = list(replies)
        for message in answered:
            node = message.metadata.src_node_id
            sent, config = self._pending.pop(node, (None, {}))
            failed = message.has_error()
            reported = {} if failed else _metrics(message.content)
            if PARTITION_METRIC in reported:
                self.partition_of[node] = int(reported[PARTITION_METRIC])
            returned = None if failed else to_parameters(message.content)
            refused = failed and message.error.code == REFUSED
            status: Status = "refused" if refused else "error" if failed else "ok"
            self._raw.append((server_round, node, Exchange(server_round, -1, sent, returned, reported, config, status)))
        for node, (sent, config) in self._pending.items():
            self._raw.append((server_round, node, Exchange(server_round, -1, sent, None, {}, config, "dropped")))
        self._pending = {}
        arrays, metrics = self.inner.aggregate_train(server_round, answered)
        if arrays is not None:
            self.final = {k: frozen(v.numpy()) for k, v in arrays.items()}
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self.inner.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return self.inner.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        self.inner.summary()

    def transcript(self) -> Transcript:
        """All exchanges so far, sorted by round and client. Raises `RunError` if there are none."""
        if not self._raw:
            raise RunError(
                "TB-RUN-002",
                "The tap recorded nothing.",
                "No training message passed through the wrapped strategy.",
                "Start the federation with the wrapped strategy: record(strategy).start(...).",
            )
        unnumbered = sorted({node for _, node, _ in self._raw} - self.partition_of.keys())
        free = [i for i in range(len(unnumbered) + len(self.partition_of)) if i not in self.partition_of.values()]
        number = {**self.partition_of, **dict(zip(unnumbered, free, strict=False))}
        exchanges = [
            Exchange(r, number[node], e.sent, e.returned, e.metrics, e.config, e.status) for r, node, e in self._raw
        ]
        exchanges.sort(key=lambda e: e.key)
        return Transcript(tuple(exchanges), self.model, self.protocol, "server", self.final)


def _config(content: RecordDict) -> dict[str, Any]:
    return {k: v for entry in content.config_records.values() for k, v in entry.items()}


def _metrics(content: RecordDict) -> dict[str, float]:
    return {
        k: float(v) for entry in content.metric_records.values() for k, v in entry.items() if isinstance(v, int | float)
    }


def seen_by(transcript: Transcript, threat: Threat) -> Transcript:
    """The part of a server's transcript that a position sees: the server all of it, a client its own exchanges."""
    if threat.position == "server":
        return transcript
    own = tuple(e for e in transcript.exchanges if e.client in threat.nodes)
    return Transcript(
        own,
        transcript.model,
        transcript.protocol,
        threat.position,
        transcript.final,
        transcript.act,
        transcript.memory,
    )


def summed(transcript: Transcript) -> Transcript:
    """What a server sees under secure aggregation: one exchange a round, with the number 0 for all clients together.

    It holds the mean of what the clients returned, weighted by their numbers of examples. A round is left out unless
    all clients received the same model and all of them answered.
    """
    by_round: dict[int, list[Exchange]] = {}
    for exchange in transcript.exchanges:
        by_round.setdefault(exchange.round, []).append(exchange)
    means: list[Exchange] = []
    for round_, exchanges in sorted(by_round.items()):
        sent, answers = exchanges[0].sent, [e.returned for e in exchanges if e.returned is not None]
        if sent is None or len(answers) < len(exchanges):
            continue
        if any(e.sent is None or any((e.sent[k] != v).any() for k, v in sent.items()) for e in exchanges):
            continue
        weights = np.array([e.metrics.get("num-examples", 1.0) for e in exchanges])
        shares = (weights / weights.sum()).astype(np.float32)
        mean = {k: sum(s * a[k] for s, a in zip(shares, answers, strict=True)) for k in sent}
        means.append(Exchange(round_, 0, sent, {k: frozen(np.asarray(v)) for k, v in mean.items()}))
    return replace(transcript, exchanges=tuple(means))
