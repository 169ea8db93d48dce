"""The tap: the outermost strategy wrapper, which records what the server sends and receives."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from testbed.core import Exchange, ModelSpec, Parameters, Protocol, Status, Threat, Transcript, frozen
from testbed.core.errors import RunError, UsageError
from testbed.subjects.federation.messages import PARTITION_METRIC, to_parameters

_LOG = logging.getLogger("testbed")
REFUSED = 6
"""Flower's code of an error by which a client's mod says that it will not train (a failed precondition)."""


def record(strategy: Strategy, model: ModelSpec | None = None, protocol: Protocol | None = None) -> Tap:
    """A wrapper around any Flower strategy; after `start(...)`, its `.transcript()` is what the server saw.

    It changes nothing of the federation: messages and errors pass through, attributes are the strategy's, and so is a
    `start` that the strategy defines itself. What cannot be read is recorded as unread (None).

    Clients are numbered by the metric `partition-id` if they report it, otherwise by ascending node id. Raises
    `UsageError` for a strategy of the legacy package `flwr.server.strategy`.
    """
    if not isinstance(strategy, Strategy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            "TB-RUN-009",
            f"A {type(strategy).__name__} of {type(strategy).__module__} cannot be recorded.",
            "Strategies of flwr.server.strategy are Flower's old ones; messages do not pass through them.",
            "Use the strategy of the same name in flwr.serverapp.strategy, or a subclass of its Strategy.",
        )
    return Tap(strategy, model, protocol or Protocol())


Sent: TypeAlias = tuple["Parameters | None", dict[str, Any], "str | None"]
"""What went to a node: the arrays, the configuration, and the name of their record."""
STEPS = ("configure_train", "aggregate_train")
"""The functions of a strategy that training messages pass through."""


class Tap(Strategy):
    """A strategy that passes everything on to `inner` and records each training exchange as it was sent."""

    def __init__(self, inner: Strategy, model: ModelSpec | None, protocol: Protocol) -> None:
        self.inner, self.model, self.protocol = inner, model, protocol
        self.partition_of: dict[int, int] = {}
        self.final: Parameters | None = None
        self._pending: dict[int, list[Sent]] = {}
        self._raw: list[tuple[int, int, Exchange]] = []
        self._before = 0

    def __getattr__(self, name: str) -> Any:
        """An attribute of the strategy."""
        if name == "inner":  # not set yet, while a copy is made
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute of the strategy, if it has one of this name and the wrapper none."""
        inner = vars(self).get("inner")
        ours = inner is None or name.startswith("_") or name in vars(self) or not hasattr(inner, name)
        if ours:
            super().__setattr__(name, value)
        else:
            setattr(inner, name, value)

    def start(self, *args: Any, **kwargs: Any) -> Any:
        """The strategy's own `start`, with this wrapper in its training steps. A second one counts its rounds on."""
        self._before = max((round_ for round_, _, _ in self._raw), default=0)
        own = type(self.inner).start
        if own is Strategy.start:
            return super().start(*args, **kwargs)
        if own is Tap.start:
            return self.inner.start(*args, **kwargs)
        steps = {name: getattr(self.inner, name) for name in STEPS}
        passed = _Steps(steps["configure_train"], steps["aggregate_train"])
        before = {name: vars(self.inner)[name] for name in STEPS if name in vars(self.inner)}
        for name in STEPS:
            setattr(self.inner, name, partial(getattr(self, f"_{name}"), passed))
        try:
            return self.inner.start(*args, **kwargs)
        finally:
            for name in STEPS:
                delattr(self.inner, name)
            vars(self.inner).update(before)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self._configure_train(_Steps.of(self.inner), server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        return self._aggregate_train(_Steps.of(self.inner), server_round, replies)

    def _configure_train(
        self, steps: _Steps, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        messages = list(steps.configure(server_round, arrays, config, grid))
        self._pending = {}
        read: dict[int, Sent] = {}  # most strategies send one content to all, which is read once
        for message in messages:
            if id(message.content) not in read:
                read[id(message.content)] = _sent(message.content)
            self._pending.setdefault(message.metadata.dst_node_id, []).append(read[id(message.content)])
        return messages

    def _aggregate_train(
        self, steps: _Steps, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answered = list(replies)
        round_ = server_round + self._before
        for message in answered:
            self._note(round_, message)
        for node, several in self._pending.items():
            for sent, config, _ in several:
                self._raw.append((round_, node, Exchange(round_, -1, sent, None, {}, config, "dropped")))
        self._pending = {}
        arrays, metrics = steps.aggregate(server_round, answered)
        if arrays is not None:
            self.final = attempted(lambda: {k: frozen(v.numpy()) for k, v in arrays.items()})
        return arrays, metrics

    def _note(self, round_: int, message: Message) -> None:
        node = message.metadata.src_node_id
        waiting = self._pending.get(node, [])
        sent, config, record_name = waiting.pop(0) if waiting else (None, {}, None)
        failed = message.has_error()
        reported: dict[str, float] = {} if failed else attempted(lambda: _metrics(message.content)) or {}
        partition = reported.get(PARTITION_METRIC, math.nan)
        if math.isfinite(partition) and int(partition) not in self.partition_of.values():
            self.partition_of.setdefault(node, int(partition))
        returned = None if failed else attempted(lambda: to_parameters(message.content, record_name))
        refused = failed and message.error.code == REFUSED
        status: Status = "refused" if refused else "error" if failed else "ok"
        self._raw.append((round_, node, Exchange(round_, -1, sent, returned, reported, config, status)))

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


@dataclass(frozen=True, slots=True)
class _Steps:
    """A strategy's own training steps."""

    configure: Callable[..., Iterable[Message]]
    aggregate: Callable[..., tuple[ArrayRecord | None, MetricRecord | None]]

    @staticmethod
    def of(strategy: Strategy) -> _Steps:
        return _Steps(strategy.configure_train, strategy.aggregate_train)


T = TypeVar("T")


def attempted(read: Callable[[], T]) -> T | None:
    """What `read` gives, or None if it fails: a recorder never ends what it records."""
    try:
        return read()
    except Exception:  # an app's own encodings may raise anything
        _LOG.warning("the recorder could not read a message; it passes on unchanged, and is recorded as unread")
        return None


def _sent(content: RecordDict) -> Sent:
    name = next(iter(content.array_records), None)
    return attempted(lambda: to_parameters(content, name)), attempted(lambda: _config(content)) or {}, name


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
