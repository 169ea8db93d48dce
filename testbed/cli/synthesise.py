"""The command `testbed synthesise`: its options, and the checks for private generators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.cli.terminal import choices, progress, say
from testbed.core.errors import UsageError
from testbed.core.shown import shown


def synthesise(
    original: Annotated[
        Path, typer.Option(help="The table to learn from: the original of testbed split, not everybody.")
    ],
    out: Annotated[Path, typer.Option(help="The synthetic table to write, CSV or Parquet.")],
    generator: Annotated[
        str,
        typer.Option(
            help="gaussian_copula, ctgan, tvae, copula_gan, independent_marginals; par and hma for several rows a "
            "person; mst, aim and noisy_marginals are differentially private."
        ),
    ],
    rows: Annotated[
        int | None, typer.Option(min=1, show_default="as many as the original", help="How many rows.")
    ] = None,
    person: Annotated[
        str | None, typer.Option(help="The column that identifies people. It is dropped, except by par and hma.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="For generators that train networks.")] = 100,
    epsilon: Annotated[float, typer.Option(help="For generators that are differentially private.")] = 1.0,
    public: Annotated[
        Path | None, typer.Option(help="Table whose categories and ranges are public: the bins of private generators.")
    ] = None,
    planted: Annotated[float, typer.Option(help="Replace this share of rows by original ones, as a known leak.")] = 0.0,
    plant: Annotated[
        str, typer.Option(metavar=choices(("exact", "jittered", "one_changed")), help="How rows are planted.")
    ] = "exact",
) -> None:
    """Make a synthetic table, for demonstration or as a positive control."""
    import numpy as np

    from testbed.data.splits import check_person
    from testbed.data.tables import files
    from testbed.data.tables.plain_cells import plain_cells
    from testbed.subjects.synthesis import PRIVATE, check
    from testbed.subjects.synthesis import planted as planting
    from testbed.subjects.synthesis import synthesise as make

    check_table_name(out)
    files.writable(out)
    check(generator)
    if generator in PRIVATE and rows is None:
        raise UsageError(
            "TB-SYNTH-014",
            "A private generator needs --rows.",
            "The number of the original's rows is itself a fact about its people: one more person changes it.",
            "Give a number that does not depend on the original.",
        )
    if public is not None and public.resolve() == original.resolve():
        raise UsageError(
            "TB-SYNTH-015",
            "--public names the original.",
            "Bins made from the original's own people reveal them, whatever epsilon is.",
            "Name a published table, or people outside the original.",
        )
    frame = plain_cells(files.read_file(original, "original", say=progress), person, progress)
    check_person(frame, person)
    rng = np.random.default_rng()  # without a seed: nobody may repeat a release's randomness
    known = None if public is None else plain_cells(files.read_file(public, "public"), person, progress)
    options = {"epochs": epochs, "person": person, "epsilon": epsilon, "public": known}
    made = make(generator, frame, rows or len(frame), rng, **options)
    if planted:
        rows_: Any = frame[list(made.columns)]
        made = planting.planted(made, rows_, planted, rng, plant)
    files.write_table(out, made)
    say(shown(out))


def check_table_name(out: Path) -> None:
    """Raises `UsageError` for a table to be written whose name says neither CSV nor Parquet."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(
            "TB-OUT-004", "The output must be CSV or Parquet.", "Its name ends in neither.", "Use a name in .csv."
        )
