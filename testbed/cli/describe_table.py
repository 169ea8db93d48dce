"""The command `testbed describe-table`: how each column of a table would be read, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.cli.terminal import say
from testbed.core.shown import shown
from testbed.harness.release.meta_file import MetaFile


def describe_table(
    table: Annotated[Path, typer.Argument(help="A table: a file or a folder of parts (docs/evaluate.md).")],
    person: Annotated[str | None, typer.Option(help="The column that identifies people.")] = None,
    meta: Annotated[Path | None, typer.Option(help="A YAML file with the kinds of columns and more.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe how each column is read: its kind, its unit, its empty cells, and identifiers in it. Nothing is run."""
    from testbed.data import splits
    from testbed.data.tables import encode, files
    from testbed.harness.release import identifiers

    told = MetaFile.read(meta) if meta else MetaFile()
    notes: list[str] = []
    who = person or told.person
    frame = files.read_file(table, "given", who, encoding=told.encoding, say=notes.append)
    splits.check_person(frame, who)
    encoded = encode.encode(frame, frame, None, encode.Meta(who, told.columns or {}, told.map or {}))
    written = {part: name for name, parts in encoded.parts.items() for part in parts}
    rows: list[dict[str, Any]] = [
        {
            "column": d.name,
            "kind": d.kind,
            "unit": d.unit or None,
            "empty": d.gaps,
            "in_doubt": d.doubtful,
            "codes_for_missing": d.coded_gaps,
            "notes": [_alone(note) for note in d.notes],
            "identifiers": [
                f.kind
                for name in (written.get(d.name, d.name),)
                for f in identifiers.scan(name, _values(name, frame[name]))
                if f.believed
            ],
        }
        for d in encoded.described
    ]
    if json_:
        say(json.dumps({"rows": len(frame), "columns": rows, "notes": notes}, indent=2))
        return
    say(f"{len(frame)} rows, {len(frame.columns)} columns")
    for note in notes:
        say(shown(note))
    width = min(40, max(len(str(row["column"])) for row in rows))
    for row in rows:
        cells = (
            f"{row['column']:{width}}",
            f"{row['kind']:8}",
            f"{row['unit'] or '-':8}",
            f"{row['empty']:5.0%} empty",
        )
        say(shown("  ".join([*cells, _remarks(row)]).rstrip()))


ALONE = {
    "original and control are compared by ": "written by ",
    ", as the release writes it": "",
    "original and control are compared in the bands of the release": "written in bands",
    "original and control are cut to the codes of the release": "written in shortened codes",
    "the release writes": "the table writes",
}
"""What a note on three tables says of one table alone."""


def _alone(note: str) -> str:
    for several, one in ALONE.items():
        note = note.replace(several, one)
    return note


def _values(name: str, values: Any) -> list[Any]:
    """The distinct values of a column. Numbers that an evaluation takes for no identifiers are left out."""
    from testbed.harness.release.identifier_rule import whole_numbers

    if values.dtype.kind in "iuf":
        return list(whole_numbers(name, values.to_numpy(dtype=float, na_value=float("nan"))))
    try:
        return values.dropna().unique().tolist()
    except TypeError:  # structures such as lists, which have no hash
        return values.dropna().map(str).unique().tolist()


def _remarks(row: dict[str, Any]) -> str:
    remarks = [f"looks like: {', '.join(row['identifiers'])}"] if row["identifiers"] else []
    remarks += ["in doubt: many different values with digits, read as a category"] if row["in_doubt"] else []
    remarks += row["notes"]
    remarks += ["numbers that stand for missing values"] if row["codes_for_missing"] else []
    remarks += ["left out: no value"] if row["kind"] == "empty" else []
    return "; ".join(remarks)
