"""A defence as a value: its name, what it does to a client's messages, and what it guarantees."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Differential privacy over all rounds together: `epsilon` at `delta`, for one replaced `unit`.

    `method` names how it was computed.
    """

    epsilon: float
    delta: float
    unit: Literal["record", "client"]
    method: str


@dataclass(frozen=True, slots=True)
class Defence:
    """A defence on the client's side, with its parameters. `make(seed=..., **params)` gives its Flower mod.

    `promise(rounds, **params)` gives its guarantee, or None for a heuristic. With `before_protocol`, the mod sees a
    message before secure aggregation does; otherwise it changes updates before they are masked.
    """

    name: str
    params: Mapping[str, Any]
    make: Callable[..., Any] = field(repr=False, compare=False)
    promise: Callable[..., Guarantee | None] | None = field(default=None, repr=False, compare=False)
    before_protocol: bool = False
    secret: bool = False
    """Whether the noise comes from the operating system, as on records of real people: whoever knows a seed can remove
    the noise that was drawn by it, and a run's seed stands in its report."""

    def mod(self, seed: int) -> Any:
        """The Flower mod; its randomness follows from `seed`, or a secret one, and from the client and the round."""
        return self.make(seed=secrets.randbits(62) if self.secret else seed, **self.params)

    def guarantee(self, rounds: int) -> Guarantee | None:
        """The guarantee after this many rounds, or None if nothing is proven."""
        return self.promise(rounds, **self.params) if self.promise else None
