"""The tap: the outermost strategy wrapper, which records what the server sends and receives."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from testbed.core import Exchange, ModelSpec, Protocol, Status, Threat, Transcript, frozen
from testbed.core.errors import UsageError
from testbed.subjects.federation.messages import PARTITION_METRIC, REFUSED, to_parameters, values_of
from testbed.subjects.federation.recorder import Recorder, attempted
from testbed.subjects.federation.watched import watched


def record(
    strategy: Strategy,
    model: ModelSpec | None = None,
    protocol: Protocol | None = None,
    *,
    path: str | Path | None = None,
) -> Tap:
    """A wrapper around any Flower strategy; after `start(...)`, its `.transcript()` is what the server saw.

    With a `path`, everything is written to a spool beside it while the federation runs, and the transcript's file lies
    there when `start` ends. If the process is killed, the spool `path.spool` is a transcript up to the last whole
    round.

    It changes nothing of the federation: messages and errors pass through, attributes are the strategy's, and so is a
    `start` that the strategy defines itself. What cannot be read is recorded as unread (None). If the disk is full,
    the recording stops, and `.transcript()` says so. An answer that comes in a later round stands in the round of the
    message that it answers, with the metric `arrived-round`.

    Clients are numbered by the metric `partition-id` if they report it, otherwise by ascending node id. Raises
    `UsageError` for a strategy of the legacy package `flwr.server.strategy`, and where a spool lies already.
    """
    if not isinstance(strategy, Strategy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            "TB-RUN-009",
            f"A {type(strategy).__name__} of {type(strategy).__module__} cannot be recorded.",
            "Strategies of flwr.server.strategy are Flower's old ones; messages do not pass through them.",
            "Use the strategy of the same name in flwr.serverapp.strategy, or a subclass of its Strategy.",
        )
    return Tap(strategy, Recorder(Transcript((), model, protocol or Protocol()), None if path is None else Path(path)))


Sent: TypeAlias = tuple["int | None", dict[str, Any], "str | None"]
"""What went to a node: the arrays' number in the spool, the configuration, and the name of their record."""
ARRIVED = "arrived-round"
"""The metric of an answer that came in a later round than its message: which round that was."""
STEPS = ("configure_train", "aggregate_train", "configure_evaluate", "aggregate_evaluate")
"""The functions of a strategy that messages pass through."""


