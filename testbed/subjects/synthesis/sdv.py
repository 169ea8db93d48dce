"""SDV's generators. SDV has the Business Source License 1.1, so it is an extra and never part of the core."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from testbed.core.errors import RunError, UsageError
from testbed.subjects.synthesis.options import Generator, Options

FAST = {"CTGANSynthesizer", "TVAESynthesizer", "CopulaGANSynthesizer"}
"""The synthesizers that are trained for a number of epochs."""


def single_table(synthesizer: str) -> Generator:
    """A generator for a table with one row a person, by the name of SDV's class."""

    def generate(original: pd.DataFrame, rows: int, rng: np.random.Generator, given: Options) -> pd.DataFrame:
        sdv, Metadata = _installed("sdv.single_table")
        table = given.attributes(original)

        def fitted() -> Any:
            metadata = _metadata(Metadata, table)
            options: dict[str, Any] = {"epochs": given.epochs, "enable_gpu": False} if synthesizer in FAST else {}
            made = getattr(sdv, synthesizer)(metadata, **options)
            made.fit({"table": table})
            return made.sample(num_rows=rows)

        return _sampled(fitted)[list(table.columns)].reset_index(drop=True)

    return generate


def sequences(original: pd.DataFrame, rows: int, rng: np.random.Generator, given: Options) -> pd.DataFrame:
    """SDV's PAR: it draws each person's rows as one sequence, about `rows` rows in all."""
    person = _person(given)
    sdv, Metadata = _installed("sdv.sequential")
    persons = max(1, round(rows / max(1.0, len(original) / original[person].nunique())))

    def fitted() -> Any:
        metadata = _metadata(Metadata, original)
        metadata.update_column(table_name="table", column_name=person, sdtype="id")
        metadata.set_sequence_key(table_name="table", column_name=person)
        made = sdv.PARSynthesizer(metadata, epochs=given.epochs, cuda=False)
        made.fit({"table": original.assign(**{person: original[person].astype(str)})})
        return made.sample_sequences(num_sequences=persons)

    return _sampled(fitted)[list(original.columns)].reset_index(drop=True)


def persons_and_visits(original: pd.DataFrame, rows: int, rng: np.random.Generator, given: Options) -> pd.DataFrame:
    """SDV's HMA, on two linked tables: columns that never change within a person, and all others.

    The result is joined to one table with several rows a person, about `rows` in all, without an order in time. Raises
    `UsageError` if one of the two tables would have no column.
    """
    person = _person(given)
    sdv, Metadata = _installed("sdv.multi_table")
    rest = [c for c in original.columns if c != person]
    fixed = [c for c in rest if original.groupby(person)[c].nunique(dropna=False).max() == 1]
    visits = [c for c in rest if c not in fixed]
    if not fixed or not visits:
        raise UsageError(
            "TB-SYNTH-011",
            "This table cannot be separated into people and their visits.",
            f"Within a person {'every column changes' if not fixed else 'no column changes'}.",
            "Use a generator for one table instead.",
        )
    tables = {
        "people": original.drop_duplicates(person)[[person, *fixed]].reset_index(drop=True),
        "visits": original[[person, *visits]].reset_index(drop=True),
    }

    def fitted() -> Any:
        metadata: Any = Metadata()
        for name, table in tables.items():
            metadata.add_table(name)
            for column in table.columns:
                metadata.add_column(
                    table_name=name, column_name=column, sdtype="id" if column == person else _kind(table[column])
                )
        metadata.set_primary_key(table_name="people", column_name=person)
        metadata.add_relationship("people", "visits", person, person)
        made = sdv.HMASynthesizer(metadata, verbose=False)
        made.fit({name: table.assign(**{person: table[person].astype(str)}) for name, table in tables.items()})
        drawn = made.sample(num_rows=rows, main_table_name="visits")
        return drawn["visits"].merge(drawn["people"], on=person)

    return _sampled(fitted)[list(original.columns)].reset_index(drop=True)


def _person(given: Options) -> str:
    if given.person is None:
        raise UsageError(
            "TB-SYNTH-005",
            "This generator needs the person's column.",
            "It models the rows of each person together.",
            "Name it with --person.",
        )
    return given.person


def _installed(module: str) -> tuple[Any, Any]:
    import importlib

    try:
        return importlib.import_module(module), importlib.import_module("sdv.metadata").Metadata
    except ModuleNotFoundError:
        raise UsageError(
            "TB-SYNTH-001",
            "SDV is not installed.",
            "This generator is part of SDV, which the core does not include because of its licence.",
            "Install leakage-testbed[synthesis].",
        ) from None


def _metadata(Metadata: Any, table: pd.DataFrame) -> Any:
    metadata: Any = Metadata.detect_from_dataframes({"table": table})
    for name in table.columns:
        # SDV takes columns with unique values, or that look like contact data, for ids; here they are attributes.
        if metadata.tables["table"].columns[name]["sdtype"] not in ("numerical", "categorical", "boolean", "datetime"):
            metadata.update_column(table_name="table", column_name=name, sdtype=_kind(table[name]))
    if metadata.tables["table"].primary_key is not None:
        metadata.remove_primary_key(table_name="table")
    return metadata


def _kind(values: Any) -> str:
    if pd.api.types.is_bool_dtype(values):
        return "boolean"
    return "numerical" if pd.api.types.is_numeric_dtype(values) else "categorical"


def _sampled(fitted: Callable[[], Any]) -> Any:
    """The table that `fitted` returns, without SDV's warnings and printed lines.

    Raises `RunError` if SDV fails; its own message is left out, because it may quote the table.
    """
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            made = fitted()
        except Exception as error:
            raise RunError(
                "TB-SYNTH-002",
                "SDV could not model this table.",
                f"It stopped with {type(error).__name__}.",
                "Check the kinds of the columns, and drop free text.",
            ) from None
        finally:
            logging.disable(logging.NOTSET)
    return made["table"] if isinstance(made, dict) else made
