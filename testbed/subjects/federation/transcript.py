"""The transcript's file: tensors in safetensors, everything else in its JSON header; equal tensors stored once.

`{"format": "testbed.transcript/1", "position", "protocol", "model", "act", "exchanges": [{"round", "client",
"status", "metrics", "config", "sent": {name: tensor}, "returned": ...}], "final", "memory"}`. The file holds no code: a
model is given by the name of a registered factory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from testbed.core import Array, Exchange, ModelSpec, Parameters, Protocol, Transcript, frozen
from testbed.core.errors import InputError

FORMAT = "testbed.transcript/1"


def to_bytes(transcript: Transcript) -> bytes:
    """The content of a transcript's file; equal transcripts give equal bytes."""
    tensors: dict[str, Array] = {}

    def keep(parameters: Mapping[str, Array] | None) -> dict[str, str] | None:
        if parameters is None:
            return None
        names: dict[str, str] = {}
        for name, values in parameters.items():
            array = np.ascontiguousarray(values)
            digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()[:24]
            tensors[digest] = array
            names[name] = digest
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
    """Writes the file, whole or not at all, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    staging.write_bytes(to_bytes(transcript))
    staging.chmod(0o600)
    staging.replace(path)


KINDS = ("fedsgd", "fedavg", "unknown")


def read(path: Path) -> Transcript:
    """The transcript in a file. Raises `InputError` if the file is damaged, incomplete or of another kind."""
    try:
        with safe_open(path, framework="numpy") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["testbed"])
            names: set[str] = set(file.keys())
            tensors = {name: frozen(file.get_tensor(name)) for name in names}
        if header["format"] != FORMAT:
            raise KeyError("format")
        if not all(isinstance(e[k], int) for e in header["exchanges"] for k in ("round", "client")):
            raise TypeError("round or client")
        if header["position"] not in ("server", "client") or header["protocol"].get("kind", "unknown") not in KINDS:
            raise ValueError("position or kind")

        def parameters(entry: dict[str, str] | None) -> Parameters | None:
            return None if entry is None else {name: tensors[digest] for name, digest in entry.items()}

        model = header["model"]
        return Transcript(
            tuple(
                Exchange(
                    e["round"],
                    e["client"],
                    parameters(e["sent"]),
                    parameters(e["returned"]),
                    e["metrics"],
                    e["config"],
                    e["status"],
                )
                for e in header["exchanges"]
            ),
            None if model is None else ModelSpec(model["factory"], model["arguments"]),
            Protocol(**header["protocol"]),
            header["position"],
            parameters(header["final"]),
            header["act"],
            parameters(header["memory"]) or {},
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise InputError(
            "TB-TRANSCRIPT-001",
            "The transcript cannot be read.",
            "The file is damaged, incomplete, or not a transcript of this testbed.",
            "Record it again, or check how it was copied.",
        ) from None
