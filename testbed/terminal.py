"""What a command tells in a terminal: progress on standard error, the outcome on standard output."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.errors import Exit

LARGEST_SEED = 2**32 - 1
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="Drives the attacks; the same seed gives the same result.")
]
Out = Annotated[Path | None, typer.Option(help="Where share/ and evidence/ go.  [default: runs/<id>]")]
Json = Annotated[bool, typer.Option("--json", help="Print result.json instead of a table.")]
PolicyOption = Annotated[str | None, typer.Option("--policy", help="A policy file, or the name of a built-in one.")]


def folder_for(out: Path | None) -> Path:
    """Where a run's files go: as asked, or a folder of its own under runs/."""
    return out.resolve() if out else Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def progress(text: str) -> None:
    """One line on standard error; rich redraws it in a terminal, elsewhere lines stay plain."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
    else:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()


def conclude(result: Any, folder: Path | None, as_json: bool, unmeasured: Exit = Exit.NOTHING_RAN) -> None:
    """Print the result and leave with its exit code: where nothing was decided nor measured, `unmeasured`."""
    from testbed.policy import EXIT_CODES
    from testbed.report import results

    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    if as_json:
        typer.echo(results.to_json(result), nl=False)
    else:
        _print_table(result)
        if folder is not None:
            typer.echo(f"\nreport    {folder / 'share' / 'report.html'}")
            typer.echo(f"evidence  {folder / 'evidence'} (do not share)")
    undecided = result.decision.verdict == "none"
    if undecided and all(hasattr(f.measure, "unmeasured") for f in result.findings):
        raise typer.Exit(unmeasured)
    raise typer.Exit(EXIT_CODES[result.decision.verdict])


def _print_table(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from testbed.report.words import short

    console = Console(highlight=False, soft_wrap=False)
    verdict = "NO VERDICT" if result.decision.verdict == "none" else result.decision.verdict.upper()
    policy = getattr(result.decision.policy, "id", "no policy was applied")
    console.print(f"[bold]{verdict}[/bold]  {result.subject.name}  ({policy})")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("risk", "attack", "measure", "control", "excess", "verdict"):
        table.add_column(name, no_wrap=name != "attack")
    primary = [f for f in result.findings if f.primary]
    for finding in primary:
        verdict = finding.verdict if finding.verdict != "none" else "-"
        cells = (short(m) for m in (finding.measure, finding.control, finding.excess))
        # Where one attack stands there several times, the target tells which.
        several = sum(f.attack.name == finding.attack.name for f in primary) > 1
        name = f"{finding.attack.name}: {finding.target}" if several and finding.target else finding.attack.name
        table.add_row(finding.risk.replace("_", " "), name, *cells, verdict)
    console.print(table)
    if len(result.findings) > len(primary):
        console.print(f"{len(result.findings) - len(primary)} further findings inform; see the report.")
    for finding in primary if not result.decision.reasons else []:
        console.print(f"  {finding.plain}")
    for reason in result.decision.reasons:
        console.print(f"  {reason.verdict}: {reason.text}")
