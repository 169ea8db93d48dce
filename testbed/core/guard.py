# pyright: strict
"""A guard as a value: from what one position sees in a round, how suspicious the other side is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from testbed.core.people import Array, Cohort
from testbed.core.views import Exchange, ModelSpec, Parameters

Side = Literal["client", "server"]
Action = Literal["refuse", "warn"]
Memory: TypeAlias = dict[str, Array]
"""What a guard keeps between rounds, by name. A client's memory is never sent."""
CANNOT_TELL = math.nan
"""The signal of a guard that has too little to judge by. It never raises an alarm."""


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """One round as a client sees it before it trains: the model that it was sent, and its own records.

    `before` is its own exchange of the previous round in which it took part. `settings` is the server's configuration.
    Two values are equal only if they are the same object, so that what several guards need is computed once.
    """

    round: int
    client: int
    model: ModelSpec
    sent: Parameters
    records: Cohort
    before: Exchange | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Gathered:
    """One round as the server sees it before it aggregates: what each client was sent, and its update.

    An update is the change of the weights: returned minus sent weights (FedAvg), or minus the gradient (FedSGD).
    """

    round: int
    sent: Mapping[int, Parameters]
    updates: Mapping[int, Parameters]


Signal: TypeAlias = float | Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard with its parameters. `read(seen, memory, **params)` gives its signal; larger is more suspicious.

    A client's guard gives one signal a round, about the server. A server's guard gives one for each client.
    """

    name: str
    side: Side
    params: Mapping[str, Any]
    threshold: float
    read: Callable[..., Signal] = field(repr=False, compare=False)
    action: Action = "refuse"

    def check(self, seen: Received | Gathered, memory: Memory) -> Signal:
        """The signal of this round, or `CANNOT_TELL`. `memory` is changed: it is the guard's own between rounds."""
        return self.read(seen, memory, **self.params)

    def alarms(self, signal: float) -> bool:
        """Is this signal above the threshold?"""
        return signal > self.threshold
