"""Does an array or a table look like records of people, where no original is given to compare with?

A fitted network's weights are many different numbers of similar spread around zero. Records repeat values (ages, codes,
rounded measurements), have gaps, and their columns differ in centre and spread.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from testbed.core import Array
from testbed.subjects.artefacts.pieces import BUFFER, Cells, Grid

RECORDS = {"_fit_X", "support_vectors_", "X_fit_", "X_train_", "X_", "_raw_data", "training_data_", "support_vectors"}
"""Attributes in which models of scikit-learn, and nodes of ONNX, keep the records that they were trained on."""
ROWS_OF = {
    ("Nystroem", "components_"),
    ("DBSCAN", "components_"),
    ("AffinityPropagation", "cluster_centers_"),
    ("HDBSCAN", "medoids_"),
    ("KMedoids", "cluster_centers_"),
    ("QuantileTransformer", "quantiles_"),
}
"""Class and attribute of further models that keep records, or values of columns. In others this name is harmless."""
INDICES = {"KDTree", "BallTree", "KDTree64", "KDTree32", "BallTree64", "BallTree32", "cKDTree"}
"""Search trees, whose one array of two dimensions holds the records."""
KEPT_DATA = re.compile(
    r"(?:^|[._])(?:train\w*|data|memory|support|samples?|records?|patients?|bank|x|inducing\w*)(?:$|[._])"
)
"""Names of tensors, in a file of weights, that are chosen for data and not for weights."""
FITTED = {"values", "nodes", "_tree", "coef_", "coefs_", "intercept_", "intercepts_", "components_", "_parameters"}
AVERAGED = {"components_", "cluster_centers_", "means_", "theta_"}
"""Attributes that hold averages of records: these have many decimals. With few decimals they are records."""
PARAMETERS = FITTED - AVERAGED | {"covariances_", "precisions_", "var_"}
"""Attributes that hold what was computed from records, and no record."""
TREES = {"Tree", "KDTree", "BallTree", "TreePredictor", "BinaryTree"}
FEWEST_ROWS, FEWEST_COLUMNS = 50, 3
"""A table-shaped array has at least so many rows and columns."""
REPEATED = 0.2
"""Share of values that stand in their column more than once, from which an array is no network's weights."""
ROUNDED = 0.9
"""Share of values with few decimals, from which an array was measured by people and not fitted."""
APART = 1.0
"""How far the columns' centres are apart, in units of their spread, in a table that was not standardised."""
SMOOTH = 0.8
"""How much nearer rows that follow each other are than rows far apart, in a table by place."""
SAMPLE = 5_000
TABLE_ROWS, SHOWN_ROWS = 10, 3
"""Rows from which a table, and one that a notebook or a page shows, may be of people."""
SUMMARIES = {"mean", "std", "min", "max", "count", "25%", "50%", "75%", "median", "total", "sum", "n", "p", "se"}
"""Labels of rows in a table of summaries."""


def holds_records(grid: Grid) -> bool:
    """Whether the array is one in which a known kind of model keeps its training records."""
    if grid.values.ndim != 2 or len(grid.values) == 0 or not grid.holder:
        return False
    known = grid.name in RECORDS or (grid.holder, grid.name) in ROWS_OF
    return known or (grid.holder in INDICES and grid.values.dtype.kind == "f" and len(grid.values) > 1)


def like_records(grid: Grid) -> bool:
    """Whether an array of unknown meaning has the form and the values of a table of records, or of pictures."""
    values = grid.values
    if grid.name in PARAMETERS or grid.holder in TREES or values.ndim < 2 or values.dtype.kind not in "iuf":
        return False
    rows, width = len(values), int(np.prod(values.shape[1:]))
    if rows < FEWEST_ROWS or width < FEWEST_COLUMNS:
        return False
    sample = np.asarray(values[:: max(1, rows // SAMPLE)][:SAMPLE]).reshape(-1, width)[:, :500].astype(float)
    if np.isinf(sample).any():
        return False
    gaps = np.isnan(sample)
    if gaps.all(0).any() or (sample == sample[:1]).all():
        return False
    if gaps.any():
        return True
    if grid.name in AVERAGED:
        return rounded(sample[:, (sample != 0).any(0)], zeros=False) >= ROUNDED
    if grid.name == BUFFER or (not grid.holder and KEPT_DATA.search(grid.name.lower())):
        return not _by_place(sample)
    if len(np.unique(sample, axis=0)) < len(sample) / 2 and width < 10:
        return False
    return (repeated(sample) >= REPEATED or rounded(sample) >= ROUNDED) and _differ(sample)


def repeated(sample: Array) -> float:
    """The share of values (n, d) that stand in their column more than once."""
    return float(np.mean([1 - len(np.unique(c)) / len(c) for c in sample.T]))


def _by_place(sample: Array) -> bool:
    """Whether rows (n, d) that follow each other are nearer than others: a table by place, such as an encoding of
    positions or a mask, and no records. Records stand in any order."""
    near = np.abs(np.diff(sample, axis=0)).mean()
    apart = np.abs(sample - np.roll(sample, len(sample) // 2, axis=0)).mean()
    return bool(near < SMOOTH * apart)


def rounded(sample: Array, zeros: bool = True) -> float:
    """The share of values (n, d), or of those that are not 0, that have three decimals or fewer, up to what 32 bits
    keep."""
    sample = sample if zeros else sample[sample != 0]
    if not sample.size:
        return 0.0
    grid = sample * 1000
    return float(np.mean(np.abs(grid - np.rint(grid)) <= 1e-3 + 3e-7 * np.abs(grid)))


def _differ(sample: Array) -> bool:
    """Whether columns differ in centre or spread more than a layer's weights do."""
    spread = sample.std(0)
    if not (spread > 0).any():
        return False
    usual = float(np.median(spread[spread > 0]))
    centres = sample.mean(0)
    return bool(np.ptp(centres) > APART * usual or spread[spread > 0].max() > 4 * spread[spread > 0].min())


def like_table(cells: Cells) -> bool:
    """Whether a table may be of people: enough rows, most of them different, and no labels of summaries."""
    shown = cells.kind in ("output", "table in a page")
    if len(cells.columns) < (3 if cells.kind == "file" else 2):
        return False
    if cells.rows - (cells.names is None) < (SHOWN_ROWS if shown else TABLE_ROWS):
        return False
    for column in (cells.columns[0], cells.columns[-1]):
        labels = {str(v).strip().casefold() for v in column[:50] if v is not None}
        if len(labels & SUMMARIES) >= 2:
            return False
    if shown and not _counted(cells.columns[0]):
        return False
    head = [tuple(map(_key, (c[i] for c in cells.columns))) for i in range(min(cells.rows, SAMPLE))]
    return len(set(head)) > len(head) / 2


def _counted(column: list[Any]) -> bool:
    """Whether a column counts rows (0, 1, 2, ... as pandas prints them) or names each row once."""
    texts = [str(v).strip() for v in column[1:]]
    return len(set(texts)) == len(texts) and sum(t.isdigit() for t in texts) >= len(texts) - 1


def _key(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else str(value)
