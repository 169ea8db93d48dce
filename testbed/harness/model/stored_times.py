"""Which people's times of an event are steps of a survival model's own curves: whoever has the file can read them."""

from __future__ import annotations

from typing import Any

import numpy as np

from testbed.core import Array, Cohort
from testbed.findings import measures, statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding
from testbed.subjects.predictors.copies import last_of, searched

HELD = ("unique_times_", "event_times_", "time_")
"""Attributes in which models hold the times at which their curves fall."""
PLAN = Plan(rule="TB-STRUCTURE-007", risk="structure", attack="stored_times", metric="rate", unit="record")


def stored_times(made: Any, members: Cohort, controls: Cohort) -> list[Finding]:
    """The share of people with the event whose own time is a step of the model, beside that of controls. It informs.

    The last two values of a record are the time and the event. A Kaplan-Meier or Breslow curve falls at each time of an
    event in the training data. In whole months everybody's time is a step, and nobody stands out.
    """
    steps = _steps(made)
    if steps is None:
        return []
    shares = [
        statistics.proportion(np.isin(g.x[ended, -2], steps).astype(float), g.persons[ended])
        for g in (members, controls)
        for ended in [g.x[:, -1] == 1]
        if ended.any()
    ]
    if len(shares) < 2:
        return []
    own, theirs = (measures.percent(measures.estimate("rate", share, "record")) for share in shares)
    plain = (
        f"The model stores the exact time of the event of {own} of the training records. By chance it also stores "
        f"that of {theirs} of other people's. Whoever has the file can look a known time up. Round the times before "
        "training, or release the curves at a few fixed times."
    )
    return [measures.diagnostic(PLAN, shares[0], shares[1], plain)]


def _steps(made: Any) -> Array | None:
    """The times that a model, or the last step of a pipeline, stores. None if it stores none."""
    made = last_of(searched(made))
    for name in HELD:
        if (held := getattr(made, name, None)) is not None:
            return np.asarray(held, np.float64).ravel()
    curve = getattr(made, "cum_baseline_hazard_", None)
    return None if curve is None else np.asarray(getattr(curve, "x", curve), np.float64).ravel()
