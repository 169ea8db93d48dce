"""The transcript's file: tensors in safetensors, everything else in its JSON header; equal tensors stored once.

The form of the header is `testbed.subjects.federation.header.Header`. A tensor's name in the file is its digest, which
is checked on reading. The file holds no code: a model is given by the name of a registered factory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from testbed.core import Array, Exchange, ModelSpec, Parameters, Protocol, Transcript
from testbed.core.errors import InputError, UsageError
from testbed.subjects.federation.header import FORMAT, Header, damaged, parsed

DIGEST = re.compile("[0-9a-f]{24}")


def readable(kind: np.dtype[Any]) -> bool:
    """Whether the file takes arrays of this type: floats, integers and switches, as any machine has them."""
    return kind.kind in "fiub" and kind.itemsize <= 8


def digest(array: Array) -> str:
    """What names a tensor in the file: a hash of its type, its shape and its bytes."""
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()[:24]


def plain(values: Any) -> Array:
    """The values as the file takes them, in C order. Raises `UsageError` for other things than plain numbers."""
    array = np.ascontiguousarray(values)
    if not readable(array.dtype):
        raise UsageError(
            "TB-TRANSCRIPT-005",
            f"An array of the type {array.dtype} cannot be written to a transcript.",
            "A transcript holds floats, integers and switches (bool) of up to 64 bits.",
            "Convert the array first, for instance to float32.",
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def to_bytes(transcript: Transcript) -> bytes:
    """The content of a transcript's file; equal transcripts give equal bytes.

    Raises `UsageError` for arrays of other things than plain numbers.
    """
    tensors: dict[str, Array] = {}

    def keep(parameters: Mapping[str, Array] | None) -> dict[str, str] | None:
        if parameters is None:
            return None
        names: dict[str, str] = {}
        for name, values in parameters.items():
            array = plain(values)
            names[name] = digest(array)
            tensors[names[name]] = array
        return names

    header = {
        "format": FORMAT,
        "position": transcript.position,
        "protocol": asdict(transcript.protocol),
        "model": None
        if transcript.model is None
        else {"factory": transcript.model.factory, "arguments": dict(transcript.model.arguments)},
        "act": transcript.act,
        "final": keep(transcript.final),
        "memory": keep(transcript.memory),
        "exchanges": [
            {
                "round": e.round,
                "client": e.client,
                "status": e.status,
                "metrics": dict(e.metrics),
                "config": {k: v for k, v in e.config.items() if isinstance(v, bool | int | float | str)},
                "sent": keep(e.sent),
                "returned": keep(e.returned),
            }
            for e in transcript.exchanges
        ],
    }
    return save(dict(sorted(tensors.items())), metadata={"testbed": json.dumps(header)})


def write(path: Path, transcript: Transcript) -> None:
    """Writes the file, whole or not at all, readable by its owner only. Raises `UsageError` if it cannot be written."""
    content = to_bytes(transcript)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            staging.write_bytes(content)
            staging.chmod(0o600)
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            "TB-TRANSCRIPT-004",
            "The transcript cannot be written.",
            f"The system says: {error.strerror or type(error).__name__}. A file that stood there before is unchanged.",
            "Free space or choose another folder, and write it again.",
        ) from None


def read(path: Path) -> Transcript:
    """The transcript in a file.

    Raises `InputError` if the file is damaged, incomplete, of another kind or of a newer version.
    """
    text, tensors = _content(path)
    header = parsed(text)
    for name, array in tensors.items():
        if DIGEST.fullmatch(name) and digest(array) != name:
            raise InputError(
                "TB-TRANSCRIPT-003",
                "The transcript is not as it was recorded.",
                "A tensor's content does not match its digest, so the file was changed or damaged.",
                "Record it again, or copy it again from where it was recorded.",
            )
    try:
        return _assembled(header, tensors)
    except KeyError:
        raise damaged("it lacks a tensor that its header names") from None


def _content(path: Path) -> tuple[str, dict[str, Array]]:
    """The header's text and the tensors of a file, read-only."""
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("testbed")
            tensors: dict[str, Array] = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise damaged(_reason(error)) from None
    if text is None:
        raise damaged("it has no header of this testbed")
    for array in tensors.values():
        if not readable(array.dtype):
            raise damaged("it holds a tensor that is no plain number")
        array.flags.writeable = False
    return text, tensors


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"the system says {error.strerror or type(error).__name__}"
    return "its tensors are not stored as safetensors, or in a type that is not read here"


def _assembled(header: Header, tensors: Mapping[str, Array]) -> Transcript:
    """The transcript of a header and its tensors. Raises `KeyError` if a tensor is missing."""

    def parameters(entry: Mapping[str, str] | None) -> Parameters | None:
        return None if entry is None else {name: tensors[digest] for name, digest in entry.items()}

    return Transcript(
        tuple(
            Exchange(e.round, e.client, parameters(e.sent), parameters(e.returned), e.metrics, e.config, e.status)
            for e in header.exchanges
        ),
        None if header.model is None else ModelSpec(header.model.factory, header.model.arguments),
        Protocol(**header.protocol.model_dump()),
        header.position,
        parameters(header.final),
        header.act,
        parameters(header.memory) or {},
    )
