"""Tables for a model whose outcome stands in several columns: the people, and what the model predicts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from testbed.core import Split
from testbed.core.errors import UsageError
from testbed.subjects.predictors import people as subjects
from testbed.subjects.predictors import survival
from testbed.subjects.predictors.columns import Coding
from testbed.subjects.predictors.outcomes import Outcome


def fits(made: Any, label: str | Sequence[str]) -> None:
    """Raises `UsageError` unless as many columns are named as the outcome of this model has."""
    several = not isinstance(label, str)
    if survival.survives(made) == several:
        return
    if several:
        raise UsageError(
            "TB-SUBJECT-069",
            "--event says nothing about this model.",
            "It predicts no time of an event: it has no predict_survival_function.",
            "Leave --event out, and name with --label what the model predicts.",
        )
    raise UsageError(
        "TB-SUBJECT-068",
        "The model predicts the time to an event, and only one column of the outcome is named.",
        "An outcome is a time, and whether the event happened then or the person was last seen without it.",
        "Name the column of the time with --label, and the column of the event (1 or 0) with --event.",
    )


def outcomes(
    frames: dict[str, pd.DataFrame], label: Sequence[str], person: str | None, coding: Coding
) -> tuple[Split, Outcome]:
    """The people of the tables, with their outcomes as each record's last values, and the outcome as the model has it.

    Raises `InputError` for tables that do not hold such outcomes.
    """
    people = subjects.outcome_cohorts(frames, survival.outcomes_of(frames, label), label, person, coding)
    return people, survival.endpoint(people)
