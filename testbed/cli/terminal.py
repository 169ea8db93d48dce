"""Output of a command in a terminal: progress on standard error, the outcome on standard output."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.cli import project
from testbed.core.errors import Exit
from testbed.core.shown import shown

LARGEST_SEED = 2**32 - 1
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the attacks. The same seed gives the same result.")
]
Out = Annotated[Path | None, typer.Option(show_default="runs/<id>", help="Folder for share/ and evidence/.")]
Json = Annotated[bool, typer.Option("--json", help="Print result.json instead of a table.")]
POLICY_HELP, BUILT_IN = "A policy file, or the name of a built-in one.", "example-open-release"
PolicyOption = Annotated[str | None, typer.Option("--policy", show_default="none: no verdict", help=POLICY_HELP)]
DecidingPolicy = Annotated[str | None, typer.Option("--policy", show_default=BUILT_IN, help=POLICY_HELP)]

AttackOption = Annotated[
    str | None,
    typer.Option("--attack", help="Run this attack alone, by name or as file.py:name. Nothing then decides."),
]


def choices(names: Iterable[str]) -> str:
    """How the help shows the values that an option takes. A wrong one is refused by what uses it, with what is near."""
    return f"[{'|'.join(names)}]"


EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        show_default="the scenario's",
        metavar=choices(("in-process", "simulation", "deployment")),
        help="Where the federation runs (docs/engines.md).",
    ),
]


def folder_for(out: Path | None) -> Path:
    """The folder for a run's files: the one asked for, or a new one under runs/ or the project's folder of runs."""
    return out.resolve() if out else project.current().runs / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


_HUSHED = threading.Event()
WARNING = "warning:"
"""How a line of progress begins that --quiet does not silence."""


def hush(quiet: bool) -> None:
    """Whether progress is silenced from now on, in this process."""
    _HUSHED.set() if quiet else _HUSHED.clear()


def hushed() -> bool:
    return _HUSHED.is_set()


def progress(text: str) -> None:
    """Writes one line to standard error. In a terminal it replaces the last one. If writing fails, the work goes on."""
    if hushed() and not text.startswith(WARNING):
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"\r\033[K{shown(text)}" if sys.stderr.isatty() else f"{shown(text)}\n")
        sys.stderr.flush()


def say(text: str, end: str = "\n") -> None:
    """Writes text to standard output.

    If a reader leaves early (`| head -1`) or a disk is full, only the printing stops. The exit code still describes the
    work, so a closed pipe does not look like a verdict.
    """
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except OSError as error:
        unheard(error)


def unheard(error: OSError) -> None:
    """Sends all further standard output nowhere, after an error in writing it. Python then does not fail at its end."""
    with open(os.devnull, "w") as nowhere, contextlib.suppress(OSError, ValueError):  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        progress(f"warning: standard output could not be written: {error.strerror}")


def conclude(result: Any, folder: Path | None, as_json: bool, unmeasured: Exit = Exit.NOTHING_RAN) -> None:
    """Print the result and leave with its exit code. If nothing was decided or measured, the code is `unmeasured`."""
    from testbed.findings.policy import EXIT_CODES
    from testbed.report import store

    if sys.stderr.isatty():
        progress("")
    say(store.to_json(result) if as_json else _table(result), end="")
    if folder is not None and not as_json:
        say(f"\nreport    {shown(folder / 'share' / 'report.html')}")
        say(f"evidence  {shown(folder / 'evidence')} (do not share)")
    undecided = result.decision.verdict == "none"
    if undecided and all(hasattr(f.measure, "unmeasured") for f in result.findings):
        raise typer.Exit(unmeasured)
    raise typer.Exit(EXIT_CODES[result.decision.verdict])


WIDEST = 1000
"""Width of a line that is not written to a terminal, so no name is broken in two."""


def _table(result: Any) -> str:
    """The outcome as lines of text. Users' text is printed as it is, never as markup, emoji or terminal commands."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from testbed.findings import remedies
    from testbed.findings.numbers import short

    printed, colours = io.StringIO(), sys.stdout.isatty()
    width = None if colours else WIDEST
    console = Console(file=printed, force_terminal=colours, highlight=False, markup=False, emoji=False, width=width)
    verdict = "NO VERDICT" if result.decision.verdict == "none" else result.decision.verdict.upper()
    policy = getattr(result.decision.policy, "id", "no policy was applied")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("risk", "attack", "measure", "control", "excess", "verdict"):
        table.add_column(name, no_wrap=name != "attack")
    primary = [f for f in result.findings if f.primary]
    for finding in primary:
        judged = finding.verdict if finding.verdict != "none" else "-"
        cells = (short(m) for m in (finding.measure, finding.control, finding.excess))
        # If one attack has several rows, the target distinguishes them.
        several = sum(f.attack.name == finding.attack.name for f in primary) > 1
        name = f"{finding.attack.name}: {finding.target}" if several and finding.target else finding.attack.name
        table.add_row(shown(finding.risk.replace("_", " ")), shown(name), *map(shown, cells), judged)
    lines = [] if result.decision.reasons else [f"  {f.plain}" for f in primary]
    for reason in result.decision.reasons:
        told = remedies.parts(reason.text)
        lines.append(f"  {'not applicable' if reason.verdict == 'none' else reason.verdict}: {told.found}")
        steps = zip((remedies.DO, remedies.COLUMNS, remedies.TRY), told[1:], strict=True)
        lines += [f"    {begin.strip()} {text}" for begin, text in steps if text]
    if more := len(result.findings) - len(primary):
        lines.insert(0, f"{more} further findings inform; see the report.")
    console.print(Text.assemble((verdict, "bold"), shown(f"  {result.subject.name}  ({policy})")))
    console.print(table)
    for line in lines:
        console.print(shown(line))
    return printed.getvalue()
