"""Independent parts of a piece of work, one after the other or as tasks of a Ray cluster."""

from __future__ import annotations

import gc
import logging
import os
import socket
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from testbed.core.errors import UsageError


class Spread(Protocol):
    """Yields, as each is done, the number of a job and `work(shared, job)`; `workers` says how many run at once."""

    @property
    def workers(self) -> int: ...

    def __call__(
        self, work: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]: ...


@dataclass(frozen=True, slots=True)
class InTurn:
    """One job after the other, in this process."""

    workers: int = 1

    def __call__(self, work: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for number, job in enumerate(jobs):
            yield number, work(shared, job)


IN_TURN = InTurn()


def over(address: str | None) -> Spread:
    """In turn or, with an address, on Ray, connected at once: one that does not answer is told before any work."""
    if address is None:
        return IN_TURN
    spread = OnRay(address)
    spread.connect()
    return spread


_rows: ContextVar[Spread] = ContextVar("rows", default=IN_TURN)


@contextmanager
def rows_over(spread: Spread) -> Generator[None]:
    """Within it released rows are searched in as many parts as `spread` has workers. The answers are the same."""
    before = _rows.set(spread)
    try:
        yield
    finally:
        _rows.reset(before)


def spread_of_rows() -> Spread:
    return _rows.get()


@contextmanager
def loopback() -> Generator[None]:
    """While it lasts, a Ray that is started listens on the loopback interface alone.

    Ray 2.55 takes 127.0.0.1 for the machine's outer address wherever it is given; only where it may form no cluster, as
    by default on Windows and macOS, it stays within the machine.
    """
    from ray._private import ray_constants

    constants: Any = ray_constants
    before = constants.ENABLE_RAY_CLUSTER, os.environ.get(SEVERAL_NODES)
    constants.ENABLE_RAY_CLUSTER, os.environ[SEVERAL_NODES] = False, "0"  # the workers read the environment
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before[0]
        os.environ.pop(SEVERAL_NODES)
        if before[1] is not None:
            os.environ[SEVERAL_NODES] = before[1]


SEVERAL_NODES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextmanager
def swept() -> Generator[None]:
    """While it lasts, Ray may be started or stopped; at the end what Ray left to the garbage collector is closed.

    Ray opens /dev/null for the output of its processes and never closes it. Where warnings are errors, Python's
    complaint would otherwise turn up in whatever runs when the collector does. Any other object left open is
    complained of as ever: what was left before this begins is collected before, and `LEFT_BY_RAY` names the rest.
    """
    gc.collect()
    with warnings.catch_warnings():
        for message in LEFT_BY_RAY:
            warnings.filterwarnings("ignore", message, ResourceWarning)
        try:
            yield
        finally:
            gc.collect()


LEFT_BY_RAY = (
    r"unclosed file <_io\.(TextIOWrapper|BufferedWriter|FileIO) name='/dev/null' mode='wb?'",
    r"subprocess \d+ is still running$",  # the processes of Ray, which end when Ray's own supervisor says so
)
"""Regular expressions of the `ResourceWarning`s that starting and stopping Ray 2.55 leaves behind."""


@dataclass(frozen=True, slots=True)
class OnRay:
    """Each job a Ray task of one core, on the cluster at `address` or, if that is `local`, on this machine alone.

    What jobs share is sent once. Raises `UsageError` where Ray is missing or the cluster does not answer.
    """

    address: str

    @property
    def workers(self) -> int:
        return max(1, int(self.connect().cluster_resources().get("CPU", 1)))

    def __call__(self, work: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        ray = self.connect()
        task, sent = ray.remote(num_cpus=1)(work), ray.put(shared)
        waiting = {task.remote(sent, job): number for number, job in enumerate(jobs)}
        try:
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                yield waiting.pop(done), ray.get(done)
        finally:
            for left in waiting:
                ray.cancel(left)

    def connect(self) -> Any:
        """Ray, connected; a local one listens on loopback only, and none tells its makers of its use."""
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
        try:
            import ray

            if not ray.is_initialized():
                _answers(self.address)
                quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
                with swept(), loopback() if self.address == "local" else nullcontext():
                    ray.init(self.address, include_dashboard=False, **quiet)
        except (ImportError, OSError, ValueError, RuntimeError):
            raise UsageError(
                "TB-TRAINING-002",
                "There is no Ray cluster to work on.",
                "Ray is not installed, or nothing answers at the address.",
                "Install leakage-testbed[federated]; give --ray local, or a running cluster's host:port.",
            ) from None
        return ray


def _answers(address: str) -> None:
    """Raises `OSError` where nobody listens, of whom Ray would ask for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()
