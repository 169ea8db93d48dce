# pyright: strict
"""Who looks, what they see, and what a malicious one does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from testbed.core.evidence import Unavailable
from testbed.core.people import Array, Cohort, Table
from testbed.core.threat import Position

Parameters: TypeAlias = Mapping[str, Array]

Status = Literal["ok", "error", "dropped", "refused"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A network by the name of its factory and its arguments, so that a transcript can rebuild it."""

    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Protocol:
    """What every party of the federation was told: the rules of its training."""

    kind: Literal["fedsgd", "fedavg", "unknown"] = "unknown"
    batch_size: int | None = None
    local_epochs: int = 1
    local_steps: int | None = None
    learning_rate: float | None = None
    optimizer: str = "sgd"
    momentum: float = 0.0
    rounds: int = 0
    clients: int = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message to a client and its answer. What the position cannot see is None."""

    round: int
    client: int
    sent: Parameters | None
    returned: Parameters | None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    status: Status = "ok"

    @property
    def key(self) -> tuple[int, int]:
        return self.round, self.client


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a position saw of a federation, round by round, and what its adversary noted down on the way.

    `memory` is what an acting adversary needs to read its own traces later; `act` names the attack that acted.
    """

    exchanges: tuple[Exchange, ...]
    model: ModelSpec | None
    protocol: Protocol
    position: Position = "server"
    final: Parameters | None = None
    act: str | None = None
    memory: Mapping[str, Array] = field(default_factory=dict[str, Array])


@dataclass(frozen=True, slots=True)
class Release:
    """A published synthetic table."""

    table: Table


@dataclass(frozen=True, slots=True)
class Predictor:
    """A released model as its users have it: `ask` gives the class probabilities (n, classes) of n records.

    A model that predicts a number also has `numbers`, predictions (n,) of inputs (n, features). The true number is then
    the last value of each record, and class 1 of two that of the truth (`testbed.subjects.predictors.regression`).
    `errors` gives prediction minus truth (n,), with its sign and on the scale of that last value.
    """

    ask: Callable[[Cohort], Array]
    classes: int
    numbers: Callable[[Array], Array] | None = None
    errors: Callable[[Cohort], Array] | None = None

    def labels_alone(self) -> Predictor:
        """The model as whoever sees only the predicted class has it: probability 1 for that class."""
        return Predictor(lambda people: np.eye(self.classes)[np.asarray(self.ask(people)).argmax(1)], self.classes)

    def within(self, budget: int) -> Predictor:
        """The model, which answers about `budget` records in all and raises `Unavailable` for more."""
        left = budget

        def spend(count: int) -> None:
            nonlocal left
            if count > left:
                raise Unavailable("budget_spent", f"a larger budget of queries than {budget}")
            left -= count

        def ask(people: Cohort) -> Array:
            spend(len(people))
            return self.ask(people)

        def numbers(x: Array) -> Array:
            assert self.numbers is not None
            spend(len(x))
            return self.numbers(x)

        def errors(people: Cohort) -> Array:
            assert self.errors is not None
            spend(len(people))
            return self.errors(people)

        return Predictor(ask, self.classes, self.numbers and numbers, self.errors and errors)


View: TypeAlias = Transcript | Release | Predictor


@dataclass(frozen=True, slots=True)
class Act:
    """What a malicious server or client does while the federation runs.

    Of a server: `model` replaces the architecture that clients are told to train; `craft(round, client, parameters)`
    replaces what is sent to one client; `observe(round, client, parameters)` is told what each returned. Of a client:
    `answer(round, client, sent, returned)` replaces what the clients in `nodes` return, after any defence. `unmask`
    asks clients under secure aggregation for all shares of everybody. `remember` is kept with the transcript.
    """

    model: ModelSpec | None = None
    craft: Callable[[int, int, Parameters], Parameters] | None = None
    remember: Mapping[str, Array] = field(default_factory=dict[str, Array])
    observe: Callable[[int, int, Parameters], None] | None = None
    answer: Callable[[int, int, Parameters, Parameters], Parameters] | None = None
    nodes: tuple[int, ...] = ()
    unmask: bool = False


Recipe: TypeAlias = Callable[..., View]
"""`(people, rng, act=None) -> View`: the pipeline under test, its configuration closed over.

The people of a federation come as one cohort a client.
"""
