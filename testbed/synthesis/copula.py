"""SDV's Gaussian copula (Patki, Wedge and Veeramachaneni 2016). SDV is BUSL-1.1: an extra, never part of the core."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd

from testbed.errors import RunError, UsageError


def gaussian_copula(original: pd.DataFrame, rows: int) -> pd.DataFrame:
    """`rows` synthetic rows with the original's columns; identifiers must have been dropped before.

    SDV samples from a fixed seed unless told otherwise, so equal originals give equal releases. Raises `UsageError`
    where SDV is not installed and `RunError` where it fails.
    """
    try:
        from sdv.metadata import Metadata
        from sdv.single_table import GaussianCopulaSynthesizer
    except ModuleNotFoundError:
        raise UsageError(
            "TB-SYNTH-001",
            "SDV is not installed.",
            "The Gaussian copula is SDV's, which the core does not bring because of its licence.",
            "Install leakage-testbed[synthesis].",
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SDV warns of its own dependencies' future
        try:
            metadata: Any = Metadata.detect_from_dataframes({"table": original})
            for name in original.columns:
                # An attribute whose values happen to be unique is still an attribute.
                if metadata.tables["table"].columns[name]["sdtype"] in ("id", "unknown"):
                    kind = "numerical" if pd.api.types.is_numeric_dtype(original[name]) else "categorical"
                    metadata.update_column(table_name="table", column_name=name, sdtype=kind)
            if metadata.tables["table"].primary_key is not None:
                metadata.remove_primary_key(table_name="table")
            synthesizer: Any = GaussianCopulaSynthesizer(metadata)
            synthesizer.fit({"table": original})
            sampled: Any = synthesizer.sample(num_rows=rows)
        except Exception as error:  # its messages may quote the table
            raise RunError(
                "TB-SYNTH-002",
                "SDV could not model this table.",
                f"It stopped with {type(error).__name__}.",
                "Check the columns' kinds, and drop free text.",
            ) from None
    table = sampled["table"] if isinstance(sampled, dict) else sampled
    return table[list(original.columns)].reset_index(drop=True)
