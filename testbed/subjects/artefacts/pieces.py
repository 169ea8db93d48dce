"""What a file holds, as pieces: texts, numeric arrays, tables, unread bytes, and what could not be looked into.

A piece says where it stands, and never in words of the file: a member of an archive or a key of a dictionary may be a
person's name. So places are numbers, formats, and names of code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from testbed.core import Array

Where: TypeAlias = tuple[str, ...]
CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}(?:\.[A-Za-z_][A-Za-z0-9_]{0,60}){0,8}\Z")
"""A name as code has it: letters, digits and underscores."""


BUFFER = "buffer"
"""The name of a tensor that a network keeps and training does not change."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text; `lines` says whether its lines stand for themselves, as in a log."""

    where: Where
    text: str
    lines: bool = True

    def __repr__(self) -> str:
        return f"Text({len(self.text)} characters)"


@dataclass(frozen=True, slots=True)
class Grid:
    """A numeric array (n, ...) in an object of the class `holder`, under the attribute `name`, as far as known."""

    where: Where
    values: Array
    holder: str = ""
    name: str = ""

    def __repr__(self) -> str:
        return f"Grid{self.values.shape}"


TableKind: TypeAlias = Literal[
    "data frame", "sheet", "hidden sheet", "cache", "table in a page", "output", "file", "vocabulary", "categories"
]


@dataclass(frozen=True, slots=True)
class Cells:
    """A table, as columns of equal length. `names` are known for data frames and Parquet, where no row can be taken
    for them; else the first row may hold them."""

    where: Where
    kind: TableKind
    columns: list[list[Any]] = field(repr=False)
    names: tuple[str, ...] | None = field(default=None, repr=False)

    @property
    def rows(self) -> int:
        return len(self.columns[0]) if self.columns else 0


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes of no known structure: they are searched for words and for numbers of 32 and 64 bits."""

    where: Where
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Marks:
    """A drawing of `count` marks at different places in both directions: perhaps one mark for each record."""

    where: Where
    count: int


@dataclass(frozen=True, slots=True)
class Unseen:
    """A part that was not looked into, and why."""

    where: Where
    why: str


Piece: TypeAlias = Text | Grid | Cells | Raw | Marks | Unseen


class TooMuchError(Exception):
    """A limit was reached; the text says which, without a word of the file."""


@dataclass(slots=True)
class Limits:
    """The limits of one scan. `unpacked` and `parts` count down over all that is packed in a file."""

    largest: int = 2**30
    """Bytes of one file or of one packed part."""
    unpacked: int = 4 * 2**30
    """Bytes that packed parts may take in all."""
    parts: int = 20_000
    """Packed parts in all."""
    depth: int = 8
    """How deep a part may be packed in others."""
    operations: int = 20_000_000
    """Steps of a pickle's program in all."""
    cells: int = 50_000_000
    """Cells of one table that are read."""

    def part(self, size: int) -> None:
        """Count one more packed part of so many bytes. Raises `TooMuchError`."""
        self.parts -= 1
        self.unpacked -= size
        if self.parts < 0:
            raise TooMuchError("there are too many packed parts")
        if self.unpacked < 0:
            raise TooMuchError("packed parts take too many bytes when unpacked")


def code_name(text: object) -> str:
    """The text if it is a name as code has it, else an empty text."""
    return text if isinstance(text, str) and CODE.match(text) else ""
