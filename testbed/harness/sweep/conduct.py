# pyright: strict
"""Runs a sweep: the cells of a grid that its folder does not hold yet."""

from __future__ import annotations

import contextlib
import signal
import statistics
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testbed.core.errors import RunError, UsageError
from testbed.harness.sweep import folder as folders
from testbed.harness.sweep import workers as workers_
from testbed.harness.sweep.folder import Kept
from testbed.harness.sweep.grid import MANY, MOST, Cell, Grid
from testbed.harness.sweep.inputs import Inputs, Snapshot, digest
from testbed.harness.sweep.workers import Order, Product, Work

USUAL_SECONDS = 10.0
"""How long a cell is taken to run before one was."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a sweep runs. None of these changes a cell's result."""

    workers: int = 0
    """Processes on this machine; 0 is one a core."""
    ray: str | None = None
    retry_failed: bool = False
    accept_stale: bool = False
    private: bool = False
    """Whether cells keep transcripts and truth in evidence/."""
    confirmed: bool = False
    """Whether a sweep of many cells was confirmed."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a sweep is: its cells in all, done and failed ones, those just run, and the seconds left if known."""

    cells: int
    done: int
    failed: int
    other_code: int = 0
    other_data: int = 0
    """Finished cells that do not count, because their code or their data have changed. They run again."""
    ran: int = 0
    seconds_left: float | None = None


Seen = Callable[[State], None]


def sweep(grid: Grid, folder: Path, work: Work, options: Options = Options(), seen: Seen = lambda _: None) -> State:
    """Run the cells of the grid that are not finished in the folder, and say how far the sweep is after each.

    A cell that fails is a result with its error, and is run again only with `retry_failed`. A cell whose code has
    changed is run again, unless `accept_stale`; one whose data have changed always. Raises `UsageError` for a grid of
    many cells that was not confirmed, for a folder that holds something else or another sweep that runs, and
    `RunError` if code or data change while it runs. On Ctrl-C or SIGTERM it raises `KeyboardInterrupt`; finished cells
    stay, and the same sweep goes on later.
    """
    folders.check(folder)
    workers = options.workers or workers_.cores()
    _confirmed(grid, folder, workers, options)
    with folders.locked(folder), _terminable():
        snapshot = Snapshot(folders.read_places(folder))
        told = [(cell, snapshot.of(cell)) for cell in grid.cells()]
        kept = folders.cells(folder)
        pending, state = _pending(told, kept, snapshot, options)
        state = replace(state, seconds_left=_guess(kept, len(pending), workers))
        seen(state)
        for cell, _ in pending:
            folders.put_code(folder, snapshot.code(cell).modules)
        folders.put_places(folder, snapshot.places)
        began = time.monotonic()
        orders = ((n, Order(c, i.code, private=options.private)) for n, (c, i) in enumerate(pending))
        with contextlib.closing(workers_.over(options.ray, min(workers, len(pending)), work, orders)) as products:
            for number, product in products:
                _check(product, snapshot)
                _put(folder, pending[number][1], product, snapshot)
                ran = state.ran + 1
                state = replace(
                    state,
                    done=state.done + (not product.error),
                    failed=state.failed + bool(product.error),
                    ran=ran,
                    seconds_left=(time.monotonic() - began) / ran * (len(pending) - ran),
                )
                seen(state)
    return state


def _confirmed(grid: Grid, folder: Path, workers: int, options: Options) -> None:
    """Raises `UsageError` for a grid of many cells, which says how many and how long, unless it was confirmed."""
    if len(grid) < MANY or (options.confirmed and len(grid) < MOST):
        return
    known = [k.seconds for k in folders.cells(folder) if k.status == "done"]
    each = statistics.median(known) if known else USUAL_SECONDS
    said = f"as finished ones took {each:.0f} s" if known else f"at {each:.0f} s each"
    raise UsageError(
        "TB-SWEEP-012",
        f"This grid has {len(grid):,} cells.",
        f"They would take about {duration(each * len(grid) / workers)} on {workers} processes, {said}.",
        "Name fewer levels. " + ("Or add --yes to run them all." if len(grid) < MOST else f"The limit is {MOST:,}."),
    )


def duration(seconds: float) -> str:
    """A time in words, of two units at most, such as '2 h 5 min'."""
    whole = max(0, round(seconds))
    for size, unit, smaller, below in ((86_400, "days", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {below}"
    return f"{whole} s"


@contextlib.contextmanager
def _terminable() -> Generator[None]:
    """SIGTERM ends the sweep as Ctrl-C does. Signals reach only the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _pending(
    told: Sequence[tuple[Cell, Inputs]], kept: Sequence[Kept], snapshot: Snapshot, options: Options
) -> tuple[list[tuple[Cell, Inputs]], State]:
    """The cells to run, and how far the sweep is."""
    known = {k.inputs.name: k for k in kept}
    similar = {(k.inputs.asked, digest(k.inputs.data)): k for k in kept}
    asked = {k.inputs.asked for k in kept}
    pending: list[tuple[Cell, Inputs]] = []
    counts = {"done": 0, "failed": 0, "other_code": 0, "other_data": 0}
    for cell, inputs in told:
        found = known.get(inputs.name) or similar.get((inputs.asked, digest(inputs.data)))
        if found is None:
            counts["other_data"] += inputs.asked in asked
        elif not options.accept_stale and (found.inputs.code != inputs.code or snapshot.other(found.ran)):
            counts["other_code"] += 1
            found = None
        if found is None or (found.status == "failed" and options.retry_failed):
            pending.append((cell, inputs))
        else:
            counts[found.status] += 1
    return pending, State(len(told), **counts)


def _guess(kept: Sequence[Kept], pending: int, workers: int) -> float | None:
    """Seconds that the pending cells will take, by those that are finished; None if none is."""
    known = [k.seconds for k in kept if k.status == "done"]
    return statistics.median(known) * pending / workers if known else None


def _check(product: Product, snapshot: Snapshot) -> None:
    """Raises `RunError` if the product is of other code, or if a file has changed since the sweep began."""
    why = "Its files differ from this machine's."
    if product.same_code:
        changed = snapshot.changed()
        if not changed:
            return
        why = f"Changed: {', '.join(changed[:5])}."
    raise RunError(
        "TB-SWEEP-013",
        "Code or data changed while the sweep ran." if product.same_code else "A worker holds other code.",
        why,
        "Run the same sweep again; finished cells are kept. On a cluster, install the same version everywhere.",
    )


def _put(folder: Path, inputs: Inputs, product: Product, snapshot: Snapshot) -> None:
    told = {
        "status": "failed" if product.error else "done",
        "ran": snapshot.ran(product.attacks),
        "seconds": round(product.seconds, 3),
    }
    folders.put(folder, inputs, product.files, {**told, "error": dict(product.error)} if product.error else told)
