"""The transcript's file: tensors in safetensors, everything else in its JSON header; equal tensors stored once.

The form of the header is `testbed.subjects.federation.header.Header`. A tensor's name in the file is its digest, which
is checked on reading. The file holds no code: a model is given by the name of a registered factory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from testbed.core import Array, Exchange, ModelSpec, Parameters, Position, Protocol, Status, Transcript, frozen
from testbed.core.errors import InputError, UsageError
from testbed.subjects.federation.header import FORMAT, Header, damaged, fault_of, parsed

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


Values: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""Arrays or CPU tensors by name, or numbered in the model's order."""


class Writer:
    """Writes a transcript from any loop or platform: `with Writer(path, protocol=...) as writer:`.

    `sent` and `returned` are called as messages go out and come back. Their arrays are copied, and equal ones are kept
    once. The file is written at the end of the block, and also when the block ends by an exception: what was recorded
    until then did happen. A message without an answer is recorded as dropped. Raises `UsageError` for what a transcript
    cannot hold, and for a file that cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        model: ModelSpec | None = None,
        protocol: Protocol | None = None,
        position: Position = "server",
    ) -> None:
        self.path = Path(path)
        self._about = Transcript((), model, protocol or Protocol(), position)
        self._tensors: dict[str, Array] = {}
        self._exchanges: dict[tuple[int, int], Exchange] = {}
        self._final: Parameters | None = None

    def sent(self, round: int, client: int, parameters: Values | None, config: Mapping[str, Any] | None = None) -> None:
        """Records what went to a client in a round, and with which settings."""
        if (round, client) in self._exchanges:
            raise UsageError(
                "TB-TRANSCRIPT-006",
                f"Round {round} has two messages to client {client}.",
                "A transcript holds one exchange of each client in each round.",
                "Count rounds up, and number clients differently.",
            )
        self._put(Exchange(round, client, self._kept(parameters), None, {}, dict(config or {}), "dropped"))

    def returned(
        self,
        round: int,
        client: int,
        parameters: Values | None,
        metrics: Mapping[str, float] | None = None,
        status: Status = "ok",
    ) -> None:
        """Records what came back, with its metrics: `num-examples` says how many records the answer was made from.

        A FedSGD answer is a gradient, a FedAvg answer new weights.
        """
        asked = self._exchanges.get((round, client), Exchange(round, client, None, None))
        told = {name: float(value) for name, value in (metrics or {}).items()}
        self._put(replace(asked, returned=self._kept(parameters), metrics=told, status=status))

    def final(self, parameters: Values) -> None:
        """Records the last global model."""
        self._final = self._kept(parameters)

    def transcript(self) -> Transcript:
        """All exchanges so far, sorted by round and client."""
        exchanges = tuple(self._exchanges[key] for key in sorted(self._exchanges))
        return replace(self._about, exchanges=exchanges, final=self._final)

    def close(self) -> None:
        """Writes the file."""
        write(self.path, self.transcript())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, exchange: Exchange) -> None:
        fault = fault_of(exchange.round, exchange.client, exchange.metrics, exchange.config, exchange.status)
        if fault is not None:
            raise UsageError(
                "TB-TRANSCRIPT-007",
                "This message cannot be written to a transcript.",
                f"Its {fault} is of another type or size than docs/transcript.md describes.",
                "Rounds and clients are whole numbers; settings are numbers, texts or switches.",
            )
        self._exchanges[exchange.key] = exchange

    def _kept(self, parameters: Values | None) -> Parameters | None:
        if parameters is None:
            return None
        numbered = parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters)
        return {str(name): self._once(values) for name, values in numbered}

    def _once(self, values: Any) -> Array:
        """A read-only copy of the values, or the equal array that was recorded before."""
        try:
            array = plain(values.detach().cpu() if hasattr(values, "detach") else values)
        except TypeError:  # torch has types that numpy lacks
            raise unwritable_type(getattr(values, "dtype", type(values).__name__)) from None
        name = digest(array)
        if name not in self._tensors:
            self._tensors[name] = frozen(array.copy())
        return self._tensors[name]
