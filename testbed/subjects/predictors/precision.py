"""Answers that were written with different precision for members and controls, brought to the coarser one.

An attacker would recognise the file that a person stands in, and that would look like a leak of the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.data.tables.encode import as_numbers

FEWEST = 30
"""Rows of a group from which its precision is looked at."""
VALUES, VALUES_OF_TENTHS = 10, 5
"""Different values on a grid from which it is a way to write numbers and not a model's few answers. Tenths are few."""
ON, APART = 0.95, 0.25
"""Share of a group's rows that stand on its grid, and by how much that of another group is smaller."""
LOWEST, PILED = 0.005, 10
"""The largest bound that counts as a clip, and how many times as often it occurs as any other value near it."""
NOTE = "members and controls were written differently; all answers were brought to {}"


@dataclass(frozen=True, slots=True)
class Grid:
    """Numbers of one precision. `to` brings numbers to it; `on` says which stand on it; `words` name it."""

    words: str
    to: Callable[[Array], Array]
    on: Callable[[Array], Array]


def _steps(step: float) -> Grid:
    def to(values: Array) -> Array:
        return np.round(values / step) * step if step >= 1 else np.round(values / step) / round(1 / step)

    def on(values: Array) -> Array:
        return np.abs(to(values) - values) <= 1e-6 * step + 4e-16 * np.abs(values)

    return Grid(f"multiples of {step:g}", to, on)


def _digits(digits: int) -> Grid:
    def to(values: Array) -> Array:
        size = np.floor(np.log10(np.abs(values), where=values != 0, out=np.zeros_like(values)))
        shift = digits - 1 - size
        return np.round(values * 10.0**shift) / 10.0**shift

    def on(values: Array) -> Array:
        # 1 - p has as few digits as p, apart from the rounding of the difference.
        return np.abs(to(values) - values) <= 4e-16 * np.maximum(np.abs(values), 10.0**-digits)

    return Grid(f"{digits} significant digits", to, on)


def _floats(kind: type[np.float32] | type[np.float16], words: str) -> Grid:
    def to(values: Array) -> Array:
        return values.astype(kind).astype(np.float64)

    def on(values: Array) -> Array:
        stands = to(values) == values
        rest = ~stands & _digits(9).on(values)  # as a file has them: the fewest digits that name this number
        stands[rest] = values[rest].astype(kind).astype(str).astype(np.float64) == values[rest]
        return stands

    return Grid(words, to, on)


def _grids() -> Iterator[Grid]:
    """All grids, the coarsest first."""
    for power in range(6, -7, -1):
        yield from (_steps(factor * 10.0**power) for factor in (5, 2, 1))
    yield _floats(np.float16, "float16")
    yield from map(_digits, range(1, 8))
    yield _floats(np.float32, "float32")
    yield from (_steps(10.0**power) for power in range(-7, -10, -1))
    yield from map(_digits, range(8, 11))


GRIDS = tuple(_grids())


def on_one_grid(
    frame: pd.DataFrame, shadows: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame | None, dict[str, str]]:
    """The predictions and the shadow models' answers in one precision, and a note if that changed them.

    Groups are compared: members and controls, and of shadow models also people who were used and who were not. Answers
    that are all in one precision stay as they are, bit for bit.
    """
    names = _answers(frame)
    tables = [frame] if shadows is None else [frame, shadows]
    needed = [{"arm", "id"}, {"id", "used"}]
    if not names or any(
        set(names) - set(t.columns) or n - set(t.columns) for t, n in zip(tables, needed, strict=False)
    ):
        return frame, shadows, {}
    values = [np.asarray(t[names].apply(as_numbers), dtype=np.float64) for t in tables]
    likely = names != ["prediction"]
    if not all(np.isfinite(v).all() and (not likely or ((v >= 0) & (v <= 1)).all()) for v in values):
        return frame, shadows, {}  # they are refused where they are read
    arms = frame["arm"].astype(str).str.strip().str.lower()
    groups = [arms.to_numpy()]
    if shadows is not None:
        arm = dict(zip(frame["id"].astype(str), arms, strict=True))
        whose = pd.Series([arm.get(name, "nobody") for name in shadows["id"].astype(str)], shadows.index)
        groups.append((whose + " " + shadows["used"].astype(str)).to_numpy())
    known = [
        _memorised(t, v) if names == ["prediction"] else (v == 0) | (v == 1)
        for t, v in zip(tables, values, strict=True)
    ]
    parts = [(i, g == name) for i, g in enumerate(groups) for name in np.unique(g)]
    made, words = _clipped(values, parts) if likely else (values, [])
    for _ in GRIDS:
        grid = _between([_Group.of(made[i][rows], known[i][rows]) for i, rows in parts])
        if grid is None:
            break
        made, words = [grid.to(v) for v in made], [*words, grid.words]
    if not words:
        return frame, shadows, {}
    written = [t.assign(**dict(zip(names, v.T, strict=True))) for t, v in zip(tables, made, strict=True)]
    return written[0], written[1] if shadows is not None else None, {"precision": NOTE.format(" and ".join(words))}


