"""Rare categories taken out of a synthetic table."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from testbed.core.defence import Change, Changed, Draft
from testbed.core.errors import UsageError
from testbed.data.tables import spellings
from testbed.defences.registry import defence
from testbed.defences.tables import changed, chosen, with_columns

LEAST = 2
"""The smallest `rows` that hides anything: every category stands in one row or more."""


@defence(where="table")
def suppress(*, seed: int, rows: int = 10, word: str = "", columns: str = "") -> Change:
    """Replace categories that fewer than `rows` released rows have by `word`, or by gaps if there is no word.

    A heuristic (threshold rule; Hundepool et al. 2012). All of them together also stand in `rows` rows or more: the
    next rarest category goes with them until they do. It counts released rows, and a category that many released rows
    have may still be one person's. `columns` names columns (`columns=diagnosis/ward`); else it is all categories.
    """
    if rows < LEAST:
        raise UsageError(
            "TB-DEFENCE-036",
            f"suppress needs {LEAST} rows or more.",
            "Every category stands in one row, so a smaller number hides nothing.",
            "Give, for example, suppress:10.",
        )

    def change(draft: Draft) -> Changed:
        names = chosen(draft, "categorical", columns, "suppress")
        kept = {name: _kept(draft.release[name], rows, word) for name in names}

        def alike(people: pd.DataFrame) -> pd.DataFrame:
            return with_columns(people, {n: _pooled(people[n], k, word) for n, k in kept.items()})

        made = changed(draft, {n: _pooled(draft.release[n], k, word) for n, k in kept.items()})
        told = [f"{n!r}: {gone} categories suppressed" for n in names if (gone := _gone(draft.release[n], kept[n]))]
        return Changed(made, alike, tuple(told))

    return change


def _counted(cells: Any) -> Counter[Any]:
    """How many cells hold each category, all spellings of one together; None for gaps."""
    return Counter(None if pd.isna(cell) else spellings.category(spellings.text(cell)) for cell in cells)


def _kept(cells: Any, rows: int, word: str) -> set[Any]:
    """The categories that stay: those of `rows` cells or more, unless one must join the rare ones to hide these."""
    counted = _counted(cells)
    pool = spellings.category(word) if word else None
    pooled = counted.pop(pool, 0)
    kept: set[Any] = set()
    hidden = False
    for category, count in sorted(counted.items(), key=lambda c: (c[1], repr(c[0]))):
        if category is not None and (count < rows or (hidden and pooled < rows)):
            pooled, hidden = pooled + count, True
        else:
            kept.add(category)
    return kept | {pool, None}


def _gone(cells: Any, kept: set[Any]) -> int:
    return len(set(_counted(cells)) - kept)


def _pooled(cells: Any, kept: set[Any], word: str) -> Any:
    """The cells with `word`, or a gap, in place of each category that is not kept."""
    stays = [pd.isna(cell) or spellings.category(spellings.text(cell)) in kept for cell in cells]
    column: Any = pd.Series(cells)
    if all(stays):
        return column
    return column.astype(object).where(pd.Series(stays, index=column.index), word or None)
