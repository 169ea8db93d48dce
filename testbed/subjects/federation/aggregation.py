"""A strategy wrapper that changes the clients' updates before they are averaged, or the average itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from testbed.core import Array, Parameters, Protocol
from testbed.subjects.federation.messages import to_parameters, with_parameters

Updates: TypeAlias = Sequence[dict[str, Array]]
Change: TypeAlias = Callable[[Updates, Array, int], Updates]
"""`(updates, shares, round)` to the updates that are averaged. `shares` (clients,) are their weights, with sum 1."""
Noise: TypeAlias = Callable[[dict[str, Array], Array, int], dict[str, Array]]
"""`(mean update, shares, round)` to the mean that the next model is made of."""


class Aggregation(Strategy):
    """The inner strategy, on updates that `change` has changed, and with `noise` on their mean.

    An update is a gradient (FedSGD), or new weights minus those that were sent (FedAvg).
    """

    def __init__(self, inner: Strategy, protocol: Protocol, change: Change, noise: Noise | None = None) -> None:
        self.inner, self.protocol, self.change, self.noise = inner, protocol, change, noise
        self._sent: Parameters = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self._sent = {k: v.numpy() for k, v in arrays.items()}
        return self.inner.configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answered = list(replies)
        whole = [m for m in answered if not m.has_error()]
        given = [to_parameters(m.content) for m in whole]
        shares = np.array([_records(m) for m in whole], float)
        shares /= shares.sum() or 1.0
        updates = [self._update(g) for g in given if g is not None]
        for message, update in zip(whole, self.change(updates, shares, server_round), strict=True):
            message.content = with_parameters(message.content, self._returned(update))
        arrays, metrics = self.inner.aggregate_train(server_round, answered)
        if arrays is None or self.noise is None:
            return arrays, metrics
        moved = {k: v.numpy() - self._sent[k] for k, v in arrays.items()}
        scale = -(self.protocol.learning_rate or 0.1) if self.protocol.kind == "fedsgd" else 1.0
        noisy = self.noise({k: v / scale for k, v in moved.items()}, shares, server_round)
        new = {k: (self._sent[k] + scale * v).astype(np.float32) for k, v in noisy.items()}
        return next(iter(with_parameters(RecordDict({"arrays": arrays}), new).array_records.values())), metrics

    def _update(self, returned: Parameters) -> dict[str, Array]:
        if self.protocol.kind == "fedsgd":
            return {k: np.asarray(v, np.float64) for k, v in returned.items()}
        return {k: np.asarray(v, np.float64) - self._sent[k] for k, v in returned.items()}

    def _returned(self, update: dict[str, Array]) -> dict[str, Array]:
        if self.protocol.kind == "fedsgd":
            return {k: v.astype(np.float32) for k, v in update.items()}
        return {k: (self._sent[k] + v).astype(np.float32) for k, v in update.items()}

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self.inner.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return self.inner.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        self.inner.summary()


def _records(message: Message) -> float:
    metrics = next(iter(message.content.metric_records.values()))
    return float(str(metrics["num-examples"]))


def everywhere(update: dict[str, Array], clients: int) -> Updates:
    """The same update for every client: its mean is this update, whatever the weights are."""
    return [update] * clients
