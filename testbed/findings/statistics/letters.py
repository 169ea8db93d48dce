# pyright: strict
"""Compact letter display: settings that share a letter could not be distinguished."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST_COLUMNS = 400
"""Letters at most. Many differences without an order among them would need a number that grows without end."""


def letters(names: Sequence[str], distinct: Iterable[tuple[str, str]]) -> dict[str, str] | None:
    """The letters of each name: two names share one exactly if their pair is not among the `distinct` ones.

    Insert and absorb (Piepho 2004). Letters are given in the order of the names. None if too many would be needed.
    """
    columns: list[frozenset[str]] = [frozenset(names)]
    for one, other in distinct:
        inserted: list[frozenset[str]] = []
        for column in columns:
            both = one in column and other in column
            inserted += [column - {one}, column - {other}] if both else [column]
        columns = _absorbed(inserted)
        if len(columns) > MOST_COLUMNS:
            return None
    place = {name: i for i, name in enumerate(names)}
    columns.sort(key=lambda column: sorted(place[name] for name in column))
    return {name: "".join(_letter(i) for i, column in enumerate(columns) if name in column) for name in names}


def _absorbed(columns: list[frozenset[str]]) -> list[frozenset[str]]:
    """The columns without those that lie within another one."""
    unique = list(dict.fromkeys(columns))
    return [c for c in unique if not any(c < other for other in unique)]


def _letter(number: int) -> str:
    """a to z, then a1 to z1, and so on."""
    round_, place = divmod(number, 26)
    return chr(ord("a") + place) + (str(round_) if round_ else "")
