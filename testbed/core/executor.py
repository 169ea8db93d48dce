"""Executors: they run independent jobs one after the other, or as tasks of a Ray cluster."""

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
    """An executor. It yields (number of the job, `work(shared, job)`) as jobs finish; `workers` of them run at once."""

    @property
    def workers(self) -> int: ...

    def __call__(
        self, work: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]: ...


@dataclass(frozen=True, slots=True)
class InTurn:
    """The executor that runs one job after the other, in this process."""

    workers: int = 1

    def __call__(self, work: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for number, job in enumerate(jobs):
            yield number, work(shared, job)


IN_TURN = InTurn()


def over(address: str | None) -> Spread:
    """The executor for an address: without one, jobs run in this process, otherwise on Ray.

    Ray is connected at once, so that `UsageError` is raised before any work if it does not answer.
    """
    if address is None:
        return IN_TURN
    spread = OnRay(address)
    spread.connect()
    return spread


_rows: ContextVar[Spread] = ContextVar("rows", default=IN_TURN)


@contextmanager
def rows_over(spread: Spread) -> Generator[None]:
    """A context in which released rows are searched in as many parts as `spread` has workers, with equal results."""
    before = _rows.set(spread)
    try:
        yield
    finally:
        _rows.reset(before)


def spread_of_rows() -> Spread:
    """The executor that searches released rows in the current context."""
    return _rows.get()


@contextmanager
def loopback() -> Generator[None]:
    """A context in which a Ray that is started listens only on the loopback interface.

    Ray 2.55 replaces 127.0.0.1 by the machine's outer address. It stays on loopback only if clusters are switched off,
    as by default on Windows and macOS; so they are switched off here.
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
"""The environment variable by which Ray allows a cluster of several machines."""


@contextmanager
def swept() -> Generator[None]:
    """A context for starting or stopping Ray: at its end, files that Ray left open are closed without a warning.

    Ray opens /dev/null for the output of its processes and never closes it. If warnings are errors, the warning would
    otherwise appear later, in unrelated code. Warnings about other objects are still shown: older ones are collected
    before the context begins, and only the warnings in `LEFT_BY_RAY` are ignored.
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
    """The executor that runs each job as a Ray task on one core: on the cluster at `address`, or here if it is `local`.

    Shared data is sent once. Raises `UsageError` if Ray is not installed or the cluster does not answer.
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
        """The connected Ray module. A local Ray listens on loopback only, and usage statistics are switched off."""
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
    """Raises `OSError` if nothing listens at the address within 5 seconds; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()
