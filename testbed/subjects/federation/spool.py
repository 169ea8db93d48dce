"""The spool: what a recorder writes while a federation runs. It holds each tensor once, and no tensor in memory.

If the process is killed, the spool is readable up to the last whole round.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from testbed.core import Array, Protocol, Transcript
from testbed.core.errors import InputError, UsageError
from testbed.subjects.federation import journal
from testbed.subjects.federation.header import FORMAT, damaged
from testbed.subjects.federation.tensors import CHUNK, NAMES, Place, content, digest, plain, private

IN_MEMORY = 64 << 20
"""A spool without a path stays in memory up to this many bytes, and goes on in a temporary file."""

START = b'{"line":"begun","format":"testbed.spool/'
"""How every spool begins."""


class Spool:
    """A growing record of a federation, in a file if a path is given. Its functions raise `OSError` on a full disk."""

    def __init__(self, about: Transcript, path: Path | None = None) -> None:
        self.path = path
        self._file = _made(path)
        self._hidden = False
        self._known: set[bytes] = set()
        self._arrays = self._exchanges = 0
        self._numbered: dict[int, int] = {}
        self._line(begun(about))

    def arrays(self, parameters: Mapping[str, Any] | None) -> int | None:
        """Writes the tensors of a message that are not there yet, and returns the number by which they are known.

        Raises `UsageError` for arrays of other things than plain numbers.
        """
        if parameters is None:
            return None
        given = {name: plain(values) for name, values in parameters.items()}
        names = {name: self._once(array) for name, array in given.items()}
        self._line({"line": "arrays", "tensors": names})
        self._arrays += 1
        return self._arrays - 1

    def exchange(
        self,
        key: tuple[int, int],
        arrays: tuple[int | None, int | None],
        status: str,
        metrics: Mapping[str, float],
        config: Mapping[str, Any],
        *,
        again: int | None = None,
        kind: str | None = None,
    ) -> int:
        """Writes an exchange of a round and a node (`key`) with what was sent and returned (`arrays`).

        It returns its number; `again` is the number of an exchange whose place it takes. `kind` is the type of a
        message that trains nothing.
        """
        number = self._exchanges if again is None else again
        self._exchanges += again is None
        told: dict[str, Any] = {"line": "exchange", "id": number, "round": key[0], "node": key[1], "status": status}
        told |= {"metrics": dict(metrics), "config": settings(config), "sent": arrays[0], "returned": arrays[1]}
        self._line(told if kind is None else {**told, "kind": kind})
        return number

    def whole(self, round_: int, numbers: Mapping[int, int], final: int | None = None) -> None:
        """Says that a round is whole, which numbers nodes have, and which arrays are the global model now.

        From here on, a process that is killed leaves this round readable.
        """
        self.clients(numbers)
        self._line({"line": "whole", "round": round_, "final": final})
        self._file.flush()

    def clients(self, numbers: Mapping[int, int]) -> None:
        """Writes the numbers of nodes that are not written yet."""
        for node, number in numbers.items():
            if self._numbered.get(node) != number:
                self._line({"line": "client", "node": node, "number": number})
                self._numbered[node] = number

    def recording(self) -> Recording:
        """All that was written so far, and where."""
        self._file.flush()
        recording = read(self._file, whole_rounds=False)
        self._file.seek(0, io.SEEK_END)
        return recording

    def hide(self) -> None:
        """Deletes the spool's file; what it holds is there as long as this value."""
        if self.path is not None and not self._hidden:
            self.path.unlink()
            self._hidden = True

    def show(self) -> None:
        """Puts a file that was hidden in its place again."""
        if self.path is not None and self._hidden:
            self._move(_made(self.path))
            self._hidden = False

    def close(self) -> None:
        """Deletes the spool."""
        self.hide()
        self.leave()

    def leave(self) -> None:
        """Closes the spool, and leaves its file where it is."""
        with contextlib.suppress(OSError):  # on a full disk, the rest of the last line does not reach the file
            self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.leave()

    def _once(self, array: Array) -> str:
        name = digest(array)
        if (known := bytes.fromhex(name)) not in self._known:
            self._roomy(array.nbytes)
            self._file.write(journal.before_tensor(name, NAMES[array.dtype], array.shape, self._file.tell()))
            self._file.write(content(array))
            self._known.add(known)
        return name

    def _line(self, line: Any) -> None:
        self._file.write(journal.text_of(line))

    def _roomy(self, more: int) -> None:
        """Goes on in a temporary file, where this many more bytes are too many for the memory."""
        if isinstance(self._file, io.BytesIO) and self._file.tell() + more > IN_MEMORY:
            self._move(tempfile.TemporaryFile())  # noqa: SIM115 - it stays open

    def _move(self, file: BinaryIO) -> None:
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, CHUNK)
        self._file.close()
        self._file = file


def beside(path: Path) -> Path:
    """Where the spool of a transcript lies while it is recorded."""
    return path.with_name(f"{path.name}.spool")


def lies_in(file: BinaryIO) -> bool:
    """Whether a file is a spool."""
    return file.read(len(START)) == START


