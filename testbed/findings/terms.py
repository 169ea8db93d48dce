# pyright: strict
"""The closed lists of words in a result: verdicts, risks, metrics, units."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["pass", "review", "fail", "none"]
DataClass = Literal["real", "public", "synthetic"]
Risk = Literal[
    "singling_out",
    "linkability",
    "attribute_inference",
    "membership",
    "reconstruction",
    "property",
    "class_inversion",
    "extraction",
    "copying",
    "structure",
    "epsilon",
]
Metric = Literal[
    "rate",
    "line_up_top1",
    "tpr_at_fpr",
    "auc",
    "excess",
    "residual",
    "exact_match",
    "token_recall",
    "psnr_db",
    "epsilon_lower",
    "epsilon_upper",
    "fidelity",
]
Unit = Literal["record", "person", "client", "query", "predicate", "class", "batch", "run", "row", "column_set"]
