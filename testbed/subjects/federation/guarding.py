"""Guards in a federation: a client's mod that looks before it trains, a server's strategy that looks before it sums."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from testbed.core import Cohort, Exchange, ModelSpec, Parameters
from testbed.core.errors import UsageError
from testbed.core.guard import Gathered, Guard, Memory, Received
from testbed.subjects.federation.apps import PARTITION, Ordered, one_thread
from testbed.subjects.federation.messages import REFUSED, to_parameters

LOG = logging.getLogger("testbed.guards")
PLACE = "testbed.guards"
"""Where a client's guards keep what they remember, in its context, which Flower never sends."""


def guarded(
    guards: Sequence[Guard],
    records: Callable[[Context], Cohort],
    model: ModelSpec | None = None,
    without: Sequence[int] = (),
) -> Mod:
    """A client's mod that lets `guards` look at each model before the client trains on it.

    An alarm is written to the client's own log. A guard that refuses answers with an error that says nothing else, so
    that the server does not learn which guard it was. `records` gives the client's own records. The model is the one
    that the server names, or `model`. The clients `without` guards are an attacker's own: they never refuse.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        sent = to_parameters(message.content)
        client = int(context.node_config.get(PARTITION, context.node_id))
        if sent is None or client in without or not message.metadata.message_type.startswith("train"):
            return call_next(message, context)
        settings = {k: v for entry in message.content.config_records.values() for k, v in entry.items()}
        seen = Received(
            int(str(settings.get("server-round", 0))),
            client,
            _model(settings, model),
            sent,
            records(context),
            _before(context),
            settings,
        )
        with one_thread():
            refused = [g for g in guards if _alarm(g, seen, context) and g.action == "refuse"]
        if refused:
            return Message(Error(REFUSED, "refused"), reply_to=message)
        reply = call_next(message, context)
        returned = None if reply.has_error() else to_parameters(reply.content)
        if returned is not None:
            context.state[f"{PLACE}.sent"] = _record(sent)
            context.state[f"{PLACE}.returned"] = _record(returned)
            context.state[f"{PLACE}.place"] = ConfigRecord({"round": seen.round, "client": seen.client})
        return reply

    return mod


def _model(settings: Mapping[str, Any], model: ModelSpec | None) -> ModelSpec:
    if "model" in settings:
        told = json.loads(str(settings["model"]))
        return ModelSpec(told["factory"], told["arguments"])
    if model is None:
        raise UsageError(
            "TB-GUARD-006",
            "A guard does not know the model that this client trains.",
            "The server's configuration does not name it, and none was given.",
            "Give guarded(..., model=ModelSpec(factory, arguments)).",
        )
    return model


def _alarm(guard: Guard, seen: Received, context: Context) -> bool:
    place = f"{PLACE}.{guard.name}"
    kept = context.state.get(place)
    memory: Memory = {k: v.numpy() for k, v in kept.items()} if isinstance(kept, ArrayRecord) else {}
    signal = guard.check(seen, memory)
    assert not isinstance(signal, Mapping)
    if memory:
        context.state[place] = _record(memory)
    if alarm := guard.alarms(signal):
        _say(guard, seen.round, seen.client, signal)
    return alarm


def _say(guard: Guard, round_: int, client: int, signal: float) -> None:
    what = "refuses" if guard.action == "refuse" else "warns"
    LOG.warning(
        "guard %s %s: round %d, client %d, %.3g is above %.3g",
        guard.name,
        what,
        round_,
        client,
        signal,
        guard.threshold,
    )


def _before(context: Context) -> Exchange | None:
    sent, returned = (context.state.get(f"{PLACE}.{part}") for part in ("sent", "returned"))
    place = context.state.get(f"{PLACE}.place")
    if not (isinstance(sent, ArrayRecord) and isinstance(returned, ArrayRecord) and isinstance(place, ConfigRecord)):
        return None
    given, answered = ({k: v.numpy() for k, v in part.items()} for part in (sent, returned))
    return Exchange(int(str(place["round"])), int(str(place["client"])), given, answered)


def _record(values: Parameters) -> ArrayRecord:
    return ArrayRecord({k: FlowerArray(v) for k, v in values.items()})


class Watching(Strategy):
    """A strategy wrapper that lets a server's guards look at the clients' updates before `inner` aggregates them.

    The updates of a client about which a guard refuses are left out of this round. `alarms` holds what was noticed:
    (round, client, guard, signal).
    """

    def __init__(self, inner: Ordered, guards: Sequence[Guard], fedsgd: bool) -> None:
        self.inner, self.guards, self.fedsgd = inner, guards, fedsgd
        self.alarms: list[tuple[int, int, str, float]] = []
        self._sent: dict[int, Parameters] = {}
        self._memories: dict[str, Memory] = {g.name: {} for g in guards}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        messages = list(self.inner.configure_train(server_round, arrays, config, grid))
        sent = {self.inner.partition_of[m.metadata.dst_node_id]: to_parameters(m.content) for m in messages}
        self._sent = {c: p for c, p in sent.items() if p is not None}
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answered = list(replies)
        of = {id(m): self.inner.partition_of.get(m.metadata.src_node_id) for m in answered}  # None: a lost client's
        updates: dict[int, Parameters] = {}
        for message in (m for m in answered if not m.has_error()):
            client, returned = of[id(message)], to_parameters(message.content)
            if returned is not None and client is not None and client in self._sent:
                updates[client] = self._update(self._sent[client], returned)
        refused = self._noticed(Gathered(server_round, self._sent, updates))
        return self.inner.aggregate_train(server_round, [m for m in answered if of[id(m)] not in refused])

    def _update(self, sent: Parameters, returned: Parameters) -> Parameters:
        return {k: -v for k, v in returned.items()} if self.fedsgd else {k: v - sent[k] for k, v in returned.items()}

    def _noticed(self, seen: Gathered) -> set[int]:
        refused: set[int] = set()
        for guard in self.guards:
            signals = guard.check(seen, self._memories[guard.name])
            assert isinstance(signals, Mapping)
            for client, signal in signals.items():
                if guard.alarms(signal):
                    self.alarms.append((seen.round, client, guard.name, signal))
                    _say(guard, seen.round, client, signal)
                    refused |= {client} if guard.action == "refuse" else set()
        return refused

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self.inner.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return self.inner.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        self.inner.summary()
