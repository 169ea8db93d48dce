"""ONNX models (onnx.proto3 of the Open Neural Network Exchange): their tensors, attributes and metadata.

Only the fields that can carry data are read, from the wire format of Protocol Buffers; no library builds the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from testbed.core import Array
from testbed.subjects.artefacts.pickles import count_of
from testbed.subjects.artefacts.pieces import Grid, Piece, Text, Unseen, Where, code_name
from testbed.subjects.artefacts.tensors import numbers

TYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 16: "bf16"}
MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_NAME, NODE_OP, NODE_ATTRIBUTE = 3, 4, 5
DEEPEST = 20
SHORTEST = 8
"""Numbers in an attribute that are worth a look."""


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The number and the value of each field of a message: a whole number, or bytes. Raises `ValueError`."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
        elif wire == 2:
            size, place = _varint(data, place)
            if size > len(data) - place:
                raise ValueError("a field longer than its message")
            yield number, data[place : place + size]
            place += size
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            if place + width > len(data):
                raise ValueError("a field longer than its message")
            yield number, data[place : place + width]
            place += width
        else:
            raise ValueError("a field of an unknown kind")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise ValueError("a number without an end")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 128:
            return value, place


def pieces(data: bytes, where: Where) -> Iterator[Piece]:
    """The pieces of an ONNX model. Raises `ValueError` if the bytes are none."""
    graphs = 0
    texts: list[str] = []
    for number, value in fields(data):
        if not isinstance(value, bytes):
            continue
        if number == MODEL_GRAPH:
            graphs += 1
            yield from _graph(value, where, 0)
        elif number == MODEL_METADATA:
            texts += [v.decode("utf-8", "replace") for _, v in fields(value) if isinstance(v, bytes)]
        else:
            texts.append(value.decode("utf-8", "replace"))
    if not graphs:
        raise ValueError("no model")
    if texts:
        yield Text((*where, "metadata"), "\n".join(texts))


def _graph(data: bytes, where: Where, depth: int) -> Iterator[Piece]:
    if depth > DEEPEST:
        yield Unseen(where, "it is packed too deep")
        return
    stored = 0
    for number, value in fields(data):
        if not isinstance(value, bytes):
            continue
        if number == GRAPH_INITIALIZER:
            stored += 1
            yield from _tensor(value, (*where, f"stored tensor {stored}"), "", "")
        elif number == GRAPH_NODE:
            yield from _node(value, where, depth)
        elif number == 10:
            yield Text((*where, "metadata"), value.decode("utf-8", "replace"))


def _node(data: bytes, where: Where, depth: int) -> Iterator[Piece]:
    held = list(fields(data))
    kind = next((code_name(v.decode("utf-8", "replace")) for n, v in held if n == NODE_OP and isinstance(v, bytes)), "")
    attributes: dict[str, Array] = {}
    for number, value in held:
        if number != NODE_ATTRIBUTE or not isinstance(value, bytes):
            continue
        name, floats, whole, strings = "", [], [], []
        inner = list(fields(value))
        name = next((code_name(v.decode("utf-8", "replace")) for n, v in inner if n == 1 and isinstance(v, bytes)), "")
        here = (*where, f"{kind}.{name}" if name else kind or "node")
        for n, v in inner:
            if n == 5 and isinstance(v, bytes):
                yield from _tensor(v, here, kind, name)
            elif n == 6 and isinstance(v, bytes):
                yield from _graph(v, here, depth + 1)
            elif n == 7 and isinstance(v, bytes):
                floats.append(v)
            elif n == 8:
                whole += _packed_whole(v)
            elif n == 9 and isinstance(v, bytes):
                strings.append(v.decode("utf-8", "replace"))
            elif n == 10 and isinstance(v, bytes):
                yield from _tensor(v, here, kind, name)
        if floats:
            attributes[name] = np.frombuffer(b"".join(floats), "<f4")
        elif whole:
            attributes[name] = np.asarray(whole)
        if strings:
            yield Text(here, "\n".join(strings))
    for name, array in attributes.items():
        if len(array) >= SHORTEST:
            yield Grid((*where, f"{kind}.{name}"), _in_rows(kind, name, array, attributes), kind, name)


def _in_rows(kind: str, name: str, array: Array, attributes: dict[str, Array]) -> Array:
    """The support vectors (n, d) of an ONNX SVM, which stand in one row; anything else as it is."""
    if kind.startswith("SVM") and name == "support_vectors":
        counts = attributes.get("vectors_per_class", attributes.get("n_supports"))
        n = int(np.sum(counts)) if counts is not None else 0
        if n and len(array) % n == 0:
            return array.reshape(n, -1)
    return array


def _packed_whole(value: Any) -> list[int]:
    if isinstance(value, int):
        return [value]
    found: list[int] = []
    place = 0
    while place < len(value):
        one, place = _varint(value, place)
        found.append(one - 2**64 if one >= 2**63 else one)
    return found


def _tensor(data: bytes, where: Where, holder: str, name: str) -> Iterator[Piece]:
    shape: list[int] = []
    kind, raw = 0, b""
    whole: list[int] = []
    strings: list[str] = []
    outside = False
    for number, value in fields(data):
        if number == 1:
            shape += _packed_whole(value)
        elif number == 2:
            kind = int(value)
        elif number in (4, 10) and isinstance(value, bytes):
            raw += value
        elif number in (5, 7, 11):
            whole += _packed_whole(value)
        elif number == 6 and isinstance(value, bytes):
            strings.append(value.decode("utf-8", "replace"))
        elif number == 9 and isinstance(value, bytes):
            raw = value
        elif number == 13:
            outside = True
    if strings:
        yield Text(where, "\n".join(strings))
        return
    if outside:
        yield Unseen(where, "its numbers stand in another file")
        return
    if kind not in TYPES:
        if raw:
            yield Unseen(where, "its numbers are of a kind that is not read")
        return
    flat = np.asarray(whole) if whole and not raw else numbers(raw, TYPES[kind])
    sizes = tuple(shape)
    if count_of(sizes) == len(flat) and all(s >= 0 for s in sizes):
        yield Grid(where, flat.reshape(sizes), holder, name)
    elif len(flat):
        yield Grid(where, flat, holder, name)
