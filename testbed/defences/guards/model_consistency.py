"""A guard against inconsistent models: clients compare digests of what they were sent, without the server."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from testbed.core import Parameters
from testbed.core.guard import CANNOT_TELL, Memory, Received
from testbed.defences.guards.registry import guard


@guard(
    side="client",
    threshold=0.0,
    reference="https://arxiv.org/abs/2111.07380",
    notices={"model_inconsistency", "loki", "isolation", "crafted_neurons", "gradient_ascent"},
)
def model_consistency(seen: Received, memory: Memory, *, board: str = "") -> float:
    """The share of other clients' digests on a notice board, of this and earlier rounds, that differ from the own ones.

    A server that isolates or silences clients sends them different models (Pasquini et al. 2022). `board` is a folder
    that all clients can write to and the server cannot; without one it can tell nothing. A client that answers before
    the others posted notices it one round later. Limits: a server with clients of its own can post what it likes, and a
    model that is malicious for everybody is consistent.
    """
    if not board:
        return CANNOT_TELL
    folder = Path(board)
    folder.mkdir(parents=True, exist_ok=True)
    mine = digest(seen.sent)
    memory[str(seen.round)] = np.frombuffer(bytes.fromhex(mine), np.uint8)
    own = folder / f"{seen.round}.{seen.client}.digest"
    fresh = own.with_suffix(".new")
    fresh.write_text(mine, encoding="ascii")
    fresh.rename(own)
    compared = [
        bytes.fromhex(path.read_text(encoding="ascii")) != memory[round_].tobytes()
        for round_ in memory
        for path in folder.glob(f"{round_}.*.digest")
        if path != own and path.name != f"{round_}.{seen.client}.digest"
    ]
    return float(np.mean(compared)) if compared else CANNOT_TELL


def digest(parameters: Parameters) -> str:
    """A digest of names, shapes, types and values."""
    told = hashlib.sha256()
    for name in sorted(parameters):
        value = np.ascontiguousarray(parameters[name])
        told.update(f"{name} {value.shape} {value.dtype.str}".encode())
        told.update(value.tobytes())
    return told.hexdigest()
