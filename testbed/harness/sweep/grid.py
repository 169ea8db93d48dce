# pyright: strict
"""The grid of a sweep: which parameters take which levels, and the cells that this makes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.core import catalogue, parameters, user_code
from testbed.core.errors import UsageError
from testbed.findings.plan import FEWEST_RUNS
from testbed.harness import scenario as scenarios

APART = 1_000
"""How far the seeds of two replicates lie apart, if a scenario itself uses several seeds (its parameter `runs`)."""
MANY, MOST = 1_000, 1_000_000
"""From MANY cells on, a sweep asks before it starts. From MOST on, it does not start."""
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Grid:
    """What a sweep is asked to run: the levels of each parameter, and `replicates` of each combination.

    `given` holds the parameters that are the same in every cell, `defaults` those that nobody named.
    """

    scenario: str
    defaults: Mapping[str, Any]
    given: Mapping[str, Any]
    levels: Mapping[str, Sequence[Any]]
    seed: int = 0
    replicates: int = 1
    engine: str | None = None

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.levels.values()) * self.replicates

    def cells(self) -> Iterator[Cell]:
        """The cells: all combinations of the first replicate, then all of the second, so that pairs finish early."""
        fixed = {k: v for k, v in {**self.defaults, **self.given}.items() if k != "seed"}
        apart = APART if "runs" in fixed else 1
        for replicate in range(self.replicates):
            for chosen in itertools.product(*self.levels.values()):
                params = {**fixed, **dict(zip(self.levels, chosen, strict=True))}
                yield Cell(self.scenario, params, self.seed + apart * replicate, replicate, self.engine)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep. Cells with the same replicate have the same seed, so they ask about the same people."""

    scenario: str
    params: Mapping[str, Any]
    seed: int
    replicate: int
    engine: str | None = None


def parse(texts: Sequence[str]) -> dict[str, list[str]]:
    """The levels in `key=a,b,c` texts, or in `key=a;b,c;d` where a level itself holds a comma.

    A key that is given twice has the levels of both. Raises `UsageError`.
    """
    levels: dict[str, list[str]] = {}
    for text in texts:
        key, separator, values = text.partition("=")
        parts = [part.strip() for part in (values.rstrip(";").split(";") if ";" in values else values.split(","))]
        if not separator or not key or not all(parts):
            raise UsageError(
                "TB-SWEEP-001",
                f"{text!r} is not a parameter with its levels.",
                "Every level must be there: an empty one would be run as something else.",
                "Write --grid key=a,b,c, or key='a;b,c' where a level holds a comma; the option may be repeated.",
            )
        levels.setdefault(key, []).extend(parts)
    return levels


def parse_fixed(texts: Sequence[str]) -> dict[str, str]:
    """The parameters of all cells, from `key=value` texts. What is no such text is told when its value is read."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def grid(
    scenario: str,
    levels: Mapping[str, Sequence[Any]],
    given: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    replicates: int = 1,
    engine: str | None = None,
) -> Grid:
    """The grid with every value in the type of the parameter's default, and every level once.

    Nothing is run and, if possible, nothing is imported. Raises `UsageError` for an unknown scenario, parameter or
    level, for a value outside its range, and for replicates that no interval can stand on.
    """
    fixed = dict(given or {})
    if twice := sorted(set(fixed) & set(levels)):
        raise UsageError(
            "TB-SWEEP-002",
            f"The parameter {twice[0]!r} is given once for all cells, and with levels.",
            "It would not be clear which of the two counts.",
            "Leave one of them out.",
        )
    if replicates < 1 or 1 < replicates < FEWEST_RUNS or seed + APART * replicates > LARGEST_SEED:
        raise UsageError(
            "TB-SWEEP-003",
            f"{replicates} replicates from seed {seed} cannot be run.",
            f"An interval over runs needs {FEWEST_RUNS} runs or more. Seeds end at {LARGEST_SEED}.",
            f"Use --replicates 1, or {FEWEST_RUNS} or more, and a smaller --seed.",
        )
    defaults = _defaults(scenario)
    typed = {key: _typed(scenario, defaults, key, value) for key, value in fixed.items()}
    read = {
        key: list(dict.fromkeys(_typed(scenario, defaults, key, v) for v in values)) for key, values in levels.items()
    }
    return Grid(scenario, defaults, typed, read, seed, replicates, engine)


def _defaults(scenario: str) -> Mapping[str, Any]:
    entry = None if user_code.named(scenario) else catalogue.known("scenario", scenario)
    return entry.defaults if entry is not None and entry.readable else scenarios.find(scenario).defaults


def _typed(scenario: str, defaults: Mapping[str, Any], key: str, value: Any) -> Any:
    """The value as the scenario takes it. Raises `UsageError` for one that it cannot take."""
    number = key in defaults and key != "seed" and not isinstance(defaults[key], str | catalogue.Unread)
    text = f"{value}"
    read = parameters.typed(key, text, defaults[key]) if number else scenarios.parse(scenario, [f"{key}={text}"])[key]
    parameters.check(key, read, defaults[key], "TB-SWEEP-004")
    return read
