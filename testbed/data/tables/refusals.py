"""Why a user's table is refused: the errors that several readers of tables raise, and names that may be quoted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from testbed.core.errors import InputError, UsageError


def refuse(number: int, what: str, why: str, fix: str) -> InputError:
    """The `InputError` with the id TB-DATA-number."""
    return InputError(f"TB-DATA-{number:03d}", what, why, fix)


def no_person(person: str, hint: str) -> UsageError:
    """The error for a person column that the original does not have."""
    return UsageError(
        "TB-DATA-041",
        f"The original has no column {person!r}.",
        "It was named as the person's identifier.",
        f"{hint} Leave --person out if each row is one person.",
    )


def empty(role: str) -> InputError:
    """The error for a table without rows or columns."""
    return refuse(
        34, f"The {role} table is empty.", "It has no rows or no columns.", "Give a table with a header and rows."
    )


def named(names: Iterable[str], most: int = 5) -> str:
    """Names of columns for a message. If they look like values, a header may be missing, and they are not quoted."""
    listed = list(names)
    shown = [n for n in listed[:most] if len(n) <= 40 and not re.search(r"\d{3}|^\W*\d", n)]
    return (
        ", ".join(shown)
        if len(shown) == len(listed[:most])
        else "(some look like values, not names: is there a header?)"
    )


def unique(names: Iterable[str], role: str) -> None:
    """Raises `InputError` for two columns of one name."""
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if seen.setdefault(name, i) != i:
            raise duplicate(role, seen[name], i)


def duplicate(role: str, first: int, second: int) -> InputError:
    """The error for two columns of the same name, given their positions from 0."""
    return refuse(
        36,
        f"The {role} table has two columns of the same name, number {first + 1} and number {second + 1}.",
        "It is unclear which one is meant.",
        "Rename or drop one of them.",
    )
