"""Tables for a model whose outcome stands in several columns: the people, and what the model predicts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from testbed.core import Split
from testbed.core.errors import InputError, UsageError
from testbed.subjects.predictors import people as subjects
from testbed.subjects.predictors import several, survival
from testbed.subjects.predictors.columns import Coding
from testbed.subjects.predictors.outcomes import Outcome


def fits(made: Any, label: str | Sequence[str]) -> None:
    """Raises `UsageError` unless as many columns are named as the outcome of this model has."""
    several_columns = not isinstance(label, str)
    several_values = survival.survives(made) or several.predicts_several(made)
    if several_values == several_columns:
        return
    if several_columns:
        raise UsageError(
            "TB-SUBJECT-069",
            "Several columns of the outcome are named, and this model predicts one value.",
            "It predicts neither the time to an event nor several labels at once.",
            "Leave --event out, and name with --label the one column that the model predicts.",
        )
    if not survival.survives(made):
        raise InputError(
            "TB-SUBJECT-075",
            "The model predicts several labels at once, and only one column is named.",
            "Each label of a person is compared with the model's probability for it.",
            "Name a column for each label with --label a,b,c, in the order in which fit was given them.",
        )
    raise UsageError(
        "TB-SUBJECT-068",
        "The model predicts the time to an event, and only one column of the outcome is named.",
        "An outcome is a time, and whether the event happened then or the person was last seen without it.",
        "Name the column of the time with --label, and the column of the event (1 or 0) with --event.",
    )


def outcomes(
    made: Any, frames: dict[str, pd.DataFrame], label: Sequence[str], person: str | None, coding: Coding
) -> tuple[Split, Outcome]:
    """The people of the tables, with their outcomes as each record's last values, and the outcome as the model has it.

    Raises `InputError` for tables that do not hold such outcomes.
    """
    if not survival.survives(made):
        labels = several.labels_of(made, len(label))
        truth = several.outcomes_of(frames, label, labels)
        return subjects.outcome_cohorts(frames, truth, label, person, coding), labels
    people = subjects.outcome_cohorts(frames, survival.outcomes_of(frames, label), label, person, coding)
    return people, survival.endpoint(people)
