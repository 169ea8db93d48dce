"""Damage to a transcript's file: to its bytes, to its header, and to its tensors."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from testbed.subjects.federation.tensors import digest

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2, 2**31, 10**30, 1e308, -0.5, float("nan"), float("inf"), "", "x", "server", [], [1], {},
    {"x": 1}, [[[[[]]]]], "\x00", "testbed.transcript/9",
)  # fmt: skip
TYPES = (np.float16, np.float64, np.int8, np.uint64, np.bool_)


def cut(rng: np.random.Generator, whole: bytes) -> bytes:
    return whole[: rng.integers(len(whole))]


def flipped(rng: np.random.Generator, whole: bytes) -> bytes:
    changed = bytearray(whole)
    for at in rng.integers(len(whole), size=rng.integers(1, 20)):
        changed[at] ^= 1 << rng.integers(8)
    return bytes(changed)


def flipped_in_header(rng: np.random.Generator, whole: bytes) -> bytes:
    changed = bytearray(whole)
    changed[rng.integers(8 + struct.unpack("<Q", whole[:8])[0])] = rng.integers(256)
    return bytes(changed)


def overwritten(rng: np.random.Generator, whole: bytes) -> bytes:
    start, length = rng.integers(len(whole)), rng.integers(1, 500)
    return whole[:start] + rng.bytes(length) + whole[start + rng.integers(2) * length :]


def of_header(rng: np.random.Generator, whole: bytes) -> bytes:
    """One field, at any depth, has another value, is missing, or is new."""
    header, tensors = opened(whole)
    at: Any = header
    while True:
        step = list(at)[rng.integers(len(at))] if isinstance(at, dict) else int(rng.integers(len(at)))
        if isinstance(at[step], dict | list) and at[step] and rng.random() < 0.7:
            at = at[step]
            continue
        if (what := rng.random()) < 0.2:
            del at[step]
        elif what < 0.3 and isinstance(at, dict):
            at["more"] = ODD[rng.integers(len(ODD))]
        else:
            at[step] = ODD[rng.integers(len(ODD))]
        return closed(json.dumps(header), tensors)


def nested(rng: np.random.Generator, whole: bytes) -> bytes:
    header, tensors = opened(whole)
    depth = int(rng.integers(100, 20_000))
    field = ("act", "protocol", "exchanges", "model")[rng.integers(4)]
    text = json.dumps(header | {field: "HERE"}).replace('"HERE"', "[" * depth + "]" * depth)
    return closed(text, tensors)


def enlarged(rng: np.random.Generator, whole: bytes) -> bytes:
    """A number of the header has thousands of digits, or is one that would take all memory."""
    header, tensors = opened(whole)
    digits = "9" * int(rng.choice([1, 3, 5, 7, 9, 20, 300, 5000]))
    name = ("batch_size", "local_steps", "local_epochs", "rounds")[rng.integers(4)]
    text = json.dumps(header | {"protocol": header["protocol"] | {name: "HERE"}}).replace('"HERE"', digits)
    return closed(text, tensors)


def claimed(rng: np.random.Generator, whole: bytes) -> bytes:
    """A client says that it used more records than there are, or no number of them."""
    header, tensors = opened(whole)
    for exchange in header["exchanges"]:
        exchange["metrics"]["num-examples"] = (1e300, 1e9, -3.0, float("nan"), 0.5)[rng.integers(5)]
    header["protocol"]["kind"] = ("fedavg", "fedsgd", "unknown")[rng.integers(3)]
    return closed(json.dumps(header), tensors)


def reshaped(rng: np.random.Generator, whole: bytes) -> bytes:
    """A tensor with another shape, type or content, under its right digest."""

    def other(array: Any) -> Any:
        shape = ((-1,), (1, -1), (-1, 1), (1, 1, -1, 1))[rng.integers(4)]
        return (
            array.reshape(shape),
            array.astype(TYPES[rng.integers(len(TYPES))]),
            array[:0],
            np.full_like(array, np.nan),
            array.ravel()[0],
            np.repeat(array, 2, 0),
        )[rng.integers(6)]

    header, tensors = opened(whole)
    old = sorted(tensors)[rng.integers(len(tensors))]
    with np.errstate(all="ignore"):
        array = np.ascontiguousarray(other(tensors.pop(old)))
    new = digest(array)
    return closed(json.dumps(header).replace(old, new), {**tensors, new: array})


def renamed(rng: np.random.Generator, whole: bytes) -> bytes:
    """A tensor under the digest of another."""
    header, tensors = opened(whole)
    old, new = sorted(tensors)[rng.integers(len(tensors))], rng.bytes(12).hex()
    text = json.dumps(header)
    return closed(text.replace(old, new) if rng.random() < 0.5 else text, {**tensors, new: tensors.pop(old)})


def missing(rng: np.random.Generator, whole: bytes) -> bytes:
    header, tensors = opened(whole)
    tensors.pop(sorted(tensors)[rng.integers(len(tensors))])
    return closed(json.dumps(header), tensors)


def of_another_type(rng: np.random.Generator, whole: bytes) -> bytes:
    """The file says that its tensors are of a type that they are not."""
    size = struct.unpack("<Q", whole[:8])[0]
    kind = (b"BF16", b"F64", b"I8", b"F8_E5M2", b"C64", b"F99", b"BOOL")[rng.integers(7)]
    text = whole[8 : 8 + size].replace(b'"F32"', b'"' + kind + b'"')
    return struct.pack("<Q", len(text)) + text + whole[8 + size :]


KINDS: tuple[Callable[[np.random.Generator, bytes], bytes], ...] = (
    cut, flipped, flipped_in_header, overwritten, of_header, of_header, of_header, nested, enlarged, claimed, reshaped,
    reshaped, renamed, missing, of_another_type,
)  # fmt: skip


def opened(whole: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the tensors of a transcript's file."""
    size = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(json.loads(whole[8 : 8 + size])["__metadata__"]["testbed"])
    return header, load(whole)


def closed(text: str, tensors: dict[str, Any]) -> bytes:
    return save(tensors, {"testbed": text})


def damaged(whole: bytes, number: int) -> bytes:
    """The file with the damage of this number."""
    rng = np.random.default_rng(number)
    return KINDS[number % len(KINDS)](rng, whole)
