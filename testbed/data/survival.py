"""Data sets with a time of observation: how long each person was seen, and whether the person died then."""

from __future__ import annotations

import numpy as np
import pandas as pd

from testbed import data
from testbed.core import Cohort
from testbed.core.errors import UsageError
from testbed.data.cohorts import Source

FOLLOWED: dict[str, tuple[str, str]] = {
    "framingham": ("TIMEDTH", "DEATH"),
    "pbc2": ("years", "status2"),
    "support2": ("d.time", "death"),
}
"""By data set, the columns with the time of death or of the last sight, and with 1 for a death."""


def followed(name: str, columns: tuple[str, str] | None = None) -> Source:
    """A data set's people with one time each as their record (n, 1), and the class 1 for those who died then.

    `columns` names the time and the death in a user's own table. Of a person with several rows the first one counts.
    Raises `UsageError` if the columns are not known or do not exist, or are no numbers, or no 0 and 1.
    """
    known = data.dataset(name)
    chosen = columns or FOLLOWED.get(name)
    frame = data.load_table(name) if known.modality == "table" else pd.DataFrame()
    if chosen is None or not set(chosen) <= set(frame.columns):
        raise UsageError(
            "TB-DATA-088",
            "No time of observation is known for this data set.",
            "A survival curve needs how long each person was seen, and whether the person died then.",
            f"Use one of {', '.join(FOLLOWED)}, or name the two columns of your table: -s time=COLUMN -s death=COLUMN.",
        )
    times, deaths = (np.asarray(pd.to_numeric(frame[c], errors="coerce"), np.float64) for c in chosen)
    seen = (times >= 0) & np.isfinite(times) & np.isin(deaths, [0, 1])
    if seen.mean() < 0.5:
        raise UsageError(
            "TB-DATA-089",
            "The columns of time and death hold other values than times and 0 or 1.",
            "A time is a number from 0 on, and a death is written as 1, its absence as 0.",
            "Name other columns, or change how they are written.",
        )
    ids = frame[known.person] if known.person else pd.Series(range(len(frame)))
    persons = np.asarray(ids).astype(str)
    _, first = np.unique(persons, return_index=True)
    rows = np.sort(first[seen[first]])
    people = Cohort(times[rows, None].astype(np.float32), deaths[rows].astype(np.int64), persons[rows])
    sites = None if known.site is None else np.asarray(frame[known.site].astype(str))[rows]
    return Source(name, known.title, people, sites, 2, known.licence, known.data_class, (("time", 1),))
