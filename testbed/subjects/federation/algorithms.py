"""Federated algorithms beyond FedSGD and FedAvg: the rule of the server, and what a client keeps between rounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx

from testbed import models
from testbed.core import Array, ModelSpec, Parameters, Protocol
from testbed.subjects.federation.messages import model_of, to_record, with_parameters

CONTROL = "control"
"""The record of a message that holds a control variate, and where a client keeps its own."""
PERSONAL = "testbed.personal"
"""Where a client keeps its personal layers, in its context, which Flower never sends."""


class FedSGD(FedAvg):
    """FedSGD (McMahan et al. 2017): clients send gradients, and the server takes a step against their weighted mean."""

    def __init__(self, learning_rate: float = 0.1, **kwargs: Any) -> None:
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


class Adam(FedAdam):
    """Flower's FedAdam (Reddi et al. 2021), whose next model is sent in 32 bits, as models are under every strategy."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        arrays, metrics = super().aggregate_train(server_round, replies)
        return arrays and to_record({k: v.numpy().astype(np.float32) for k, v in arrays.items()}), metrics


class AdamOfGradients(Adam, FedSGD):
    """The same where clients send gradients: the step that FedSGD would take is what Adam averages."""


class Scaffold(FedAvg):
    """SCAFFOLD (Karimireddy et al. 2020): the server sends model and control, clients return weights and differences.

    The next model is the plain mean of the weights returned, and the control moves by the sum of the differences over
    all clients, asked or not.
    """

    def __init__(self, clients: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.clients = clients
        self._control: dict[str, Array] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        messages = list(super().configure_train(server_round, arrays, config, grid))
        self._control = self._control or {k: np.zeros_like(v.numpy()) for k, v in arrays.items()}
        content = RecordDict({self.arrayrecord_key: arrays, CONTROL: to_record(self._control)})
        content[self.configrecord_key] = config
        for message in messages:
            message.content = content
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        contents = [m.content for m in replies if not m.has_error()]
        if not contents:
            return None, None
        weights = [model_of(c) or {} for c in contents]
        moved = [{k: v.numpy() for k, v in c.array_records[CONTROL].items()} for c in contents]
        for name, values in self._control.items():
            self._control[name] = (values + sum(m[name] for m in moved) / self.clients).astype(values.dtype)
        mean = {k: np.mean([w[k] for w in weights], axis=0, dtype=np.float64).astype(np.float32) for k in weights[0]}
        return to_record(mean), self.train_metrics_aggr_fn(contents, self.weighted_by_key)


def strategy_for(protocol: Protocol, evaluates: bool = False) -> FedAvg:
    """The strategy of a protocol, with all clients in every round: Flower's own FedAvg, FedProx or FedAdam, or ours.

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
    if protocol.controls:
        return Scaffold(protocol.clients, **everyone)
    if protocol.server == "adam":
        made = (AdamOfGradients if protocol.kind == "fedsgd" else Adam)(eta=protocol.server_rate or 0.1, **everyone)
        if isinstance(made, AdamOfGradients):
            made.learning_rate = protocol.learning_rate or 0.1
        return made
    if protocol.kind == "fedsgd":
        return FedSGD(protocol.learning_rate or 0.1, **everyone)
    if protocol.proximal_mu:
        return FedProx(proximal_mu=protocol.proximal_mu, **everyone)
    return FedAvg(**everyone)


class Own:
    """What a client keeps between rounds, and never sends: its personal layers, and its control variate."""

    def __init__(self, context: Context, spec: ModelSpec, protocol: Protocol, seed: int) -> None:
        self._context, self._spec, self._protocol, self._seed = context, spec, protocol, seed

    def layers(self) -> dict[str, Array]:
        """The personal layers by name: at first as `seed` draws the model, the same for all clients."""
        if not self._protocol.personal:
            return {}
        kept = self._context.state.get(PERSONAL)
        if isinstance(kept, ArrayRecord):
            return {k: v.numpy() for k, v in kept.items()}
        model = models.build(self._spec, self._seed)
        drawn = models.get_parameters(model)
        return {k: drawn[k] for k in models.last_layers(model, self._protocol.personal)}

    def apart(self, full: Parameters) -> dict[str, Array]:
        """What is sent of a model (or of its gradient) after training; the personal layers are kept here."""
        before = self.layers()
        if before:
            rate = np.float32(self._protocol.learning_rate or 0.1)
            plain = self._protocol.kind == "fedsgd"
            kept = {k: v - rate * full[k] if plain else full[k] for k, v in before.items()}
            self._context.state[PERSONAL] = to_record(kept)
        return {k: v for k, v in full.items() if k not in before}

    def correction(self, content: RecordDict) -> dict[str, Array] | None:
        """What SCAFFOLD adds to each gradient: the server's control minus the client's own."""
        if not self._protocol.controls:
            return None
        server = {k: v.numpy() for k, v in content.array_records[CONTROL].items()}
        own = self._control(server)
        return {k: v - own[k] for k, v in server.items()}

    def new_control(self, correction: Parameters, sent: Parameters, returned: Parameters, steps: int) -> ArrayRecord:
        """The difference to the client's last control, which it sends; the new control is kept (option II)."""
        own, scale = self._control(correction), steps * (self._protocol.learning_rate or 0.1)
        new = {k: (np.asarray(sent[k], np.float64) - returned[k]) / scale - v for k, v in correction.items()}
        difference = {k: (v - own[k]).astype(np.float32) for k, v in new.items()}
        self._context.state[CONTROL] = to_record({k: v + difference[k] for k, v in own.items()})
        return to_record(difference)

    def _control(self, like: Parameters) -> dict[str, Array]:
        kept = self._context.state.get(CONTROL)
        if isinstance(kept, ArrayRecord):
            return {k: v.numpy() for k, v in kept.items()}
        return {k: np.zeros_like(v) for k, v in like.items()}
