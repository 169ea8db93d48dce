"""Names of columns that a user types: lists with commas, links with colons, and what was probably meant.

A name may itself hold a comma or a colon. A text is therefore read against the columns that exist.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from testbed.core.errors import UsageError
from testbed.data.tables.refusals import named

Link = tuple[tuple[str, ...], tuple[str, ...]]


def secrets(texts: Iterable[str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns named by `--secrets`, each text a name or several with commas between. Raises `UsageError`."""
    return tuple(dict.fromkeys(name for text in texts for name in _listed(text, columns)))


def links(declared: Iterable[Any], columns: Sequence[str]) -> list[Link]:
    """The links named by `--link` or by the meta file: `a,b:c,d`, or two lists. Raises `UsageError`."""
    return [_link(text, columns) if isinstance(text, str) else _sides(text, columns) for text in declared]


def known(name: str, columns: Sequence[str], what: str) -> None:
    """Raises `UsageError`, with the columns that were probably meant, for a name that is no column's."""
    if name not in columns:
        raise UsageError("TB-DATA-060", f"There is no column called {name!r}.", what, meant(name, columns))


def no_link(why: str) -> UsageError:
    """The error for a link that does not name two sets of columns."""
    return UsageError(
        "TB-DATA-063",
        "A link must name two sets of columns that share none.",
        why,
        "Write --link age,sex:diagnosis,stay, or two lists in the meta file: link: [[[age, sex], [diagnosis]]].",
    )


def meant(name: str, columns: Sequence[str]) -> str:
    """The columns most like a name, or all; a name that looks like a value is not quoted."""
    folded = {c.casefold(): c for c in columns}
    close = [folded[c] for c in difflib.get_close_matches(name.casefold(), list(folded), 3, 0.6)]
    if close:
        return f"Did you mean {named(close)}?"
    return f"Columns are: {named(columns, 12)}{' …' if len(columns) > 12 else ''}."


def _listed(text: str, columns: Sequence[str]) -> list[str]:
    """The names in a text with commas: as few pieces as possible, each the name of a column."""
    every = set(columns)
    found = _pieces([piece.strip() for piece in text.split(",")], text.split(","), every)
    if found is not None:
        return found
    for name in [piece.strip() for piece in text.split(",") if piece.strip()]:
        known(name, columns, "It was named as a secret or in a link.")
    return []


def _pieces(stripped: list[str], raw: list[str], columns: set[str]) -> list[str] | None:
    """The pieces between commas joined into names of columns, the longest first; None if some piece fits none."""
    if not stripped or not any(stripped):
        return []
    for end in range(len(raw), 0, -1):
        name = ",".join(raw[:end]).strip()
        if name in columns and (rest := _pieces(stripped[end:], raw[end:], columns)) is not None:
            return [name, *rest]
    return _pieces(stripped[1:], raw[1:], columns) if not stripped[0] else None


def _link(text: str, columns: Sequence[str]) -> Link:
    """`a,b:c,d` as two sets of columns. If colons stand in names, the one is taken that leaves names on both sides."""
    every = set(columns)
    parts = text.split(":")
    fitting: list[Link] = []
    for i in range(1, len(parts)):
        sides = [_pieces([p.strip() for p in s.split(",")], s.split(","), every) for s in _halves(parts, i)]
        if all(sides):
            fitting.append((tuple(sides[0] or ()), tuple(sides[1] or ())))
    if len(fitting) == 1 and not set(fitting[0][0]) & set(fitting[0][1]):
        return fitting[0]
    if len(parts) == 2 and not fitting:
        for side in parts:
            _listed(side, columns)
    raise no_link(f"{text!r} does not, or can be read in several ways.")


def _halves(parts: list[str], at: int) -> tuple[str, str]:
    return ":".join(parts[:at]), ":".join(parts[at:])


def _sides(pair: Sequence[Sequence[str]], columns: Sequence[str]) -> Link:
    for side in pair:
        for name in side:
            known(name, columns, "The meta file names it in a link.")
    if len(pair) != 2 or not all(pair) or set(pair[0]) & set(pair[1]):
        raise no_link("One in the meta file does not.")
    return tuple(pair[0]), tuple(pair[1])
