"""What the conformance suite asks of a defence: its changes to single messages, without a federation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from flwr.app import Array as Sent
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from testbed.core import Array, Cohort, Parameters, Predictor, Protocol
from testbed.core.defence import Defence, Exposure, Pipeline, Synthesis
from testbed.defences.registry import REQUIRED, Registered
from testbed.models import summaries
from testbed.subjects.federation.aggregation import Aggregation
from testbed.subjects.federation.compat import identity
from testbed.subjects.federation.local import LocalRule
from testbed.subjects.federation.messages import to_parameters

STRENGTH = 1.0
"""Value of a parameter that has no default, such as `noise`."""


def configured(registered: Registered, strength: float = STRENGTH) -> Defence:
    """The defence with its defaults; every parameter without one is `strength`."""
    return registered(**{name: strength for name, default in registered.defaults.items() if default is REQUIRED})


def sends(
    defence: Defence,
    update: Parameters,
    *,
    seed: int = 0,
    client: int = 0,
    round_: int = 1,
    kind: str = "fedsgd",
    message_type: str = "train",
) -> Message:
    """The message that a client with this defence sends if it would send this update without one.

    Under `fedsgd` the update is a gradient. Otherwise the client sends the global model, all ones, plus the update.
    """
    start = {name: np.ones_like(values) for name, values in update.items()}
    told = ConfigRecord({"server-round": round_, "kind": kind})
    with identity():
        asked = Message(content(start, told), dst_node_id=0, message_type=message_type)
    node: Mapping[str, Any] = {"partition-id": client, "num-partitions": 2}
    context = Context(0, 0, dict(node), RecordDict(), {})

    def train(message: Message, _: Context) -> Message:
        sent = {k: v if kind == "fedsgd" else start[k] + v for k, v in update.items()}
        return Message(content(sent, MetricRecord({"num-examples": 7, "partition-id": client})), reply_to=message)

    with identity():
        return defence.build(seed)(asked, context, train)


def changed(defence: Defence, value: float, seed: int, exposure: Exposure) -> float:
    """What an attacker sees of one number that would be `value` without the defence, wherever the defence works."""
    far = np.full(1, value, np.float32)
    built = defence.build(seed, exposure)
    if defence.where == "training":
        rule: LocalRule = built
        gradient = rule(lambda *_: {"w": torch.from_numpy(far)}, np.random.default_rng(seed))
        return float(gradient(torch.nn.ParameterDict({"w": torch.zeros(1)}), torch.zeros(1, 1), torch.zeros(1))["w"])
    if defence.where == "pipeline":
        return _votes_for_class_one(built, value, seed)
    if defence.where == "generator":
        return _released_share(built, value)
    if defence.where == "statistics":
        told = summaries.histograms(np.array([[value > 0]]), 2)
        return float(built(told, np.random.default_rng(seed))[summaries.HISTOGRAM][0, 1])
    if defence.where == "server":
        wrapped: Aggregation = built(FedAvg(), Protocol(clients=1))
        (mean,) = wrapped.change([{"w": far.astype(float)}], np.ones(1), 1)
        return float((wrapped.noise(mean, np.ones(1), 1) if wrapped.noise else mean)["w"][0])
    return float(update_of(sends(defence, {"w": far}, seed=seed))["w"][0])


def _votes_for_class_one(pipeline: Pipeline, value: float, seed: int, members: int = 10) -> float:
    """How many of four people outside get class 1 by a released model, if one member has this value.

    All other members are divided evenly, and a training gives everybody the class of its members' mean.
    """
    x = np.array([value, *(1.0 if i % 2 else -1.0 for i in range(1, members - 1)), -1.0])[:, None]
    outside = Cohort(np.zeros((4, 1)), np.zeros(4, int), np.arange(4) + members)
    labels: list[Array] = []

    def fit(people: Cohort, rng: np.random.Generator, soft: Array | None = None) -> Predictor:
        labels.append(np.zeros((len(people), 2)) if soft is None else soft)
        named = int(people.x.mean() > 0)
        return Predictor(lambda asked: np.eye(2)[np.full(len(asked), named)], 2)

    pipeline(fit, outside)(Cohort(x, np.zeros(members, int), np.arange(members)), np.random.default_rng(seed))
    return float(labels[-1][:, 1].sum())


def _released_share(made: Synthesis, value: float, members: int = 10) -> float:
    """The share of "a" among rows that are drawn from ten people, of whom one has "a" or "b" by the sign of `value`."""
    people = pd.DataFrame({"x": ["a" if value > 0 else "b", *["b"] * (members - 1)]})
    return float((made(people, 50, pd.DataFrame({"x": ["a", "b"]}))["x"] == "a").mean())


def content(arrays: Parameters, record: ConfigRecord | MetricRecord) -> RecordDict:
    return RecordDict(
        {"arrays": ArrayRecord({k: Sent(np.ascontiguousarray(v)) for k, v in arrays.items()}), "told": record}
    )


def update_of(message: Message, kind: str = "fedsgd") -> dict[str, Array]:
    """The update that a message contains."""
    arrays = to_parameters(message.content)
    assert arrays is not None
    return {k: v if kind == "fedsgd" else v - np.ones_like(v) for k, v in arrays.items()}


def some_update(seed: int = 0) -> Parameters:
    rng = np.random.default_rng(seed)
    return {
        "layer.weight": rng.normal(size=(4, 3)).astype(np.float32),
        "layer.bias": rng.normal(size=4).astype(np.float32),
    }
