"""Parquet, Arrow and SQLite files: their rows, and what stands beside them (statistics, metadata, names)."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from typing import IO, Any, cast

from testbed.subjects.artefacts.pieces import Cells, Limits, Piece, Text, TooMuchError, Unseen, Where

MOST_TABLES = 1_000
PAGE = 10_000


def zstd(data: bytes) -> IO[bytes]:
    """A stream of the unpacked bytes."""
    import pyarrow as pa

    return cast(IO[bytes], pa.CompressedInputStream(pa.BufferReader(data), "zstd"))


def of_parquet(data: bytes, where: Where, limits: Limits) -> Iterator[Piece]:
    """Rows, the smallest and largest values in the footer, and the metadata of a Parquet file."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(data))
    about: Any = file.metadata
    yield Text((*where, "metadata"), "\n".join(_words(about.metadata or {})), lines=False)
    bounds: list[str] = []
    for group in range(about.num_row_groups):
        for column in range(about.row_group(group).num_columns):
            told = about.row_group(group).column(column).statistics
            if told is not None and told.has_min_max:
                bounds += [str(told.min), str(told.max)]
    yield Text((*where, "statistics"), "\n".join(bounds))
    _few_enough(about.num_rows, about.num_columns, limits)
    _few_bytes(sum(about.row_group(g).total_byte_size for g in range(about.num_row_groups)), limits)
    yield _table(file.read(), where)


def of_arrow(data: bytes, where: Where, limits: Limits) -> Iterator[Piece]:
    """Rows and metadata of an Arrow (Feather) file."""
    import pyarrow as pa
    import pyarrow.feather as feather

    table: Any = feather.read_table(pa.BufferReader(data), memory_map=False)
    yield Text((*where, "metadata"), "\n".join(_words(table.schema.metadata or {})), lines=False)
    _few_enough(table.num_rows, table.num_columns, limits)
    yield _table(table, where)


def _table(table: Any, where: Where) -> Cells:
    columns: list[list[Any]] = []
    for column in table.columns:
        try:
            columns.append(column.to_pylist())
        except (ValueError, OverflowError):  # nanoseconds, or dates that Python does not have
            columns.append(column.to_pandas().tolist())
    return Cells(where, "file", columns, tuple(map(str, table.column_names)))


def _words(metadata: dict[bytes, bytes]) -> list[str]:
    return [part.decode("utf-8", errors="replace") for pair in metadata.items() for part in pair]


def _few_enough(rows: int, columns: int, limits: Limits) -> None:
    if rows * columns > limits.cells:
        raise TooMuchError("the table has too many cells")


def _few_bytes(size: int, limits: Limits) -> None:
    if size > limits.largest:
        raise TooMuchError("a packed part is too large when unpacked")


def of_sqlite(data: bytes, where: Where, limits: Limits) -> Iterator[Piece]:
    """The tables of an SQLite database, read from a copy in memory. Views, triggers and virtual tables are not run."""
    database = sqlite3.connect(":memory:")
    try:
        database.deserialize(data)
        database.execute("PRAGMA trusted_schema=OFF")
        database.execute("PRAGMA query_only=ON")
        found = database.execute("SELECT name, sql FROM sqlite_master WHERE type='table'").fetchmany(MOST_TABLES)
        yield Text((*where, "names"), "\n".join(str(n) for n, _ in found), lines=False)
        for place, (name, sql) in enumerate(found, 1):
            here = (*where, f"table {place}")
            if "VIRTUAL" in str(sql).upper()[:40]:
                yield Unseen(here, "a virtual table")
                continue
            quoted = str(name).replace('"', '""')
            cursor = database.execute(f'SELECT * FROM "{quoted}"')
            names = tuple(str(d[0]) for d in cursor.description)
            rows: list[tuple[Any, ...]] = []
            while some := cursor.fetchmany(PAGE):
                rows += some
                _few_enough(len(rows), len(names), limits)
            columns = [[r[i] for r in rows] for i in range(len(names))]
            yield Cells(here, "file", columns, names)
    finally:
        database.close()
