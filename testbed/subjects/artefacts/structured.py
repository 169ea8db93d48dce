"""JSON: lists of records become tables, notebooks their outputs, and skops' schema the places of arrays."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from testbed.subjects.artefacts import plain
from testbed.subjects.artefacts.pickled import Packed
from testbed.subjects.artefacts.pieces import Cells, Grid, Piece, Where

FEWEST = 3
"""The fewest records of a list that is taken for a table."""
TYPED = {"f8": "<f8", "f4": "<f4", "i1": "i1", "i2": "<i2", "i4": "<i4", "u1": "u1", "u2": "<u2", "u4": "<u4"}


def parsed(text: str) -> Any:
    """JSON, or a list of what lines of JSON give; None for other text."""
    try:
        return json.loads(text)
    except ValueError:
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            return None


def of_json(text: str, where: Where, packed: Packed) -> Iterator[Piece]:
    """The pieces of JSON text, or of lines each of which is JSON."""
    made = parsed(text)
    yield from plain.of_text(text, where, packed) if made is None else tree(made, where, packed)


def tree(root: Any, where: Where, packed: Packed) -> Iterator[Piece]:
    """Tables, numeric arrays and texts in what JSON gives."""
    texts: list[str] = []
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            texts.append(node)
        elif isinstance(node, int | float) and not isinstance(node, bool):
            texts.append(repr(node))
        elif isinstance(node, dict):
            if isinstance(code := node.get("dtype"), str) and isinstance(node.get("bdata"), str) and code in TYPED:
                yield from _typed(node["bdata"], TYPED[code], where)
                continue
            texts += map(str, node)
            if (table := _columns_of(list(node.values()))) is not None:
                yield Cells(where, "file", table)
            stack += list(node.values())[::-1]
        elif isinstance(node, list) and node:
            if (array := _numeric(node)) is not None:
                yield Grid(where, array)
            elif (table := _records(node)) is not None:
                yield Cells(where, "file", table)
                texts += [k for k in node[0] if isinstance(node[0], dict)]
                continue
            else:
                stack += node[::-1]
    if texts:
        yield from plain.of_text("\n".join(texts), where, packed, lines=False)


def _typed(blob: str, code: str, where: Where) -> Iterator[Piece]:
    """Numbers as plotly writes them: base64 of their bytes."""
    try:
        data = base64.b64decode(blob)
    except (binascii.Error, ValueError):
        return
    width = np.dtype(code).itemsize
    yield Grid(where, np.frombuffer(data[: len(data) // width * width], code))


def _numeric(node: list[Any]) -> Any:
    """A list of numbers, or of equally long lists of numbers, as an array; None for anything else."""
    if len(node) < FEWEST:
        return None
    first = node[0]
    if all(map(_number, node)):
        return np.asarray(node, dtype=float)
    wide = len(first) if isinstance(first, list) else 0
    if wide > 1 and all(isinstance(r, list) and len(r) == wide and all(map(_number, r)) for r in node):
        return np.asarray(node, dtype=float)
    return None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _records(node: list[Any]) -> list[list[Any]] | None:
    """The columns of a list of dictionaries, or of lists, of plain values."""
    first = node[0]
    if len(node) < FEWEST or not isinstance(first, dict | list) or len(first) < 2:
        return None
    if isinstance(first, dict):
        rows = [r for r in node if isinstance(r, dict)]
        if len(rows) < len(node) or not all(_flat(v) for r in rows for v in r.values()):
            return None
        keys = list(dict.fromkeys(k for r in rows for k in r))
        return [[r.get(k) for r in rows] for k in keys]
    lists = [r for r in node if isinstance(r, list)]
    if (
        len(lists) < len(node)
        or any(len(r) != len(first) for r in lists)
        or not all(_flat(v) for r in lists for v in r)
    ):
        return None
    return [list(column) for column in zip(*lists, strict=True)]


def _columns_of(values: list[Any]) -> list[list[Any]] | None:
    """The columns of a dictionary of equally long lists of plain values (pandas' `to_dict("list")`), or of equally
    named dictionaries of them (`to_json()`)."""
    if len(values) < 2:
        return None
    if all(isinstance(v, list) and len(v) >= FEWEST and len(v) == len(values[0]) for v in values):
        return values if all(_flat(c) for v in values for c in v) else None
    if all(isinstance(v, dict) and len(v) >= FEWEST and v.keys() == values[0].keys() for v in values):
        return [list(v.values()) for v in values] if all(_flat(c) for v in values for c in v.values()) else None
    return None


def texts_of_skops(schema: bytes) -> list[str]:
    """The values that a skops archive holds as text, and the keys of its dictionaries."""
    texts: list[str] = []
    stack: list[Any] = [json.loads(schema)]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if isinstance(node.get("content"), str):
                texts.append(node["content"])
            elif node.get("__loader__") == "DictNode" and isinstance(node.get("content"), dict):
                texts += map(str, node["content"])
            stack += list(node.values())[::-1]
        elif isinstance(node, list):
            stack += node[::-1]
    return texts


def arrays_of_skops(schema: bytes) -> dict[str, tuple[str, str]]:
    """For each array's file in a skops archive, the class and the attribute that hold it."""
    found: dict[str, tuple[str, str]] = {}
    stack: list[tuple[Any, str, str]] = [(json.loads(schema), "", "")]
    while stack:
        node, holder, name = stack.pop()
        if isinstance(node, dict):
            file = node.get("file")
            if isinstance(file, str) and (file not in found or found[file][0] in ("", "KDTree", "BallTree")):
                found[file] = (holder, name)
            if node.get("__loader__") == "ObjectNode":
                holder = str(node.get("__class__"))
            for key, value in node.items():
                stack.append((value, holder, name if key in ("content", "attrs") else str(key)))
        elif isinstance(node, list):
            stack += [(v, holder, name) for v in node]
    return found


BEGINS = re.compile(r'[\[{](?=\s*["\[{\-\d])')
MOST_FAILURES = 200
SHORTEST_EMBEDDED = 40


def of_script(text: str, where: Where, packed: Packed) -> Iterator[Piece]:
    """The JSON within a script, such as the data of a drawing, and the script's own text."""
    decoder, place, failures = json.JSONDecoder(), 0, 0
    rest: list[str] = []
    while failures < MOST_FAILURES and (found := BEGINS.search(text, place)):
        try:
            made, end = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            failures += 1
            rest.append(text[place : found.end()])
            place = found.end()
            continue
        rest.append(text[place : found.start()])
        place = end
        if end - found.start() >= SHORTEST_EMBEDDED:
            yield from tree(made, where, packed)
        else:
            rest.append(text[found.start() : end])
    yield from plain.of_text("".join([*rest, text[place:]]), where, packed, lines=False)