class Tap(Strategy):
    """A strategy that passes everything on to `inner` and records each exchange as it was sent."""

    def __init__(self, inner: Strategy, recorder: Recorder) -> None:
        self.inner = inner
        self.partition_of: dict[int, int] = {}
        self._recorder = recorder
        self._pending: dict[int, list[Sent]] = {}
        self._unanswered: dict[int, tuple[int, int | None, Sent]] = {}
        self._loose: list[Message] = []
        self._before = self._round = 0
        self._loosely: str | None = None
        self._watching = False

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
        self._before = self._recorder.latest
        grid = args[0] if args else kwargs.get("grid")
        with contextlib.nullcontext() if grid is None else self.watching(grid):
            return self._started(*args, **kwargs)

    @contextlib.contextmanager
    def watching(self, grid: Grid) -> Generator[None]:
        """A context in which what this grid sends is recorded; at its end the transcript's file is written.

        `start` is one. Use it for queries and for training that your app sends itself, in a loop of its own.
        """
        if self._watching:
            yield
            return
        self._watching = True
        try:
            with watched(grid, self._query, lambda sent: attempted(lambda: self._sending(sent)), self._came):
                yield
        finally:
            self._watching = False
            attempted(self._tie_up)
            self._recorder.finish(self.partition_of)

    def _started(self, *args: Any, **kwargs: Any) -> Any:
        own = type(self.inner).start
        if own is Strategy.start:
            return super().start(*args, **kwargs)
        if own is Tap.start:
            return self.inner.start(*args, **kwargs)
        passed = _Steps.of(self.inner)
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
        attempted(self._tie_up)
        self._round = server_round + self._before
        messages = list(steps.configure_train(server_round, arrays, config, grid))
        self._pending = self._all_sent(messages)
        return messages

    def _aggregate_train(
        self, steps: _Steps, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answered = list(replies)
        round_ = server_round + self._before
        self._loosely, self._loose = None, []
        self._all_answered(round_, self._pending, answered, None)
        self._pending = {}
        arrays, metrics = steps.aggregate_train(server_round, answered)
        final = None if arrays is None else self._recorder.arrays(lambda: {k: values_of(v) for k, v in arrays.items()})
        self._recorder.whole(round_, self.partition_of, final)
        return arrays, metrics

    def _configure_evaluate(
        self, steps: _Steps, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        messages = list(steps.configure_evaluate(server_round, arrays, config, grid))
        self._pending = self._all_sent(messages)
        return messages

    def _aggregate_evaluate(self, steps: _Steps, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        answered = list(replies)
        round_ = server_round + self._before
        self._loosely, self._loose = None, []
        if answered or self._pending:
            self._all_answered(round_, self._pending, answered, "evaluate")
            self._recorder.whole(round_, self.partition_of, None)
        self._pending = {}
        return steps.aggregate_evaluate(server_round, answered)

    def _query(self, messages: list[Message], answered: list[Message]) -> None:
        """Records queries and their answers, in the round that runs; 0 is before the first one."""
        kinds = {m.metadata.dst_node_id: m.metadata.message_type for m in messages}
        for kind in sorted(set(kinds.values())):
            pending = self._all_sent([m for m in messages if m.metadata.message_type == kind])
            theirs = [m for m in answered if kinds.get(m.metadata.src_node_id) == kind]
            self._all_answered(self._round, pending, theirs, kind)

    def _sending(self, messages: list[Message]) -> None:
        """Notes messages of an own loop before they go out; those of a strategy's steps are noted there."""
        for kind in sorted({m.metadata.message_type.partition(".")[0] for m in messages}):
            several = [m for m in messages if m.metadata.message_type.partition(".")[0] == kind]
            if self._loosely is None and self._pending:
                return
            asked = {m.metadata.dst_node_id for m in several}
            if self._loosely not in (None, kind) or asked & {m.metadata.src_node_id for m in self._loose}:
                self._tie_up()
            self._loosely = kind
            for node, sent in self._all_sent(several).items():
                self._pending.setdefault(node, []).extend(sent)

    def _came(self, answers: list[Message]) -> None:
        if self._loosely is not None:
            self._loose += answers

    def _tie_up(self) -> None:
        """Records messages of an own loop whose answers no step of the strategy was given."""
        if self._loosely is None:
            return
        kind = None if self._loosely == "train" else self._loosely
        self._round = self._recorder.latest + (kind is None)
        self._all_answered(self._round, self._pending, self._loose, kind)
        self._recorder.whole(self._round, self.partition_of, None)
        self._loosely, self._loose, self._pending = None, [], {}

    def _all_sent(self, messages: Iterable[Message]) -> dict[int, list[Sent]]:
        """What was sent, by node, as it stands in the spool."""
        pending: dict[int, list[Sent]] = {}
        read: dict[int, Sent] = {}  # most strategies send one content to all, which is read once
        for message in messages:
            if id(message.content) not in read:
                read[id(message.content)] = self._sent(message.content)
            pending.setdefault(message.metadata.dst_node_id, []).append(read[id(message.content)])
        return pending

    def _all_answered(
        self, round_: int, pending: dict[int, list[Sent]], answered: Iterable[Message], kind: str | None
    ) -> None:
        """Records answers, and messages that nobody answered. `kind` is the type of those that train nothing."""
        for message in answered:
            self._note(round_, pending, message, kind)
        for node, several in pending.items():
            for sent in several:
                number = self._recorder.exchange((round_, node), (sent[0], None), "dropped", {}, sent[1], kind)
                if kind is None:
                    self._unanswered[node] = round_, number, sent

    def _sent(self, content: RecordDict) -> Sent:
        name = next(iter(content.array_records), None)
        arrays = self._recorder.arrays(lambda: to_parameters(content, name))
        return arrays, attempted(lambda: _config(content)) or {}, name

    def _note(self, round_: int, pending: dict[int, list[Sent]], message: Message, kind: str | None) -> None:
        node = message.metadata.src_node_id
        if message.has_error() and node not in pending:
            return  # a SuperLink's answer in place of a lost node, whose own message stays unanswered
        waiting = pending.get(node, [])
        sent, config, record_name = waiting.pop(0) if waiting else (None, {}, None)
        again, arrived = None, round_
        if sent is None and kind is None and node in self._unanswered:  # an answer to a message of an earlier round
            round_, again, (sent, config, record_name) = self._unanswered.pop(node)
        failed = message.has_error()
        reported: dict[str, float] = {} if failed else attempted(lambda: _metrics(message.content)) or {}
        partition = reported.get(PARTITION_METRIC, math.nan)
        if math.isfinite(partition) and int(partition) not in self.partition_of.values():
            self.partition_of.setdefault(node, int(partition))
        returned = None if failed else self._recorder.arrays(lambda: to_parameters(message.content, record_name))
        refused = failed and message.error.code == REFUSED
        status: Status = "refused" if refused else "error" if failed else "ok"
        if again is not None:
            reported[ARRIVED] = float(arrived)
        self._recorder.exchange((round_, node), (sent, returned), status, reported, config, kind, again)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self._configure_evaluate(_Steps.of(self.inner), server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return self._aggregate_evaluate(_Steps.of(self.inner), server_round, replies)

    def summary(self) -> None:
        self.inner.summary()

    def transcript(self) -> Transcript:
        """All exchanges so far, sorted by round and client.

        Raises `RunError` if there are none, and `UsageError` if the recording stopped.
        """
        return self._recorder.transcript(self.partition_of)


@dataclass(frozen=True, slots=True)
class _Steps:
    """A strategy's own steps."""

    configure_train: Callable[..., Iterable[Message]]
    aggregate_train: Callable[..., tuple[ArrayRecord | None, MetricRecord | None]]
    configure_evaluate: Callable[..., Iterable[Message]]
    aggregate_evaluate: Callable[..., MetricRecord | None]

    @staticmethod
    def of(strategy: Strategy) -> _Steps:
        return _Steps(*(getattr(strategy, name) for name in STEPS))


def _config(content: RecordDict) -> dict[str, Any]:
    return {k: v for entry in content.config_records.values() for k, v in entry.items()}


def _metrics(content: RecordDict) -> dict[str, float]:
    return {
        k: float(v) for entry in content.metric_records.values() for k, v in entry.items() if isinstance(v, int | float)
    }


def seen_by(transcript: Transcript, threat: Threat) -> Transcript:
    """The part of a server's transcript that a position sees: the server all of it, a client its own exchanges.

    Whoever is the server in turns sees all of those rounds, and of the others its own exchanges.
    """
    turns = threat.turns or ()
    if threat.position == "server" and threat.turns is None:
        return transcript
    own = tuple(e for e in transcript.exchanges if e.client in threat.nodes or e.round in turns)
    asked = tuple(e for e in transcript.asked if e.client in threat.nodes or e.round in turns)
    return replace(transcript, exchanges=own, asked=asked, position=threat.position)


def summed(transcript: Transcript) -> Transcript:
    """What a server sees under secure aggregation: one exchange a round, with the number 0 for all clients together.

    It holds the mean of what the clients returned, weighted by their numbers of examples. Clients that dropped out send
    nothing, and the mean is over the others. A round is left out if clients received different models, or if one of
    them failed or refused.
    """
    by_round: dict[int, list[Exchange]] = {}
    for exchange in (e for e in transcript.exchanges if e.status != "dropped"):
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
