"""The transcript's file: tensors in safetensors, everything else in its JSON header; equal tensors stored once.

The form of the header is `testbed.subjects.federation.header.Header`. A tensor's name in the file is its digest, which
is checked on reading. The file holds no code: a model is given by the name of a registered factory. While a federation
runs, its recorder writes a spool (`testbed.subjects.federation.spool`), which becomes the file when the run ends.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeAlias

from safetensors import SafetensorError

from testbed.core import Array, Asked, Exchange, ModelSpec, Parameters, Position, Protocol, Status, Transcript
from testbed.core.errors import UsageError
from testbed.subjects.federation import spool
from testbed.subjects.federation.header import FORMAT, ExchangePart, Header, More, beside, damaged, fault_of, parsed
from testbed.subjects.federation.spool import Recording, Spool, settings
from testbed.subjects.federation.tensors import (
    Place,
    checked,
    digest,
    file_of,
    file_with,
    mapped,
    opened,
    plain,
    put,
    unwritable_type,
    unwritten,
)

MORE = "testbed.more"
"""The name of the text that stands beside the header."""


def to_bytes(transcript: Transcript) -> bytes:
    """The content of a transcript's file; equal transcripts give equal bytes.

    Raises `UsageError` for arrays of other things than plain numbers.
    """
    return b"".join(file_with(*_parts(transcript)))


def write(path: Path, transcript: Transcript) -> None:
    """Writes the file, whole or not at all, readable by its owner only. Raises `UsageError` if it cannot be written."""
    put(path, file_with(*_parts(transcript)))


def finish(path: Path, recording: Recording) -> None:
    """Writes the file of what a spool holds, tensor by tensor. Raises `UsageError` if it cannot be written."""
    put(path, file_of(_texts(recording.header, recording.more), recording.places, recording.file))


def _texts(header: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, str]:
    """The header, and what stands beside it if there is anything."""
    beside = {name: value for name, value in more.items() if value not in (None, [])}
    return {"testbed": json.dumps(header), **({MORE: json.dumps(beside)} if beside else {})}


def _parts(transcript: Transcript) -> tuple[dict[str, str], dict[str, Array]]:
    """The header of the transcript, and its tensors."""
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

    def told(e: Exchange) -> dict[str, Any]:
        return {
            "round": e.round,
            "client": e.client,
            "status": e.status,
            "metrics": dict(e.metrics),
            "config": settings(e.config),
            "sent": keep(e.sent),
            "returned": keep(e.returned),
        }

    header = {
        "format": FORMAT,
        "position": transcript.position,
        "protocol": transcript.protocol.told(),
        "model": None
        if transcript.model is None
        else {"factory": transcript.model.factory, "arguments": dict(transcript.model.arguments)},
        "act": transcript.act,
        "final": keep(transcript.final),
        "memory": keep(transcript.memory),
        "exchanges": [told(e) for e in transcript.exchanges],
    }
    asked = [{**told(e), "kind": e.kind} for e in transcript.asked]
    return _texts(header, {"cut_after": transcript.cut_after, "asked": asked}), tensors


def read(path: Path) -> Transcript:
    """The transcript in a file, or in the spool of a run that was killed. Its arrays are read when they are used.

    Raises `InputError` if the file is damaged, incomplete, of another kind or of a newer version.
    """
    try:
        with path.open("rb") as file:
            if spool.lies_in(file):
                return _read(file, *_of(spool.read(file)))
            texts, places = opened(path)
            if "testbed" not in texts:
                raise damaged("it has no header of this testbed")
            return _read(file, parsed(texts["testbed"]), beside(texts.get(MORE, "{}")), places)
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise damaged(_reason(error)) from None


def recorded(recording: Recording) -> Transcript:
    """The transcript of a spool that was just written."""
    header, more, places = _of(recording)
    return _assembled(header, more, mapped(recording.file, places))


def _of(recording: Recording) -> tuple[Header, More, dict[str, Place]]:
    """What a spool holds. Of one that was cut off, some tensors belong to a round that is not whole."""
    header, more = Header.model_validate(recording.header), More.model_validate(recording.more)
    named = [entry for e in (*header.exchanges, *more.asked) for entry in (e.sent, e.returned)]
    names = {digest for entry in (*named, header.final, header.memory) if entry for digest in entry.values()}
    return header, more, {name: place for name, place in recording.places.items() if name in names}


def _read(file: BinaryIO, header: Header, more: More, places: Mapping[str, Place]) -> Transcript:
    checked(file, places)
    try:
        return _assembled(header, more, mapped(file, places))
    except KeyError:
        raise damaged("it lacks a tensor that its header names") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"the system says {error.strerror or type(error).__name__}"
    return "its tensors are not stored as safetensors, or in a type that is not read here"


def _assembled(header: Header, more: More, tensors: Mapping[str, Array]) -> Transcript:
    """The transcript of a file's texts and tensors. Raises `KeyError` if a tensor is missing."""

    def parameters(entry: Mapping[str, str] | None) -> Parameters | None:
        return None if entry is None else {name: tensors[digest] for name, digest in entry.items()}

    def parts(e: ExchangePart) -> tuple[Any, ...]:
        return e.round, e.client, parameters(e.sent), parameters(e.returned), e.metrics, e.config, e.status

    return Transcript(
        tuple(Exchange(*parts(e)) for e in header.exchanges),
        None if header.model is None else ModelSpec(header.model.factory, header.model.arguments),
        Protocol(**header.protocol.model_dump()),
        header.position,
        parameters(header.final),
        header.act,
        parameters(header.memory) or {},
        more.cut_after,
        tuple(Asked(*parts(e), kind=e.kind) for e in more.asked),
    )


