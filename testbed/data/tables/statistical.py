"""Reading the files of SPSS, Stata and SAS. Codes with labels become categories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

SPSS, STATA, SAS = (".sav", ".zsav", ".por"), (".dta",), (".sas7bdat", ".xpt")


def read(path: Path, role: str, person: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The table, and notes. A file of Stata or SAS is read by pandas, one of SPSS by pyreadstat."""
    ending = path.suffix.lower()
    if ending in STATA:
        frame, notes = _stata(path)
    elif ending in SAS:
        frame, notes = _sas(path), list[str]()
    else:
        frame, notes = _spss(path)
    if person in frame.columns:
        frame[person] = frame[person].map(_as_text, na_action="ignore")
    return frame, notes


def _spss(path: Path) -> tuple[pd.DataFrame, list[str]]:
    import pyreadstat

    reader: Any = pyreadstat.read_por if path.suffix.lower() == ".por" else pyreadstat.read_sav
    frame, about = reader(path)
    labels: dict[str, dict[Any, str]] = about.variable_value_labels
    labelled = 0
    for name in frame.columns:
        coded = frame[name].dropna()
        if name in labels and len(coded) and set(coded.unique()) <= set(labels[name]):
            frame[name] = frame[name].map(labels[name])
            labelled += 1
    return frame, _labelled(labelled)


def _stata(path: Path) -> tuple[pd.DataFrame, list[str]]:
    frame: Any = pd.read_stata(path, convert_categoricals=False)
    try:
        named: Any = pd.read_stata(path, convert_categoricals=True)
    except ValueError:  # one label for two codes
        return frame, []
    labelled = [
        c
        for c in frame.columns
        if isinstance(named[c].dtype, pd.CategoricalDtype) and all(isinstance(v, str) for v in named[c].dropna())
    ]
    return frame.assign(**{c: named[c].astype(object) for c in labelled}), _labelled(len(labelled))


def _sas(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".sas7bdat":
        return pd.DataFrame(pd.read_sas(path, encoding="infer"))
    try:
        return pd.DataFrame(pd.read_sas(path, encoding="utf-8"))
    except UnicodeDecodeError:
        return pd.DataFrame(pd.read_sas(path, encoding="cp1252"))


def _labelled(columns: int) -> list[str]:
    return [f"{columns} column{'s' if columns > 1 else ''} of codes read by the labels of the codes"] if columns else []


def _as_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
