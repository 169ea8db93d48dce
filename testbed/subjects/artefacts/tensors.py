"""Tensors of torch files and of safetensors, from their bytes alone.

A torch file is a zip archive: a pickle that describes tensors, and one member for the numbers of each storage. Files of
before torch 1.6 are several pickles in a row with the numbers behind them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib import stride_tricks

from testbed.core import Array
from testbed.subjects.artefacts.pickles import Made, Named, as_shape, count_of, named
from testbed.subjects.artefacts.pieces import Grid, Piece, Text, Unseen, Where, code_name

STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "UntypedStorage": "u1",
}
DTYPES = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "bf16",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "?",
}
SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bf16", "I64": "<i8", "I32": "<i4", "I16": "<i2"} | {
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
}
MAGIC = 0x1950A86A20F9469CFC6C
LARGEST_HEADER = 2**26


def numbers(data: bytes, code: str) -> Array:
    """Bytes as a flat array; bfloat16 becomes float32."""
    if code == "bf16":
        wide = np.frombuffer(data[: len(data) // 2 * 2], "<u2").astype(np.uint32) << 16
        return wide.view(np.float32)
    return np.frombuffer(data[: len(data) // width(code) * width(code)], code)


def width(code: str) -> int:
    """The bytes of one number."""
    return 2 if code == "bf16" else np.dtype(code).itemsize


def storage_code(node: Any) -> str:
    return STORAGES.get(node.name, "") if isinstance(node, Named) else ""


def rebuilt(node: Made, storages: Callable[[Any], Array | None]) -> Array | None:
    """The tensor that a call of torch._utils would make, or None."""
    name, args = named(node.by), node.args
    if not isinstance(args, tuple):
        return None
    if "_rebuild_tensor" not in name and name != "torch._tensor._rebuild_from_type_v2":
        return None
    if name.endswith("_rebuild_from_type_v2"):
        inner = args[2] if len(args) > 2 and isinstance(args[2], tuple) else ()
        return _strided(inner, storages)
    return _strided(args, storages)


def _strided(args: tuple[Any, ...], storages: Callable[[Any], Array | None]) -> Array | None:
    if len(args) < 4 or not isinstance(args[1], int):
        return None
    flat, shape, strides = storages(args[0]), as_shape(args[2]), as_shape(args[3])
    kind = next((a.name for a in args if isinstance(a, Named) and a.module == "torch"), "")
    if flat is None or shape is None or strides is None or len(shape) != len(strides):
        return None
    if flat.dtype == np.uint8 and kind in DTYPES:
        flat = numbers(flat.tobytes(), DTYPES[kind])
    last = args[1] + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if args[1] < 0 or (count_of(shape) and last >= len(flat)) or count_of(shape) > len(flat):
        return None  # a tensor that repeats its numbers holds none of its own
    steps = [s * flat.itemsize for s in strides]
    return stride_tricks.as_strided(flat[args[1] :], shape, steps, writeable=False)


def of_safetensors(data: bytes, where: Where) -> Iterator[Piece]:
    """The tensors of a safetensors file, and its metadata as text. Raises `ValueError` for another format."""
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= min(LARGEST_HEADER, len(data) - 8):
        raise ValueError("no header")
    header: Any = json.loads(data[8 : 8 + size])
    body = memoryview(data)[8 + size :]
    if not isinstance(header, dict):
        raise ValueError("no header")
    told = header.pop("__metadata__", None)
    if told is not None:
        yield Text((*where, "metadata"), json.dumps(told, ensure_ascii=False))
    yield Text((*where, "names of tensors"), "\n".join(map(str, header)))
    for place, (name, about) in enumerate(header.items(), 1):
        here = (*where, f"tensor {place} of {len(header)}")
        code = SAFETENSORS.get(str(about.get("dtype"))) if isinstance(about, dict) else None
        if code is None:
            yield Unseen(here, "its numbers are of a kind that is not read")
            continue
        begin, end = about["data_offsets"]
        flat, shape = numbers(bytes(body[begin:end]), code), as_shape(tuple(about["shape"]))
        if shape is None or count_of(shape) != len(flat):
            yield Unseen(here, "its shape is not that of its numbers")
            continue
        yield Grid(here, flat.reshape(shape), "", code_name(name))
