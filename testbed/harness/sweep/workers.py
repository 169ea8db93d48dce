"""The processes that run a sweep's cells: on this machine, or as tasks of a Ray cluster. They write no file.

The process that sweeps writes each cell when it comes back. A worker that is killed, or outlives a killed sweep,
therefore leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from testbed.core import user_code
from testbed.core.errors import RunError
from testbed.core.executor import OnRay
from testbed.harness.sweep.grid import Cell

ONE_THREAD: dict[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
CELLS_PER_PROCESS = 100
"""After so many cells a process is replaced, so that what libraries leave in memory does not grow without end."""


@dataclass(frozen=True, slots=True)
class Order:
    """A cell to run: the digest of the code that it must be run with, and where the user's files are looked for."""

    cell: Cell
    code: str
    folder: str = field(default_factory=os.getcwd)
    own_code: str = field(default_factory=lambda: os.environ.get(user_code.FOLDERS, ""))
    private: bool = False
    """Whether transcripts and truth are kept too."""


@dataclass(frozen=True, slots=True)
class Product:
    """What a worker made: files by their place in the cell's folder and the attacks run, or an error. `same_code` is
    False if the worker's code is not the one ordered."""

    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    attacks: tuple[str, ...] = ()
    error: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0
    same_code: bool = True


Work = Callable[[Order], Product]
ENDED = Product(
    error={
        "id": "TB-SWEEP-010",
        "what": "The process that ran the cell ended.",
        "why": "It was killed, perhaps because memory ran out, or a library crashed.",
        "fix": "Use fewer --workers or a smaller setting, then --retry-failed.",
    }
)


def over(
    address: str | None, workers: int, work: Work, orders: Iterable[tuple[int, Order]]
) -> Generator[tuple[int, Product]]:
    """The products of numbered orders, as they come: from processes here, or from Ray if there is an address."""
    return _on_ray(address, work, iter(orders)) if address else _here(workers, work, iter(orders))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Slot:
    """One process. A pool of one tells which cell ended its process, where a pool of many cannot."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.ran = 0
        self.pool = futures.ProcessPoolExecutor(1, context, _began, (os.getpid(),))
        with _environment(ONE_THREAD):
            self._first = self.pool.submit(os.getpid)

    def submit(self, work: Work, order: Order) -> futures.Future[Product]:
        self.ran += 1
        return self.pool.submit(work, order)

    def started(self) -> int:
        """The process's id. Raises `RunError` if it could not start."""
        try:
            return self._first.result()
        except BrokenProcessPool:
            raise RunError(
                "TB-SWEEP-011",
                "No process could be started to run cells.",
                "A process of a sweep loads the script that started it, and that script may start the sweep again.",
                'In a script, call testbed.sweep under: if __name__ == "__main__".',
            ) from None

    def kill(self) -> None:
        with contextlib.suppress(RunError, ProcessLookupError):
            os.kill(self.started(), signal.SIGKILL)
        self.pool.shutdown(wait=True, cancel_futures=True)


def _began(parent: int) -> None:
    """What a process does first: it leaves Ctrl-C to the sweep, and ends with the sweep if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _here(workers: int, work: Work, orders: Iterator[tuple[int, Order]]) -> Generator[tuple[int, Product]]:
    running: dict[futures.Future[Product], tuple[int, _Slot]] = {}
    idle: list[_Slot] = []
    finished: list[tuple[int, Product]] = []
    try:
        while True:
            while len(running) < workers and (following := next(orders, None)) is not None:
                slot = idle.pop() if idle else _Slot()
                running[slot.submit(work, following[1])] = following[0], slot
            yield from finished  # while they are written, the next ones already run
            if not running:
                return
            finished = _finished(running, idle)
    finally:
        for slot in [*idle, *(slot for _, slot in running.values())]:
            slot.kill()


def _finished(
    running: dict[futures.Future[Product], tuple[int, _Slot]], idle: list[_Slot]
) -> list[tuple[int, Product]]:
    """Waits until a cell is finished, and gives back all that are. Their processes are idle, or replaced if worn."""
    products: list[tuple[int, Product]] = []
    for future in futures.wait(running, return_when=futures.FIRST_COMPLETED).done:
        number, slot = running.pop(future)
        try:
            product = future.result()
        except BrokenProcessPool:
            slot.started()
            product, slot.ran = ENDED, CELLS_PER_PROCESS
        if slot.ran >= CELLS_PER_PROCESS:
            slot.pool.shutdown(wait=True)
        else:
            idle.append(slot)
        products.append((number, product))
    return products


def _on_ray(address: str, work: Work, orders: Iterator[tuple[int, Order]]) -> Generator[tuple[int, Product]]:
    spread = OnRay(address)
    ray: Any = spread.connect()
    task = ray.remote(num_cpus=1, max_retries=2)(work)
    running: dict[Any, int] = {}
    at_once = 2 * spread.workers  # so that no core waits for this process
    try:
        while True:
            while len(running) < at_once and (following := next(orders, None)) is not None:
                running[task.remote(following[1])] = following[0]
            if not running:
                return
            (done,), _ = ray.wait(list(running), num_returns=1)
            number = running.pop(done)
            try:
                product = ray.get(done)
            except ray.exceptions.RayError:
                product = ENDED
            yield number, product
    finally:
        for left in running:
            ray.cancel(left, force=True)
