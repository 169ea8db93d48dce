# pyright: strict
"""The process runtime: one scorer process on loopback for each instance, started, watched and stopped by its id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from testbed.core.errors import RunError
from testbed.range.instance import Instance

PATIENCE_S = 60.0
"""Seconds to wait for a process to start or to end."""
DOOR = "door.json"
LOG = "scorer.log"
_STARTED: dict[int, subprocess.Popen[bytes]] = {}
"""The scorers that this process started, by their id."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where the scorer answers, and its process."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def door(instance: Instance) -> Door | None:
    """The door of the running scorer; None if it does not run, whatever its files say."""
    try:
        told = json.loads((instance.folder / DOOR).read_text(encoding="utf-8"))
        found = Door(int(told["port"]), int(told["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if _ours(found.pid, instance.folder) else None


def start(instance: Instance, port: int = 0) -> Door:
    """Starts the scorer, or finds it running. Raises `RunError` with the end of its log if it does not start."""
    running = door(instance)
    if running is not None:
        return running
    (instance.folder / DOOR).unlink(missing_ok=True)
    log = instance.scorer / LOG
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "testbed.range.door", str(instance.folder.resolve()), str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that an interrupt of the command does not end the scorer
        )
    _STARTED[process.pid] = process
    ended = time.monotonic() + PATIENCE_S
    while time.monotonic() < ended:
        if (found := door(instance)) is not None:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    _STARTED.pop(process.pid, process).wait()
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise RunError(
        "TB-RANGE-015",
        "The scorer did not start.",
        last[-1][:300] if last else f"It did not answer within {PATIENCE_S:g} seconds.",
        "See scorer/scorer.log in the instance's folder.",
    )


def stop(instance: Instance) -> bool:
    """Stops the scorer and waits until its process is gone. Says whether one ran."""
    running = door(instance)
    (instance.folder / DOOR).unlink(missing_ok=True)
    if running is None:
        return False
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, sign)
        ended = time.monotonic() + PATIENCE_S / 4
        while time.monotonic() < ended:
            if not _ours(running.pid, instance.folder):
                return True
            time.sleep(0.02)
    return True


def _ours(pid: int, folder: Path) -> bool:
    """Is this the process of this instance's scorer? A number may long have been given to another process."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        command = []
    if b"testbed.range.door" in command and os.fsencode(folder.resolve()) in command:
        return True
    if pid in _STARTED:  # it has ended, and as a child of this process it must be waited for
        _STARTED.pop(pid).wait()
    return False
