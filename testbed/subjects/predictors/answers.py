"""Tables of predictions that hold less than all probabilities: the class, with its probability or alone; no label."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.core.errors import InputError
from testbed.data.tables.encode import as_numbers

CLASS, SURE = "predicted_class", "confidence"
"""Columns of the predicted class, and of its probability."""
ROUNDED = 4
"""Probabilities with at most this many decimals count as rounded."""
WITHOUT_LABELS = "the predicted class, since the table holds no true labels"


def completed(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table with a label and a probability for each class, and what was put in, for the report.

    From `predicted_class` alone, that class has probability 1, so attacks see right or wrong alone. With `confidence`
    the other classes share the rest. Classes may be words; if labels and predictions differ, capitals and blanks do not
    count. Without `label`, the predicted class stands for it: attacks then see how sure the model is. Raises
    `InputError` for confidences that are no probabilities, and for predicted classes that share none with the labels.
    """
    notes: dict[str, str] = {}
    names = [c for c in frame.columns if str(c).startswith("p_") and str(c)[2:].isdigit()]
    if not names and CLASS in frame.columns:
        frame = _from_class(frame)
        names = [c for c in frame.columns if str(c).startswith("p_")]
        notes["answers"] = "the predicted class" + (" and its probability" if SURE in frame.columns else " alone")
    if "label" not in frame.columns and len(names) > 1:
        ordered = sorted(names, key=lambda c: int(c[2:]))
        frame = frame.assign(label=np.asarray(frame[ordered], dtype=np.float64).argmax(1))
        notes["labels"] = WITHOUT_LABELS
    if "answers" not in notes and (decimals := _decimals(frame, names)) is not None:
        notes["answers"] = f"probabilities with {decimals} decimals" if decimals else "the predicted class alone"
    return frame, notes


def _decimals(frame: pd.DataFrame, names: list[str]) -> int | None:
    """The decimals of rounded probabilities, or None if they are not rounded, or are no numbers."""
    values = np.asarray(frame[names].apply(as_numbers), dtype=np.float64) if names else np.empty((0, 0))
    if not values.size or not np.isfinite(values).all():
        return None
    return next((d for d in range(ROUNDED + 1) if (np.abs(np.round(values, d) - values) < 1e-9).all()), None)


def _from_class(frame: pd.DataFrame) -> pd.DataFrame:
    columns = [frame[c] for c in (CLASS, "label") if c in frame.columns]
    texts = [column.map(_as_text) for column in columns]
    if len(texts) > 1 and set(texts[0].dropna()) != set(texts[1].dropna()):  # Yes and yes are one class
        texts = [text.map(_folded, na_action="ignore") for text in texts]
    known = sorted(set(pd.concat(texts).dropna()), key=_in_order)
    code = {name: i for i, name in enumerate(known)}
    predicted = np.array([code.get(t, -1) for t in texts[0]])
    if (predicted < 0).any() or len(known) < 2:
        raise InputError(
            "TB-SUBJECT-059",
            f"The column {CLASS} has gaps, or only one class occurs.",
            "Each record needs a predicted class, and answers that are all alike say nothing.",
            "Leave out records without an answer, before members and controls are compared.",
        )
    if len(texts) > 1 and not set(texts[0]) & set(texts[1]):
        raise InputError(
            "TB-SUBJECT-079",
            f"The classes in {CLASS} and those in label have no word or number in common.",
            "Every answer would count as wrong, and the audit would say nothing about people.",
            "Write both columns alike: class numbers in both, or the same words in both.",
        )
    sure = _confidence(frame, len(known))
    values = np.repeat(((1 - sure) / (len(known) - 1))[:, None], len(known), axis=1)
    values[np.arange(len(frame)), predicted] = sure
    made = frame.assign(**{f"p_{i}": values[:, i] for i in range(len(known))})
    return made.assign(label=[code.get(t, -1) for t in texts[1]]) if len(texts) > 1 else made


def _confidence(frame: pd.DataFrame, classes: int) -> Array:
    if SURE not in frame.columns:
        return np.ones(len(frame))
    sure: Array = np.asarray(as_numbers(frame[SURE]), dtype=np.float64)
    if not ((sure >= 1 / classes - 1e-6) & (sure <= 1)).all():
        raise InputError(
            "TB-SUBJECT-060",
            f"The column {SURE} does not hold the probability of the predicted class.",
            f"Of {classes} classes, the most likely one has a probability from {1 / classes:.2g} to 1.",
            "Divide percentages by 100. A score or a margin is no probability.",
        )
    return sure


def _as_text(value: Any) -> Any:
    if value is None or value != value:
        return None
    whole = isinstance(value, float | np.floating) and value == int(value)
    return str(int(value)) if whole else str(value).strip()


def _folded(text: str) -> str:
    """The text without differences of capitals, blanks and signs that look alike."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("_", " ").split())


def _in_order(name: str) -> tuple[bool, float, str]:
    number = float(name) if name.replace(".", "", 1).isdigit() else 0.0
    return not name[:1].isdigit(), number, name
