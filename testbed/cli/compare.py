"""testbed compare: what finished runs leak and cost, and which of them a policy lets one choose."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from testbed.cli.terminal import WIDEST, Json, PolicyOption, folder_for, say
from testbed.core.errors import Exit
from testbed.core.shown import shown

if TYPE_CHECKING:
    from testbed.report.comparison import Compared

MOST_LINES = 60
"""Settings that a terminal shows at most; the report shows more."""


def compare(
    places: Annotated[list[Path], typer.Argument(help="A sweep's folder, or folders of runs, or files result.json.")],
    policy: PolicyOption = None,
    accept_stale: Annotated[bool, typer.Option(help="Count finished cells although code has changed since.")] = False,
    out: Annotated[
        Path | None, typer.Option(show_default="the sweep's folder, or runs/<id>", help="Folder for share/.")
    ] = None,
    json_: Json = False,
) -> None:
    """Compare finished runs: leakage against utility and cost. Nothing is recommended without --policy."""
    from testbed.findings import policy as policy_
    from testbed.harness.sweep import folder as folders
    from testbed.report.comparison import compared, writable

    decided_by = policy_.load(policy) if policy else None
    folder = places[0] if out is None and len(places) == 1 and folders.is_sweep(places[0]) else folder_for(out)
    writable(folder)
    concluded(compared(places, decided_by, accept_stale), folder, json_)


def concluded(found: Compared, folder: Path, as_json: bool) -> NoReturn:
    """Write the comparison, print it, and leave with the exit code of its decision."""
    from testbed.findings.policy import EXIT_CODES
    from testbed.report import comparison_page

    found.write(folder)
    made = found.comparison
    say(comparison_page.to_json(made) if as_json else _table(found), end="")
    if not as_json:
        say(f"\nreport    {shown(folder / 'share' / 'comparison.html')}")
    if made.decision.verdict == "none" and not any(hasattr(k.excess, "value") for s in made.settings for k in s.leaks):
        raise typer.Exit(Exit.NOTHING_RAN)
    raise typer.Exit(EXIT_CODES[made.decision.verdict])


def _table(found: Compared) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from testbed.report.comparison import ROW, rows, said_of

    made, printed, colours = found.comparison, io.StringIO(), sys.stdout.isatty()
    width = None if colours else WIDEST
    console = Console(file=printed, force_terminal=colours, highlight=False, markup=False, emoji=False, width=width)
    verdict = "NO VERDICT" if made.decision.verdict == "none" else made.decision.verdict.upper()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ROW:
        table.add_column(name)
    lines = rows(made)
    for line in lines[:MOST_LINES]:
        table.add_row(*map(shown, line))
    policy = getattr(made.decision.policy, "id", "no policy was applied")
    console.print(Text.assemble((verdict, "bold"), shown(f"  {len(made.settings)} settings  ({policy})")))
    console.print(table)
    if len(lines) > MOST_LINES:
        console.print(f"{len(lines) - MOST_LINES} more lines stand in comparison.csv.")
    for text in said_of(made):
        console.print(shown(f"  {text}"))
    return printed.getvalue()