def _answers(frame: pd.DataFrame) -> list[str]:
    """The columns of answers: probabilities, else the confidence, else the predicted number."""
    names = [str(c) for c in frame.columns if re.fullmatch(r"p_\d+", str(c))]
    return names or [c for c in ("confidence", "prediction") if c in frame.columns][:1]


def _memorised(frame: pd.DataFrame, values: Array) -> Array:
    """Which predicted numbers (n, 1) are the true one: a model that memorised it writes it as the table does."""
    if "label" not in frame.columns:
        return np.zeros(values.shape, bool)
    truth = np.asarray(as_numbers(frame["label"]), dtype=np.float64)[:, None]
    return np.abs(values - truth) <= 1e-9 * np.maximum(1.0, np.abs(truth))


@dataclass(frozen=True, slots=True)
class _Group:
    """The answers (n, k) of one group without rows that hold nothing but 0, 1 or memorised numbers."""

    values: Array

    @staticmethod
    def of(values: Array, known: Array) -> _Group:
        return _Group(values[~known.all(1)])

    def share(self, grid: Grid) -> float:
        """The share of rows on a grid."""
        return float(grid.on(self.values).all(1).mean())

    def varied(self, grid: Grid) -> bool:
        """Whether the values on a grid are too many to be the few answers of a model."""
        inner = np.unique(np.round(self.values[grid.on(self.values).all(1)], 12))
        inner = inner[(inner != 0) & (inner != 1)]
        tenths = bool(grid.words == "multiples of 0.1")
        return len(inner) >= (VALUES_OF_TENTHS if tenths else VALUES)


def _between(groups: Sequence[_Group]) -> Grid | None:
    """The coarsest grid on which one group was written, and another was not."""
    groups = [g for g in groups if len(g.values) >= FEWEST]
    if len(groups) < 2:
        return None
    for grid in GRIDS:
        shares = [g.share(grid) for g in groups]
        if min(shares) <= max(shares) - APART and any(
            share >= ON and g.varied(grid) for share, g in zip(shares, groups, strict=True)
        ):
            return grid
    return None


def _clipped(values: list[Array], parts: list[tuple[int, Array]]) -> tuple[list[Array], list[str]]:
    """All probabilities within the bounds to which one group was clipped, if another has values outside."""
    least = 0.0
    for i, rows in parts:
        own = values[i][rows]
        lowest = float(own.min(initial=1.0))
        at, above = own <= lowest * (1 + 1e-9), own[(own > lowest * (1 + 1e-9)) & (own <= 4 * lowest)]
        most = np.unique(above, return_counts=True)[1].max(initial=1)
        if 0 < lowest <= LOWEST and at.sum() >= PILED * most:
            least = max(least, lowest)
    if least == 0 or not any((v < least * (1 - 1e-9)).any() for v in values):
        return values, []
    return [np.clip(v, least, 1 - least) for v in values], [f"bounds of {least:g} and 1 - {least:g}"]
