# pyright: strict
"""The process runtime: a scorer and a board on loopback for each instance, started, watched and stopped by their id."""

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
_STARTED: dict[int, subprocess.Popen[bytes]] = {}
"""The servers that this process started, by their id."""


@dataclass(frozen=True, slots=True)
class Service:
    """A server of an instance: its module, and the files in the instance's folder that tell its address and its log."""

    name: str
    module: str
    door: str
    log: str


SCORER = Service("scorer", "testbed.range.door", "door.json", "scorer/scorer.log")
BOARD = Service("board", "testbed.range.board", "board.json", "white/board.log")
SERVICES = (SCORER, BOARD)
DOORS = frozenset(s.door for s in SERVICES)


@dataclass(frozen=True, slots=True)
class Door:
    """Where a server answers, and its process."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def door(instance: Instance, service: Service = SCORER) -> Door | None:
    """The door of a running server; None if it does not run, whatever its files say."""
    try:
        told = json.loads((instance.folder / service.door).read_text(encoding="utf-8"))
        found = Door(int(told["port"]), int(told["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if _ours(found.pid, instance.folder, service) else None


def start(instance: Instance) -> None:
    """Starts the scorer and the board, unless they run. Raises `RunError` with the end of the log of the one that does
    not start; then none of those stays that this call started."""
    launched = {s: _launched(instance, s) for s in SERVICES if door(instance, s) is None}
    try:
        for service, process in launched.items():
            _await(instance, service, process)
    except BaseException:
        for process in launched.values():
            process.kill()
            _STARTED.pop(process.pid, process).wait()
        raise


def _launched(instance: Instance, service: Service) -> subprocess.Popen[bytes]:
    (instance.folder / service.door).unlink(missing_ok=True)
    with (instance.folder / service.log).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", service.module, str(instance.folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that an interrupt of the command does not end it
        )
    _STARTED[process.pid] = process
    return process


def _await(instance: Instance, service: Service, process: subprocess.Popen[bytes]) -> None:
    ended = time.monotonic() + PATIENCE_S
    while time.monotonic() < ended:
        if door(instance, service) is not None:
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    last = (instance.folder / service.log).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise RunError(
        "TB-RANGE-015",
        f"The {service.name} did not start.",
        last[-1][:300] if last else f"It did not answer within {PATIENCE_S:g} seconds.",
        f"See {service.log} in the instance's folder.",
    )


def stop(instance: Instance) -> bool:
    """Stops the board and the scorer, and waits until their processes are gone. Says whether one ran."""
    ran = [_stopped(instance, service) for service in reversed(SERVICES)]
    return any(ran)


def _stopped(instance: Instance, service: Service) -> bool:
    running = door(instance, service)
    (instance.folder / service.door).unlink(missing_ok=True)
    if running is None:
        return False
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, sign)
        ended = time.monotonic() + PATIENCE_S / 4
        while time.monotonic() < ended:
            if not _ours(running.pid, instance.folder, service):
                return True
            time.sleep(0.02)
    return True


def _ours(pid: int, folder: Path, service: Service) -> bool:
    """Is this the process of this instance's server? A number may long have been given to another process."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        command = []
    if service.module.encode() in command and os.fsencode(folder.resolve()) in command:
        return True
    if pid in _STARTED:  # it has ended, and as a child of this process it must be waited for
        _STARTED.pop(pid).wait()
    return False