Values: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""Arrays or CPU tensors by name, or numbered in the model's order."""


class Writer:
    """Writes a transcript from any loop or platform: `with Writer(path, protocol=...) as writer:`.

    `sent` and `returned` are called as messages go out and come back. Their arrays go to the disk at once, into a spool
    beside the file, so that a killed loop leaves its whole rounds; a round is whole when a later one begins. The file
    is written at the end of the block, and also when the block ends by an exception: what was recorded until then did
    happen. A message without an answer is recorded as dropped. `evaluated` records what trains nothing. Raises
    `UsageError` for what a transcript cannot hold, and for a file that cannot be written.
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
        self._open: Spool | None = None
        self._asked: dict[tuple[int, int], tuple[int, int | None, Mapping[str, Any]]] = {}
        self._clients: set[int] = set()
        self._latest: int | None = None
        self._final: int | None = None

    def sent(self, round: int, client: int, parameters: Values | None, config: Mapping[str, Any] | None = None) -> None:
        """Records what went to a client in a round, and with which settings."""
        if (round, client) in self._asked:
            raise UsageError(
                "TB-TRANSCRIPT-006",
                f"Round {round} has two messages to client {client}.",
                "A transcript holds one exchange of each client in each round.",
                "Count rounds up, and number clients differently.",
            )
        self._put(round, client, "dropped", {}, config or {}, parameters)

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
        self._put(round, client, status, metrics or {}, None, parameters)

    def evaluated(
        self, round: int, client: int, parameters: Values | None, metrics: Mapping[str, float], kind: str = "evaluate"
    ) -> None:
        """Records a model that a client evaluated, and what it reported: `loss`, `accuracy`, `num-examples`.

        `kind` is `evaluate`, or `query` for other messages that train nothing. A client may evaluate several models in
        a round.
        """
        told = _told(round, client, metrics, {}, "ok")
        with _on_disk():
            arrays, spool_ = _by_name(parameters), self._spool()
            self._begun(round)
            spool_.exchange((round, client), (spool_.arrays(arrays), None), "ok", told, {}, kind=kind)
            self._clients.add(client)

    def final(self, parameters: Values) -> None:
        """Records the last global model."""
        with _on_disk():
            self._final = self._spool().arrays(_by_name(parameters))

    def close(self) -> None:
        """Writes the file, and deletes the spool."""
        with _on_disk():
            spool_ = self._spool()
            spool_.whole(self._latest or 0, {client: client for client in self._clients}, self._final)
            finish(self.path, spool_.recording())
            spool_.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spool(self) -> Spool:
        if self._open is None:
            self._open = Spool(self._about, spool.beside(self.path))
        return self._open

    def _put(
        self,
        round_: int,
        client: int,
        status: Status,
        metrics: Mapping[str, float],
        config: Mapping[str, Any] | None,
        parameters: Values | None,
    ) -> None:
        """Records a message to a client (with its `config`) or the client's answer."""
        metrics = _told(round_, client, metrics, config or {}, status)
        with _on_disk():
            arrays, spool_ = _by_name(parameters), self._spool()
            self._begun(round_)
            self._clients.add(client)
            number = spool_.arrays(arrays)
            again, sent, told = self._asked.get((round_, client), (None, None, {}))
            asked, returned = (number, None) if config is not None else (sent, number)
            told = told if config is None else config
            at = spool_.exchange((round_, client), (asked, returned), status, metrics, told, again=again)
            self._asked[round_, client] = at, asked, told

    def _begun(self, round_: int) -> None:
        """Says that the latest round is whole, if this message belongs to a later one."""
        if self._latest is not None and round_ > self._latest:
            self._spool().whole(self._latest, {client: client for client in self._clients})
        self._latest = max(round_, self._latest or round_)


def _told(
    round_: int, client: int, metrics: Mapping[str, float], config: Mapping[str, Any], status: Status
) -> dict[str, float]:
    """The metrics as numbers. Raises `UsageError` for a message that the header of a transcript cannot hold."""
    told = {name: float(value) for name, value in metrics.items()}
    fault = fault_of(round_, client, told, config, status)
    if fault is not None:
        raise UsageError(
            "TB-TRANSCRIPT-007",
            "This message cannot be written to a transcript.",
            f"Its {fault} is of another type or size than docs/transcript.md describes.",
            "Rounds and clients are whole numbers; settings are numbers, texts or switches.",
        )
    return told


@contextlib.contextmanager
def _on_disk() -> Generator[None]:
    """Raises `UsageError` for what the system refuses to write."""
    try:
        yield
    except OSError as error:
        raise unwritten(error) from None


def _by_name(parameters: Values | None) -> dict[str, Array] | None:
    """The arrays by name. Raises `UsageError` for arrays that the file does not take."""
    if parameters is None:
        return None
    numbered = parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters)
    return {str(name): _array(values) for name, values in numbered}


def _array(values: Any) -> Array:
    try:
        return plain(values.detach().cpu() if hasattr(values, "detach") else values)
    except TypeError:  # torch has types that numpy lacks
        raise unwritable_type(getattr(values, "dtype", type(values).__name__)) from None
