"""The command `testbed runs`: what stands in a folder of results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import click
import typer

from testbed.cli.terminal import progress, say
from testbed.core.shown import shown
from testbed.findings.terms import Verdict

if TYPE_CHECKING:
    from testbed.report.listing import Entry

KINDS = ("run", "evaluate", "replay", "audit-model", "check", "sweep", "compare", "range", "unknown")
COLUMNS = ("folder", "kind", "subject", "verdict", "date", "policy", "state")
WIDEST = 48
"""Characters of a cell at most; `--json` prints all."""


def runs(
    folder: Annotated[Path, typer.Argument(help="A folder of results.")] = Path("runs"),
    kind: Annotated[
        str | None, typer.Option(show_default="all", click_type=click.Choice(KINDS), help="Only of this kind.")
    ] = None,
    verdict: Annotated[
        str | None,
        typer.Option(show_default="all", click_type=click.Choice(get_args(Verdict)), help="Only with this verdict."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what stands in a folder of results, and whether it is complete, can be resumed, or was altered."""
    from testbed.report import listing

    found = [e for e in listing.entries(folder) if kind in (None, e.kind) and verdict in (None, e.verdict)]
    if json_:
        say(json.dumps([dataclasses.asdict(entry) for entry in found], indent=2))
    elif found:
        say(_lines(found))
    else:
        progress(f"no result {'of this kind ' if kind or verdict else ''}in {folder}")


def _lines(found: list[Entry]) -> str:
    rows = [COLUMNS, *map(_row, found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(entry: Entry) -> tuple[str, ...]:
    verdict = "-" if entry.verdict == "none" else entry.verdict
    state = f"{entry.state} ({entry.note})" if entry.note else entry.state
    cells = (entry.path, entry.kind, entry.subject, verdict, entry.created[:16].replace("T", " "), entry.policy)
    return (*(_cut(shown(cell)) for cell in cells), shown(state))


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
