"""What the disclosure gate protects: the raw tables, and the smallest group that may be described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MIN_CELL = 10


@dataclass(frozen=True, slots=True)
class People:
    """The raw tables whose values must not leave: columns by table, and the person behind each row."""

    tables: Sequence[Any]
    person: str | None = None

    def __repr__(self) -> str:
        return f"People({len(self.tables)} tables)"
