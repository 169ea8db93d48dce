"""Words of training data in a model's fitted attributes: vocabularies of vectorisers, categories of encoders."""

from __future__ import annotations

from typing import Any

from testbed.subjects.artefacts.pickles import Made, Pairs

FEWEST_WORDS = 20
"""Different words from which an attribute counts: codes of few values are no people's."""
ENCODERS = {"LabelEncoder", "MultiLabelBinarizer", "LabelBinarizer"}
"""Classes whose `classes_` are values of a column, and not the classes of a model."""
NAMES = {"classes_", "feature_names_in_", "feature_names_", "names_"}
"""Fitted attributes that hold names of classes and columns."""


def vocabulary(node: Any, holder: str) -> list[str] | None:
    """The words of a dictionary from words to their numbers, in an object; None for anything else."""
    if not holder or not isinstance(node, Pairs) or len(node.pairs) < FEWEST_WORDS:
        return None
    words = [k for k, v in node.pairs if isinstance(k, str) and _number(v)]
    return words if len(words) == len(node.pairs) else None


def _number(value: Any) -> bool:
    """Whether a value is a whole number, Python's or NumPy's."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, Made) and not value.pairs)


def categories(values: list[Any], holder: str, name: str) -> bool:
    """Whether an array of words under a fitted attribute (a name with `_` at its end) holds values of a column."""
    fitted = bool(holder) and name.endswith("_") and (name not in NAMES or (name == "classes_" and holder in ENCODERS))
    return fitted and len({v for v in values if isinstance(v, str)}) >= FEWEST_WORDS
