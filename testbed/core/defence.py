"""A defence as a value: what it is called, what it does to a client's messages, and what it guarantees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Differential privacy over all rounds together: `epsilon` at `delta`, for one `unit` replaced; by which method."""

    epsilon: float
    delta: float
    unit: Literal["record", "client"]
    method: str


@dataclass(frozen=True, slots=True)
class Defence:
    """A configured client-side defence. `make(seed=..., **params)` gives its Flower mod.

    `promise(rounds, **params)` gives its guarantee, or None where it gives none (a heuristic). Where
    `before_protocol`, the mod sees messages before secure aggregation does; else it changes updates before they are
    masked.
    """

    name: str
    params: Mapping[str, Any]
    make: Callable[..., Any] = field(repr=False, compare=False)
    promise: Callable[..., Guarantee | None] | None = field(default=None, repr=False, compare=False)
    before_protocol: bool = False

    def mod(self, seed: int) -> Any:
        """The Flower mod; its randomness follows from `seed`, the client and the round."""
        return self.make(seed=seed, **self.params)

    def guarantee(self, rounds: int) -> Guarantee | None:
        """What holds after so many rounds; None where nothing is proven."""
        return self.promise(rounds, **self.params) if self.promise else None
