"""Reading Parquet: one file, or a folder of parts as Spark, Hive and DuckDB write it.

The number of rows stands in a file's footer, so a table that no memory holds is refused before it is read.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd

from testbed.data.tables.refusals import refuse

CELL = 8
"""Bytes that a cell takes in memory, at least."""
SHARE = 0.5
"""The share of this machine's memory that one table may take."""
MOST_ROWS = 200_000_000
"""The most rows of a table that is read on one machine."""
PARTS = re.compile(r"(?:part|data|chunk)[-._]?\d+(?:[-_.].*)?\.[a-z0-9.]+$", re.IGNORECASE)
HIVE = re.compile(r"[^=/]+=[^/]*$")
MARKERS = ("_SUCCESS", "_metadata", "_common_metadata", "_delta_log")


def read(path: Path, role: str) -> pd.DataFrame:
    """The table of a Parquet file or of a folder of Parquet parts. Raises `InputError` for one that is too large."""
    import pyarrow.parquet as pq

    rows = columns = 0
    for part in [path] if path.is_file() else parquet_parts(path):
        about = pq.read_metadata(part)
        rows, columns = rows + about.num_rows, max(columns, about.num_columns)
    small_enough(rows, columns, role)
    return pd.read_parquet(path)


def small_enough(rows: int, columns: int, role: str) -> None:
    """Raises `InputError` if a table of this size does not fit into memory."""
    needed = rows * columns * CELL
    if rows > MOST_ROWS or needed > SHARE * _memory():
        raise refuse(
            58,
            f"The {role} table has {rows:,} rows and {columns:,} columns.",
            f"They take {needed / 2**30:,.1f} GiB of memory or more, and this machine has {_memory() / 2**30:.0f} GiB.",
            "Evaluate a random sample of people: draw 100,000 of them, and keep all of their rows in every table.",
        )


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system tells
        return 16 * 2**30


def parquet_parts(folder: Path) -> list[Path]:
    """The Parquet files of a folder and of its partitions, without hidden ones, in order."""
    return [p for p in parts(folder) if p.suffix.lower() in (".parquet", ".pq")]


def parts(folder: Path) -> list[Path]:
    """All files of a folder and of its partitions, without those whose name says that they hold no rows."""
    found = (p for p in folder.rglob("*") if p.is_file())
    inner = (p for p in found if not any(part.startswith(("_", ".")) for part in p.relative_to(folder).parts))
    return sorted(inner)


def is_one_table(path: Path) -> bool:
    """Whether a folder is one table in parts, and not a folder of linked tables."""
    if not path.is_dir():
        return False
    names = [p.name for p in path.iterdir() if not p.name.startswith(".")]
    if any(marker in names for marker in MARKERS) or path.suffix.lower() in (".parquet", ".pq", ".csv"):
        return True
    told = [n for n in names if not n.startswith("_")]
    return bool(told) and all(PARTS.match(n) or HIVE.match(n) for n in told)
