"""The command `testbed scan`: does a file that is to be passed on carry rows of people?"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.terminal import progress, say
from testbed.core.errors import Exit, InputError, UsageError
from testbed.core.shown import shown

if TYPE_CHECKING:
    from testbed.harness.artefact.originals import Original
    from testbed.harness.artefact.scan import Scanned

MOST_FILES = 10_000


def scan(
    files: Annotated[list[Path], typer.Argument(help="Files, or folders of files.")],
    original: Annotated[
        list[Path] | None,
        typer.Option(help="A table of people. Which of its rows stand in the files? May be repeated."),
    ] = None,
    person: Annotated[str | None, typer.Option(help="The column of the original that identifies people.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Does a file carry rows of people? Models, notebooks, pages, tables: read, and never loaded or run.

    The exit code is 1 if something was seen, 3 if nothing was but a part could not be looked into, else 0.
    """
    paths = list(_each(files))
    tables = [_original(path, person) for path in original or ()]
    from testbed.harness.artefact import scan as scans

    done: list[Scanned] = []
    for path in paths:
        progress(f"scanning {path.name}")
        try:
            done.append(scans.scan(path, tables))
        except OSError as error:
            raise InputError(
                "TB-SCAN-002",
                f"{path.name} cannot be read.",
                f"The system says: {error.strerror}.",
                "Check its rights.",
            ) from None
    progress("")
    if json_:
        given = {"schema": "testbed.scan/1", "originals": [t.name for t in tables]}
        say(json.dumps({**given, "files": list(map(_as_json, done))}, indent=2))
    else:
        say("\n".join(line for one in done for line in _lines(one, bool(tables))))
    if any(s.seen for s in done):
        raise typer.Exit(Exit.FAIL)
    if any(s.unseen for s in done):
        raise typer.Exit(Exit.REVIEW)


def _each(files: list[Path]) -> Iterator[Path]:
    """The files, and those of folders in order; links within folders are not followed."""
    count = 0
    for given in files:
        if given.is_dir():
            inner = sorted(Path(top) / n for top, _, names in os.walk(given) for n in names)
            several = [p for p in inner if p.is_file() and not p.is_symlink()]
        elif given.is_file():
            several = [given]
        else:
            raise UsageError("TB-SCAN-001", "A file does not exist.", f"{given.name} was not found.", "Check the path.")
        count += len(several)
        if count > MOST_FILES:
            raise UsageError(
                "TB-SCAN-003",
                f"There are more than {MOST_FILES:,} files.",
                "A scan reads each of them whole.",
                "Scan the folders one after another.",
            )
        yield from several


def _original(path: Path, person: str | None) -> Original:
    from testbed.data import splits
    from testbed.data.tables import files
    from testbed.harness.artefact import originals

    frame = files.read_file(path, "original", person, say=progress)
    splits.check_person(frame, person)
    return originals.prepared(frame, path.name, person)


def _as_json(scanned: Scanned) -> dict[str, Any]:
    unseen = [{"where": where, "why": why} for where, why in scanned.unseen]
    return {
        "file": scanned.name,
        "seen": [dataclasses.asdict(one) for one in scanned.seen],
        "not_looked_into": unseen,
    }


def _lines(scanned: Scanned, compared: bool) -> Iterator[str]:
    seen = len(scanned.seen)
    yield shown(f"{scanned.name}: {f'{seen} found' if seen else 'nothing was seen'}")
    for one in scanned.seen:
        of = f" ({one.original})" if one.original else ""
        yield shown(f"  {one.sure:8} {one.kind}{of}: {one.text}")
        yield shown(f"           in {one.where}")
    for where, why in scanned.unseen:
        yield shown(f"  not looked into: {where}: {why}")
    if not seen and not compared:
        yield "  give the table of people with --original to search for its rows"
