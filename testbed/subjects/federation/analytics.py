"""Federated analytics: hospitals send statistics of their people each round, and the coordinator sends them pooled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array as Sent
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from testbed.core import Array, Cohort, ModelSpec, Parameters, Protocol, Transcript
from testbed.core.defence import Defence
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.models import summaries
from testbed.models.summaries import STATISTICS, Statistic
from testbed.subjects.federation import compat
from testbed.subjects.federation.apps import PARTITION, Ordered, identified
from testbed.subjects.federation.engines import ENGINES
from testbed.subjects.federation.messages import PARTITION_METRIC, to_parameters
from testbed.subjects.federation.tap import record


class Pooling(FedAvg):
    """A Flower strategy that pools the clients' statistics and sends them to all clients in the next round."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        told = [to_parameters(reply.content) for reply in replies if not reply.has_error()]
        return as_record(summaries.pooled([t for t in told if t is not None])), None


def as_record(told: Parameters) -> ArrayRecord:
    """Statistics as Flower sends them."""
    return ArrayRecord({name: Sent(np.ascontiguousarray(values)) for name, values in told.items()})


@dataclass(frozen=True, slots=True)
class Analytics:
    """A recipe: which statistic is sent of how many columns, how often, and with which defences.

    In each round after the first, `joining` more people stand in each hospital's table: its last ones by order.
    """

    statistic: Statistic
    columns: int
    clients: int
    rounds: int = 1
    joining: int = 1
    bins: int = 10
    seed: int = 0
    defences: tuple[Defence, ...] = ()

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise UsageError(
                "TB-RUN-013",
                f"There is no statistic called {self.statistic!r}.",
                "It says what a hospital computes of its people.",
                f"Use one of: {', '.join(STATISTICS)}.",
            )
        nobody = Cohort(np.zeros((1, self.columns), np.float32), np.ones(1, int), np.zeros(1, str))
        for defence in self.defences:  # one that does not go together with this statistic says so before anything runs
            defence.build(self.seed)(self.told(nobody), keyed_rng(self.seed))

    def present(self, people: int, round_: int) -> int:
        """How many of a hospital's people, the first ones by order, stand in its table in this round."""
        return people - (self.rounds - round_) * self.joining

    def arrivals(self, people: int, round_: int) -> Array:
        """The numbers of the people who joined before this round; none before the first."""
        before = self.present(people, round_ - 1) if round_ > 1 else 0
        return np.arange(before, self.present(people, round_)) if round_ > 1 else np.arange(0)

    def told(self, people: Cohort) -> dict[str, Array]:
        """The statistic of these people."""
        x = people.x.reshape(len(people), -1)
        match self.statistic:
            case "histograms":
                return summaries.histograms(x, self.bins)
            case "quantiles":
                return summaries.quantiles(x)
            case "curves":
                return summaries.curve(x[:, 0], people.y)

    def run(self, partitions: Sequence[Cohort], engine: str = "in-process") -> Transcript:
        """Asks each client for the statistics of its people, and returns what the server sees."""
        everyone: dict[str, Any] = {"min_train_nodes": self.clients, "min_available_nodes": self.clients}
        with compat.quiet():
            strategy = Pooling(fraction_evaluate=0.0, **everyone)
        ordered = Ordered(strategy, None)
        spec = ModelSpec("summaries", {"shape": [self.columns], "classes": 2})
        tap = record(ordered, spec, Protocol("unknown", rounds=self.rounds, clients=len(partitions)))
        tap.partition_of = ordered.partition_of
        app = ServerApp()

        @app.main()
        def main(grid: Grid, context: Context) -> None:
            ordered.meet(grid, len(partitions))
            nothing = as_record({summaries.PEOPLE: np.zeros(1)})
            tap.start(grid, nothing, num_rounds=self.rounds, train_config=ConfigRecord())

        return ENGINES[engine](app, client_app(partitions, self), len(partitions), tap.transcript)


def client_app(partitions: Sequence[Cohort], analytics: Analytics) -> ClientApp:
    """A ClientApp that answers with the statistics of the people who stand in its table in this round."""
    app = identified(ClientApp())
    changes = [(d.drawn(analytics.seed), d.name, d.build(analytics.seed)) for d in analytics.defences]

    @app.train()
    def train(message: Message, context: Context) -> Message:
        partition = int(context.node_config[PARTITION])
        round_ = int(str(next(iter(message.content.config_records.values()))["server-round"]))
        everybody = partitions[partition]
        present = analytics.present(len(everybody), round_)
        told = analytics.told(everybody.take(np.arange(present)))
        for seed, name, change in changes:
            told = change(told, keyed_rng(seed, name, partition, round_))
        metrics = MetricRecord({"num-examples": present, PARTITION_METRIC: partition})
        return Message(RecordDict({"arrays": as_record(told), "metrics": metrics}), reply_to=message)

    return app
