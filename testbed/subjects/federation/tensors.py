"""How tensors lie in a file: their names, their types, and where their bytes are. No file is read into memory whole.

A tensor is named by its digest, so that equal ones are stored once and a changed one is noticed. A safetensors file is
written here, not by its library, because the library wants all tensors in memory; the bytes are the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import mmap
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import safe_open

from testbed.core import Array, frozen
from testbed.core.errors import InputError, UsageError

DIGEST = re.compile("[0-9a-f]{24}")
TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{letter}{8 * size}": np.dtype(f"{letter.lower()}{size}") for size in (1, 2, 4, 8) for letter in "UI"},
    **{f"F{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
}
"""The types of the format that are read and written, by their names in it."""
NAMES = {kind: name for name, kind in TYPES.items()}
ORDER = ("U64", "I64", "F64", "F32", "U32", "I32", "F16", "U16", "I16", "I8", "U8", "BOOL")
"""The order of types in a file, as the library has it: the widest first, so that each tensor is aligned."""
CHUNK = 1 << 20
"""Bytes that are read at a time."""
ALIGNED = 8
"""Tensors begin at multiples of this many bytes, so that they are used in place."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in a file, and what it is."""

    kind: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Its number of bytes."""
        return self.kind.itemsize * math.prod(self.shape)


def readable(kind: np.dtype[Any]) -> bool:
    """Whether the file takes arrays of this type: floats, integers and switches, as any machine has them."""
    return kind.kind in "fiub" and kind.itemsize <= 8


def digest(array: Array) -> str:
    """What names a tensor in the file: a hash of its type, its shape and its bytes."""
    hashed = _begun(array.dtype, array.shape)
    hashed.update(content(array))
    return hashed.hexdigest()[:24]


def _begun(kind: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    return hashlib.sha256(f"{kind}{shape}".encode())


def content(array: Array) -> memoryview:
    """The bytes of an array in C order; they are not copied if they lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def plain(values: Any) -> Array:
    """The values as the file takes them, in C order. Raises `UsageError` for other things than plain numbers."""
    array = np.asarray(values, order="C")  # ascontiguousarray would make a number an array of one
    if not readable(array.dtype):
        raise unwritable_type(array.dtype)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def unwritable_type(kind: object) -> UsageError:
    """The error about an array that no transcript holds."""
    return UsageError(
        "TB-TRANSCRIPT-005",
        f"An array of the type {kind} cannot be written to a transcript.",
        "A transcript holds floats, integers and switches (bool) of up to 64 bits.",
        "Convert the array first, for instance to float32.",
    )


def _bytes(file: BinaryIO, place: Place) -> Iterator[bytes]:
    """The bytes of a tensor, a few at a time."""
    file.seek(place.offset)
    left = place.size
    while left:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            raise OSError(None, "the file ends before its tensors do")
        left -= len(chunk)
        yield chunk


def checked(file: BinaryIO, places: Mapping[str, Place]) -> None:
    """Raises `InputError` for a tensor that does not match the digest by which it is named."""
    for name, place in sorted(places.items(), key=lambda item: item[1].offset):
        if not DIGEST.fullmatch(name):
            continue
        hashed = _begun(place.kind, place.shape)
        for chunk in _bytes(file, place):
            hashed.update(chunk)
        if hashed.hexdigest()[:24] != name:
            raise InputError(
                "TB-TRANSCRIPT-003",
                "The transcript is not as it was recorded.",
                "A tensor's content does not match its digest, so the file was changed or damaged.",
                "Record it again, or copy it again from where it was recorded.",
            )


def mapped(file: BinaryIO, places: Mapping[str, Place]) -> dict[str, Array]:
    """The tensors as read-only arrays that the system reads from the file when they are used.

    They stay readable when the file is closed, replaced or deleted. A file in memory is copied.
    """
    if not places:
        return {}
    try:
        buffer: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except io.UnsupportedOperation:
        file.seek(0)
        buffer = file.read()
    return {
        name: np.frombuffer(buffer, place.kind, place.size // place.kind.itemsize, place.offset).reshape(place.shape)
        if place.size
        else frozen(np.empty(place.shape, place.kind))
        for name, place in places.items()
    }


def opened(path: Path) -> tuple[dict[str, str], dict[str, Place]]:
    """The texts of a safetensors file and the places of its tensors.

    Raises `OSError`, or for a file of another form `SafetensorError`, `ValueError` or `LookupError`.
    """
    with safe_open(path, framework="numpy") as file:  # the library checks that all places are in the file
        texts = file.metadata() or {}
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        told: dict[str, Any] = json.loads(file.read(size))
        end = file.seek(0, os.SEEK_END)
    told.pop("__metadata__", None)
    places = {
        name: Place(TYPES[one["dtype"]], tuple(one["shape"]), 8 + size + one["data_offsets"][0])
        for name, one in told.items()
    }
    if any(place.offset + place.size > end for place in places.values()):
        raise ValueError("a tensor beyond the file's end")
    return texts, places


def file_of(texts: Mapping[str, str], tensors: Mapping[str, Place], source: BinaryIO) -> Iterator[bytes | memoryview]:
    """A safetensors file of these texts and of these tensors, which lie in another file."""
    names = _sorted({name: place.kind for name, place in tensors.items()})
    yield _head(texts, [(name, tensors[name]) for name in names])
    for name in names:
        yield from _bytes(source, tensors[name])


def file_with(texts: Mapping[str, str], arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """A safetensors file of these texts and arrays."""
    names = _sorted({name: array.dtype for name, array in arrays.items()})
    yield _head(texts, [(name, Place(arrays[name].dtype, arrays[name].shape, 0)) for name in names])
    for name in names:
        yield content(arrays[name])


def _sorted(kinds: Mapping[str, np.dtype[Any]]) -> list[str]:
    return sorted(kinds, key=lambda name: (ORDER.index(NAMES[kinds[name]]), name))


def _head(texts: Mapping[str, str], tensors: list[tuple[str, Place]]) -> bytes:
    told: dict[str, Any] = {"__metadata__": dict(texts)}
    at = 0
    for name, place in tensors:
        told[name] = {"dtype": NAMES[place.kind], "shape": place.shape, "data_offsets": [at, at + place.size]}
        at += place.size
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNED)
    return struct.pack("<Q", len(text)) + text


def private(path: str, flags: int) -> int:
    """Opens a file so that its owner alone can read it."""
    return os.open(path, flags, 0o600)


def put(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Writes a file, whole or not at all, readable by its owner only. Raises `UsageError` if it cannot be written."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with open(staging, "wb", opener=private) as file:
                file.writelines(chunks)
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)
    except OSError as error:
        raise unwritten(error) from None


def unwritten(error: OSError) -> UsageError:
    """The error about a transcript that the system does not write."""
    return UsageError(
        "TB-TRANSCRIPT-004",
        "The transcript cannot be written.",
        f"The system says: {error.strerror or type(error).__name__}. A file that stood there before is unchanged.",
        "Free space or choose another folder, and write it again.",
    )
