"""The recorder behind a tap: it writes what passes to a spool, and never ends the federation that it records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from testbed.core import Parameters, Transcript
from testbed.core.errors import RunError, TestbedError, UsageError
from testbed.subjects.federation import spool, transcript
from testbed.subjects.federation.spool import Spool
from testbed.subjects.federation.tensors import plain

_LOG = logging.getLogger("testbed")
T = TypeVar("T")


def attempted(read: Callable[[], T]) -> T | None:
    """What `read` gives, or None if it fails: a recorder never ends what it records."""
    try:
        return read()
    except Exception:  # an app's own encodings may raise anything
        _LOG.warning("the recorder could not read a message; it passes on unchanged, and is recorded as unread")
        return None


class Recorder:
    """Writes exchanges of nodes to a spool, and makes the transcript of it. Memory holds one message at a time.

    With a `path`, the spool lies beside it, and `finish` writes the transcript's file there. If something cannot be
    written, the recording stops and the log says why; `transcript` raises the error. Raises `UsageError` where the
    spool of another run lies.
    """

    def __init__(self, about: Transcript, path: Path | None = None) -> None:
        self._about, self._path = about, path
        self._spool: Spool | None = None
        self._stopped: str | None = None
        self._latest = 0
        if path is not None and spool.beside(path).exists():
            raise spool.occupied(spool.beside(path))

    @property
    def latest(self) -> int:
        """The last round of which something was recorded, or 0."""
        return self._latest

    def arrays(self, read: Callable[[], Parameters | None]) -> int | None:
        """Writes the arrays that `read` gives. They are known by the number returned, or None if they are not read."""
        given = attempted(lambda: (found := read()) and {name: plain(values) for name, values in found.items()})
        return self._written(lambda to: to.arrays(given))

    def exchange(
        self,
        key: tuple[int, int],
        arrays: tuple[int | None, int | None],
        status: str,
        metrics: Mapping[str, float],
        config: Mapping[str, Any],
        kind: str | None = None,
        again: int | None = None,
    ) -> int | None:
        """Writes an exchange of a round and a node (`key`), with the arrays that were sent and returned.

        `kind` is the type of a message that trains nothing. Returns the exchange's number, or None if it is not
        written; `again` is the number of one whose place it takes.
        """
        self._latest = max(self._latest, key[0])
        return self._written(lambda to: to.exchange(key, arrays, status, metrics, config, again=again, kind=kind))

    def whole(self, round_: int, numbers: Mapping[int, int], final: int | None) -> None:
        """Says that a round is whole, which numbers its clients told, and which arrays the global model is now."""
        self._written(lambda to: to.whole(round_, numbers, final))

    def finish(self, numbers: Mapping[int, int]) -> None:
        """Writes the transcript's file, if a path was given, and deletes the spool."""
        if self._path is None or self._spool is None or self._stopped is not None:
            return
        try:
            self._spool.clients(numbers)
            transcript.finish(self._path, self._spool.recording())
            self._spool.hide()
        except (OSError, TestbedError) as error:
            why = error.why if isinstance(error, TestbedError) else str(error.strerror or type(error).__name__)
            _LOG.warning("the transcript cannot be written (%s); its spool can be replayed", why)

    def transcript(self, numbers: Mapping[int, int]) -> Transcript:
        """All exchanges so far, sorted by round and client. `numbers` are those that clients told, by node.

        Raises `RunError` if there are none, and `UsageError` if the recording stopped.
        """
        if self._stopped is not None:
            left = "" if self._path is None else f" What was recorded until then: {spool.beside(self._path).name}."
            raise UsageError(
                "TB-TRANSCRIPT-010",
                f"The recording stopped in round {self._latest}; the federation went on.",
                f"The system says: {self._stopped}.",
                f"Free space, or choose another folder (record(strategy, path=...)), and record again.{left}",
            )
        if self._spool is None:
            raise RunError(
                "TB-RUN-002",
                "The tap recorded nothing.",
                "No training message passed through the wrapped strategy.",
                "Start the federation with the wrapped strategy: record(strategy).start(...).",
            )
        self._spool.clients(numbers)
        return transcript.recorded(self._spool.recording())

    def _written(self, write: Callable[[Spool], T]) -> T | None:
        """Writes to the spool, which is made at the first message."""
        if self._stopped is not None:
            return None
        try:
            if self._spool is None:
                self._spool = Spool(self._about, None if self._path is None else spool.beside(self._path))
            self._spool.show()
            return write(self._spool)
        except Exception as error:  # whatever it is, the federation goes on
            said = (
                error.strerror
                if isinstance(error, OSError)
                else error.what
                if isinstance(error, TestbedError)
                else None
            )
            self._stopped = (said or type(error).__name__).rstrip(".")
            if self._spool is not None:
                self._spool.leave()
            _LOG.warning("the recording stops here (%s); the federation goes on", self._stopped)
            return None
