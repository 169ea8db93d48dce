"""The command `testbed protect`: a synthetic table after defences, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.synthesise import check_table_name
from testbed.cli.terminal import progress, say
from testbed.core.errors import UsageError
from testbed.core.shown import shown


def protect(
    synthetic: Annotated[Path, typer.Option(help="The synthetic table as the generator made it.")],
    defence: Annotated[
        str,
        typer.Option(help="Defences of tables, joined by a plus sign: rounding:0.5+suppress:10 (docs/defences.md)."),
    ],
    out: Annotated[Path, typer.Option(help="The defended table to write, CSV or Parquet.")],
    original: Annotated[
        Path | None, typer.Option(show_default="not needed", help="The original table, for near_copy_filter.")
    ] = None,
    control: Annotated[
        Path | None, typer.Option(show_default="not needed", help="People held out, for near_copy_filter.")
    ] = None,
    person: Annotated[str | None, typer.Option(help="The column that identifies people. It is not changed.")] = None,
    meta: Annotated[Path | None, typer.Option(help="A YAML file with the kinds of columns (docs/evaluate.md).")] = None,
) -> None:
    """Write a synthetic table after defences. Evaluate the written file: it is the one that goes out."""
    from testbed.data.tables import files, kept_spelling
    from testbed.defences import named
    from testbed.defences.tables import drafted
    from testbed.harness.release.defended import check_defences, defended
    from testbed.harness.release.meta_file import MetaFile

    check_table_name(out)
    files.writable(out)
    named.check(defence)
    chosen = named.configured(defence)
    if not chosen:
        raise UsageError(
            "TB-DEFENCE-042",
            "No defence was named.",
            "The written table would be the given one.",
            "Name one or more, such as --defence rounding:0.5+suppress:10.",
        )
    check_defences(chosen)
    told = MetaFile.read(meta) if meta else MetaFile()
    whose = person or told.person
    paths = {"synthetic": synthetic, "original": original, "control": control}
    read = {
        role: files.read_file(path, role, whose, encoding=told.encoding, say=progress)
        for role, path in paths.items()
        if path is not None
    }
    separator, written = ",", None
    kinds = dict(told.columns or {})
    if files.is_text(synthetic):
        written, separator = files.read_text(synthetic, told.encoding)
        kinds = {**dict.fromkeys(kept_spelling.codes(written), "categorical"), **kinds}
    draft = drafted(read["synthetic"], read.get("original"), read.get("control"), kinds, whose)
    done = defended(draft, chosen)
    for line in done.told:
        progress(line)
    made = done.release
    new = any(d.where == "generator" for d in chosen)
    if written is not None and not new:
        spelt = kept_spelling.kept(made, read["synthetic"], written)
        typed = out.suffix.lower() in files.PARQUET
        made = made.assign(**{c: spelt[c] for c in kept_spelling.codes(written)}) if typed else spelt
    files.write_table(out, made, separator)
    say(shown(out))
