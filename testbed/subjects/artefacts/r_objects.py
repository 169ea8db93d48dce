"""R objects (.rds, .RData): vectors, tables and texts, from the serialisation format of the R Internals manual (1.8).

R's own reader may run code (a promise, an active binding). Here only the values are listed. Functions that were
compiled to byte code end the reading; what follows is then searched for words and numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from testbed.core import Array
from testbed.subjects.artefacts.pieces import Cells, Grid, Piece, Raw, Text, Unseen, Where

NIL, SYMBOL, PAIRS, CLOSURE, ENVIRONMENT, PROMISE, CALL, SPECIAL, BUILTIN, CHARS = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
LOGICAL, INTEGER, REAL, COMPLEX, STRINGS, DOTS, LIST, EXPRESSION, BYTECODE, RAW, S4 = (
    10,
    13,
    14,
    15,
    16,
    17,
    19,
    20,
    21,
    24,
    25,
)
EXTERNAL, WEAK = 22, 23
REFERENCE, NIL_VALUE, GLOBAL, UNBOUND, MISSING, BASE_NAMESPACE = 255, 254, 253, 252, 251, 247
NAMESPACE, PACKAGE, PERSISTENT, EMPTY, BASE, ATTRIBUTES_CALL, ATTRIBUTES_PAIRS, ALTERNATIVE = (
    249,
    250,
    248,
    242,
    241,
    240,
    239,
    238,
)
NOTHING = (NIL, NIL_VALUE, GLOBAL, UNBOUND, MISSING, BASE_NAMESPACE, EMPTY, BASE)
MISSING_WHOLE = -(2**31)
DEEPEST = 2_000


class _Reader:
    """Reads one serialised object. `texts` gathers all words, `found` the vectors and tables."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.place = data, start
        self.references: list[Any] = []
        self.texts: list[str] = []
        self.found: list[Array | list[Any]] = []
        self.depth = 0

    def whole(self) -> int:
        value = int(struct.unpack_from(">i", self.data, self.place)[0])
        self.place += 4
        return value

    def length(self) -> int:
        size = self.whole()
        if size == -1:
            size = (self.whole() << 32) + (self.whole() & 0xFFFFFFFF)
        if size < 0 or size > len(self.data):
            raise ValueError("a vector longer than the file")
        return size

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.place:
            raise ValueError("a vector longer than the file")
        self.place += size
        return self.data[self.place - size : self.place]

    def item(self) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("it is packed too deep")
        try:
            return self._item(self.whole())
        finally:
            self.depth -= 1

    def _item(self, flags: int) -> Any:
        kind, attributes = flags & 0xFF, bool(flags & 0x200)
        if kind in NOTHING:
            return None
        if kind == REFERENCE:
            place = (flags >> 8) or self.whole()
            return self.references[place - 1] if 0 < place <= len(self.references) else None
        if kind == SYMBOL:
            name = self.item()
            self.references.append(name)
            return name
        if kind in (NAMESPACE, PACKAGE, PERSISTENT):
            self.whole()
            self.references.append(None)
            for _ in range(self.length()):
                self.item()
            return None
        if kind == ENVIRONMENT:
            self.whole()
            self.references.append(None)
            return [self.item() for _ in range(4)]
        if kind in (PAIRS, CALL, CLOSURE, PROMISE, DOTS, ATTRIBUTES_CALL, ATTRIBUTES_PAIRS):
            return self._pairs(flags)
        if kind in (EXTERNAL, WEAK):
            self.references.append(None)
            for _ in range(2 if kind == EXTERNAL else 0):
                self.item()
        elif kind == ALTERNATIVE:
            _, state, _ = self.item(), self.item(), self.item()
            return self._alternative(state)
        elif kind == BYTECODE:
            raise ValueError("byte code")
        elif kind in (SPECIAL, BUILTIN):
            self.take(self.length())
            return None
        value = self._vector(kind) if kind not in (S4, EXTERNAL, WEAK) else None
        if attributes and kind != CHARS:
            return self._attributed(value, self.item())
        if attributes:
            self.item()
        if isinstance(value, np.ndarray | list):
            self.found.append(value)
        return value

    def _pairs(self, flags: int) -> dict[str, Any]:
        """A chain of pairs by their tags, followed without recursion."""
        made: dict[str, Any] = {}
        while True:
            kind = flags & 0xFF
            if kind not in (PAIRS, CALL, CLOSURE, PROMISE, DOTS, ATTRIBUTES_CALL, ATTRIBUTES_PAIRS):
                made[f" {len(made)}"] = self._item(flags)
                return made
            if flags & 0x200 or kind in (ATTRIBUTES_CALL, ATTRIBUTES_PAIRS):
                self.item()
            tag = self.item() if flags & 0x400 else None
            key = tag if isinstance(tag, str) and tag not in made else f" {len(made)}"
            made[key] = self.item()
            flags = self.whole()
            if flags & 0xFF in NOTHING:
                return made

    def _vector(self, kind: int) -> Any:
        if kind == CHARS:
            size = self.whole()
            return None if size == -1 else self.take(size).decode("utf-8", "replace")
        size = self.length()
        if kind in (LOGICAL, INTEGER):
            return np.frombuffer(self.take(4 * size), ">i4")
        if kind == REAL:
            return np.frombuffer(self.take(8 * size), ">f8")
        if kind == COMPLEX:
            return np.frombuffer(self.take(16 * size), ">f8")
        if kind == RAW:
            return self.take(size)
        if kind == STRINGS:
            texts = [self.item() for _ in range(size)]
            self.texts += [t for t in texts if isinstance(t, str)]
            return texts
        if kind in (LIST, EXPRESSION):
            return [self.item() for _ in range(size)]
        raise ValueError("an object of an unknown kind")

    def _alternative(self, state: Any) -> Any:
        """A vector that R writes in another form: a run of numbers, or one that wraps another."""
        if isinstance(state, np.ndarray) and len(state) == 3:
            return np.arange(min(int(state[0]), len(self.data))) * int(state[2]) + int(state[1])
        if isinstance(state, dict | list):
            inner = list(state.values()) if isinstance(state, dict) else state
            return inner[0] if inner else None
        return state

    def _attributed(self, value: Any, told: Any) -> Any:
        """A vector with its attributes: the levels of a factor, the size of a matrix, the columns of a table."""
        attributes: dict[str, Any] = told if isinstance(told, dict) else {}
        levels, sizes = attributes.get("levels"), attributes.get("dim")
        if isinstance(value, np.ndarray) and isinstance(levels, list):
            value = [levels[int(v) - 1] if 0 < int(v) <= len(levels) else None for v in value]
        elif isinstance(value, np.ndarray) and isinstance(sizes, np.ndarray) and int(np.prod(sizes)) == len(value):
            value = value.reshape([int(s) for s in sizes], order="F")
        if isinstance(value, np.ndarray | list):
            self.found.append(value)
        return value


