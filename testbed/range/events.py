# pyright: strict
"""The event log of an exercise: one JSON object a line, each chained to the one before it by a keyed digest.

The log holds no payload of a claim: it has the claim's digest, the judgement and the reason. An edited, removed or
moved line breaks the chain. Whoever does not hold the key cannot mend it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from testbed.core.errors import InputError

Fact: TypeAlias = str | int | float | bool | None
LONGEST_FACT = 200
"""Characters of one fact at most: the log holds no payload."""
START = "0" * 64
"""What the first line is chained to."""
LOG, HEAD = "events.jsonl", "head.json"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: in which team and round (0 for none), by whom, and what is to be known of it."""

    seq: int
    ts: float
    team: int
    round: int
    actor: str
    event: str
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Fact])

    def line(self) -> dict[str, Any]:
        """The event as it is written, without its place in the chain."""
        return {
            "seq": self.seq,
            "ts": self.ts,
            "team": self.team,
            "round": self.round,
            "actor": self.actor,
            "event": self.event,
            "facts": dict(sorted(self.facts.items())),
        }


class Log:
    """The log in a folder. It is read and checked when it is opened, and every new event is on disk before it counts.

    `clock` gives the time of day in seconds; a clock that moves back changes no order, which `seq` gives. A last line
    without an end, such as an interrupted scorer leaves, never counted: it is cut off, and `torn` says so. Raises
    `InputError` if a line was changed, removed or moved.
    """

    def __init__(self, folder: Path, key: bytes, clock: Callable[[], float]) -> None:
        self.path, self._head = folder / LOG, folder / HEAD
        self._key, self._clock = key, clock
        written = self.path.read_bytes() if self.path.exists() else b""
        whole = written[: written.rfind(b"\n") + 1]
        self.torn = len(whole) < len(written)
        self.events, self._last = _chained(whole, key)
        _same_end(self._head, self.events, self._last, whole, key)
        if self.torn:
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def append(
        self, event: str, actor: str, team: int = 0, round_: int = 0, facts: Mapping[str, Fact] | None = None
    ) -> Event:
        """Write an event. Text of a fact is cut off at `LONGEST_FACT` characters.

        Raises `OSError` if the disk is full: the event then never was, and what is in the log stays as it is.
        """
        told = {k: v[:LONGEST_FACT] if isinstance(v, str) else v for k, v in (facts or {}).items()}
        made = Event(len(self.events) + 1, round(self._clock(), 3), team, round_, actor, event, told)
        link = _link(self._key, self._last, made)
        line = json.dumps({**made.line(), "link": link}, ensure_ascii=True) + "\n"
        before = self.path.stat().st_size if self.path.exists() else None
        try:
            with self.path.open("ab") as file:
                if before is None:
                    self.path.chmod(0o600)
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
            staging = self._head.with_suffix(".new")
            staging.write_text(json.dumps({"seq": made.seq, "link": link}), encoding="utf-8")
            staging.replace(self._head)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self.path, before or 0)
            raise
        self.events.append(made)
        self._last = link
        return made


def read(folder: Path, key: bytes) -> list[Event]:
    """The events of a log, checked; nothing is changed. Raises `InputError` as `Log` does."""
    written = (folder / LOG).read_bytes() if (folder / LOG).exists() else b""
    whole = written[: written.rfind(b"\n") + 1]
    events, last = _chained(whole, key)
    _same_end(folder / HEAD, events, last, whole, key)
    return events


def _link(key: bytes, before: str, event: Event) -> str:
    text = json.dumps(event.line(), ensure_ascii=True, sort_keys=True)
    return hmac.new(key, f"{before}{text}".encode(), hashlib.sha256).hexdigest()


def _chained(written: bytes, key: bytes) -> tuple[list[Event], str]:
    events: list[Event] = []
    last = START
    for event, link in _lines(written):
        if event is None or event.seq != len(events) + 1 or not hmac.compare_digest(link, _link(key, last, event)):
            raise _broken(f"Line {len(events) + 1} does not follow from the line before it.")
        events.append(event)
        last = link
    return events, last


def _lines(written: bytes) -> Iterator[tuple[Event | None, str]]:
    for line in written.splitlines():
        try:
            told: dict[str, Any] = json.loads(line)
            link = str(told.pop("link"))
            yield Event(**told), link
        except (ValueError, TypeError, KeyError, AttributeError):
            yield None, ""


def _same_end(head: Path, events: list[Event], last: str, whole: bytes, key: bytes) -> None:
    """The log may be one event ahead of its head, if the scorer was stopped between the two, and never behind it."""
    if not head.exists():
        told: dict[str, Any] = {"seq": 0, "link": START}
    else:
        try:
            told = json.loads(head.read_text(encoding="utf-8"))
        except ValueError:
            raise _broken("Its head cannot be read.") from None
    links = {len(events): last}
    if events:
        links[len(events) - 1] = _chained(whole[: whole[:-1].rfind(b"\n") + 1], key)[1]
    if links.get(told.get("seq", -1)) != told.get("link"):
        raise _broken("Its last lines are missing.")


def _broken(why: str) -> InputError:
    return InputError(
        "TB-RANGE-001",
        "The event log was changed after it was written.",
        why,
        "Take it from a snapshot (testbed range reset NAME --to SNAPSHOT). Its scores prove nothing as it is.",
    )
