"""testbed sweep: a scenario at every combination of levels, resumable."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.terminal import EngineOption, Json, PolicyOption, Seed, hushed, progress
from testbed.core.errors import Exit

if TYPE_CHECKING:
    from testbed.harness.sweep.conduct import Seen, State

SECONDS_BETWEEN_LINES = 10.0
"""Where standard error is no terminal, a line tells how far the sweep is, not more often than this."""


def sweep(
    name: Annotated[str, typer.Argument(help="A scenario (see testbed list scenarios), or your own: file.py.")],
    grid: Annotated[
        list[str] | None, typer.Option(help="A parameter and its levels, key=a,b,c, or key='a;b,c'. May be repeated.")
    ] = None,
    s: Annotated[list[str] | None, typer.Option("-s", help="A parameter of all cells, key=value.")] = None,
    seed: Seed = 0,
    replicates: Annotated[int, typer.Option(help="Runs of each combination, with other seeds: 1, or 5 or more.")] = 1,
    engine: EngineOption = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes on this machine; 0 is one a core.")] = 0,
    ray: Annotated[str | None, typer.Option(help="Run cells as tasks of a Ray cluster, HOST:PORT, or local.")] = None,
    retry_failed: Annotated[bool, typer.Option(help="Run failed cells again.")] = False,
    accept_stale: Annotated[bool, typer.Option(help="Keep finished cells although code has changed since.")] = False,
    transcripts: Annotated[bool, typer.Option(help="Keep each cell's transcript and truth in its evidence/.")] = False,
    policy: PolicyOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run a grid of 1,000 cells or more without asking.")] = False,
    out: Annotated[Path | None, typer.Option(show_default="runs/<id>", help="Folder of the sweep's cells.")] = None,
    json_: Json = False,
) -> None:
    """Run a scenario at every combination of levels, and compare them.

    The same command again goes on; more levels run only new cells. There is a verdict only with --policy.
    """
    from testbed.cli.terminal import folder_for
    from testbed.harness.sweep import grid as grids

    asked = grids.grid(
        name, grids.parse(grid or []), grids.parse_fixed(s or []), seed=seed, replicates=replicates, engine=engine
    )

    from testbed.findings import policy as policy_
    from testbed.harness.sweep.conduct import Options
    from testbed.report import functions

    decided_by = policy_.load(policy) if policy else None
    folder = folder_for(out)
    with _watched() as seen:
        state = functions.swept(
            asked, folder, Options(workers, ray, retry_failed, accept_stale, transcripts, yes), seen
        )
    failed = f"{state.failed} of them failed: see cell.json; --retry-failed runs them again" if state.failed else ""
    progress(f"{state.done + state.failed} of {state.cells} cells{'; ' if failed else ''}{failed}")
    if not state.done:
        raise typer.Exit(Exit.NOTHING_RAN)

    from testbed.cli.compare import concluded
    from testbed.report.comparison import compared

    concluded(compared([folder], decided_by, accept_stale), folder, json_)


@contextlib.contextmanager
def _watched() -> Generator[Seen]:
    """Shows how far a sweep is: a bar on a terminal, else a line every few seconds."""
    if hushed() or not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: list[Any] = [BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("")

        def seen(state: State) -> None:
            told = _left(state)
            bar.update(task, total=state.cells, completed=state.done + state.failed, description=told)

        yield seen


def _lines() -> Seen:
    last = -SECONDS_BETWEEN_LINES

    def seen(state: State) -> None:
        nonlocal last
        now, finished = time.monotonic(), state.done + state.failed
        if now - last >= SECONDS_BETWEEN_LINES or finished == state.cells:
            last = now
            progress(f"{finished} of {state.cells} cells{'; ' if (left := _left(state)) else ''}{left}")

    return seen


def _left(state: State) -> str:
    from testbed.harness.sweep.conduct import duration

    parts = [f"{state.failed} failed"] if state.failed else []
    if state.seconds_left is not None and state.done + state.failed < state.cells:
        parts.append(f"about {duration(state.seconds_left)} left")
    if not state.ran and state.other_code:
        parts.append(f"{state.other_code} are of other code and run again (--accept-stale keeps them)")
    if not state.ran and state.other_data:
        parts.append(f"{state.other_data} are of other data and run again")
    return "; ".join(parts)