def pieces(data: bytes, where: Where) -> Iterator[Piece]:
    """The pieces of an R file. Raises `ValueError` for a form of the format that is not read (ASCII, native)."""
    start = 5 if data.startswith((b"RDX2\n", b"RDX3\n")) else 0
    if data[start : start + 2] != b"X\n":
        raise ValueError("a form that is not read")
    version = int.from_bytes(data[start + 2 : start + 6], "big")
    start += 14
    if version == 3:
        start += 4 + int.from_bytes(data[start : start + 4], "big")
    reader = _Reader(data, start)
    try:
        reader.item()
    except (ValueError, IndexError, struct.error, RecursionError):
        yield Unseen(where, "a function in byte code, or an object that is not read; words and numbers were searched")
        yield Raw(where, data[reader.place :])
    for value in reader.found:
        if isinstance(value, np.ndarray):
            array = np.where(value == MISSING_WHOLE, np.nan, value) if value.dtype.kind == "i" else value
            yield Grid(where, np.asarray(array, dtype=float))
        elif (columns := _columns(value)) is not None:
            yield Cells(where, "data frame", columns)
        elif value and all(v is None or isinstance(v, str) for v in value):
            yield Cells(where, "data frame", [value])
    if reader.texts:
        yield Text(where, "\n".join(reader.texts), lines=False)


def _columns(value: list[Any]) -> list[list[Any]] | None:
    """The columns of an R list whose vectors are equally long, as those of a data frame are."""
    if len(value) < 2 or not all(isinstance(v, np.ndarray | list) for v in value):
        return None
    if len({len(v) for v in value}) != 1 or len(value[0]) < 2:
        return None
    columns: list[list[Any]] = []
    for column in value:
        if isinstance(column, np.ndarray):
            if column.ndim != 1:
                return None
            whole = column.dtype.kind == "i"
            columns.append([None if whole and v == MISSING_WHOLE else v for v in column.tolist()])
        elif all(v is None or isinstance(v, str) for v in column):
            columns.append(column)
        else:
            return None
    return columns