def begun(about: Transcript) -> dict[str, Any]:
    """The first line of a spool."""
    model = about.model
    return {
        "line": "begun",
        "format": journal.FORMAT,
        "position": about.position,
        "protocol": about.protocol.told(),
        "model": None if model is None else {"factory": model.factory, "arguments": dict(model.arguments)},
    }


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Those parts of a configuration that a transcript holds."""
    return {k: v for k, v in config.items() if isinstance(v, bool | int | float | str)}


def _made(path: Path | None) -> BinaryIO:
    """A new file, which is nobody else's. Raises `UsageError` if the spool of another run lies there."""
    if path is None:
        return io.BytesIO()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return open(path, "x+b", opener=private)
    except FileExistsError:
        raise occupied(path) from None


def occupied(path: Path) -> UsageError:
    """The error about a spool that another run left, or is writing."""
    return UsageError(
        "TB-TRANSCRIPT-008",
        f"{path.name} lies there already.",
        "A run that was killed left it, and it can be replayed; or another run is writing it.",
        f"Move it, or record to another path. To read it: testbed replay {path.name} --attack NAME.",
    )


@dataclass(frozen=True, slots=True)
class Recording:
    """What a spool holds: the header of its transcript, what stands beside it, and where its tensors lie."""

    header: dict[str, Any]
    more: dict[str, Any]
    places: Mapping[str, Place]
    file: BinaryIO


@dataclass(slots=True)
class _Heard:
    """What the lines of a spool said so far."""

    places: dict[str, Place] = field(default_factory=dict[str, Place])
    arrays: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    exchanges: dict[int, journal.Exchanged] = field(default_factory=dict[int, journal.Exchanged])
    numbers: dict[int, int] = field(default_factory=dict[int, int])
    final: dict[str, str] | None = None

    def hear_all(self, waiting: list[tuple[journal.Line, Place | None]]) -> None:
        """Takes in these lines, and empties the list. Raises `LookupError` if one refers to what was not said."""
        for line, place in waiting:
            self._hear(line, place)
        waiting.clear()

    def _hear(self, line: journal.Line, place: Place | None) -> None:
        match line:
            case journal.Tensor() if place is not None:
                self.places[line.digest] = place
            case journal.Arrays():
                if not self.places.keys() >= set(line.tensors.values()):
                    raise LookupError
                self.arrays.append(line.tensors)
            case journal.Exchanged():
                self._of(line.sent)
                self._of(line.returned)
                self.exchanges[line.id] = line
            case journal.Client():
                self.numbers[line.node] = line.number
            case journal.Whole():
                self.final = self._of(line.final) or self.final
            case _:
                raise LookupError

    def _of(self, number: int | None) -> dict[str, str] | None:
        return None if number is None else self.arrays[number]

    def told(self, training: bool) -> list[dict[str, Any]]:
        """The exchanges of training, or the others, by round and client, as a transcript's file has them."""
        number = numbered({e.node for e in self.exchanges.values()}, self.numbers)
        exchanges = [
            {
                "round": e.round,
                "client": number[e.node],
                "status": e.status,
                "metrics": e.metrics,
                "config": e.config,
                "sent": self._of(e.sent),
                "returned": self._of(e.returned),
                **({} if e.kind is None else {"kind": e.kind}),
            }
            for e in self.exchanges.values()
            if (e.kind is None) == training
        ]
        return sorted(exchanges, key=lambda e: (e["round"], e["client"]))


def numbered(nodes: set[int], told: Mapping[int, int]) -> dict[int, int]:
    """A number for each node: the one that it told, else by ascending node one that is free."""
    unnumbered = sorted(nodes - told.keys())
    free = [i for i in range(len(unnumbered) + len(told)) if i not in set(told.values())]
    return {**told, **dict(zip(unnumbered, free, strict=False))}


def read(file: BinaryIO, whole_rounds: bool = True) -> Recording:
    """What a spool holds; of one that a killed run left, the rounds that are whole.

    Raises `InputError` for a spool without a whole round.
    """
    end = file.seek(0, io.SEEK_END)
    heard, waiting = _Heard(), list[tuple[journal.Line, Place | None]]()
    first: journal.Begun | None = None
    last: int | None = None
    try:
        for line, place in journal.lines(file, end):
            if isinstance(line, journal.Begun):
                if first is not None:
                    raise LookupError
                first = line
                continue
            waiting.append((line, place))
            if isinstance(line, journal.Whole):
                last = line.round
                heard.hear_all(waiting)
        if not whole_rounds:
            heard.hear_all(waiting)
    except LookupError:
        raise damaged("a line of it refers to what stands nowhere before") from None
    if first is None:
        raise damaged("it does not begin as a spool does")
    if whole_rounds and last is None:
        raise InputError(
            "TB-TRANSCRIPT-009",
            "The recording ended before its first round was whole.",
            "The run was killed, or the file was cut off, and no round has all its answers.",
            "Record the federation again.",
        )
    header = {
        "format": FORMAT,
        "position": first.position,
        "protocol": Protocol(**first.protocol.model_dump()).told(),
        "model": None if first.model is None else first.model.model_dump(),
        "act": None,
        "final": heard.final,
        "memory": {},
        "exchanges": heard.told(training=True),
    }
    more = {"cut_after": last if whole_rounds else None, "asked": heard.told(training=False)}
    return Recording(header, more, heard.places, file)
