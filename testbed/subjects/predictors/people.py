"""The people of an audit, read from tables; and models that are known only by a table of predictions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array, Cohort, Predictor, Split
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.data.tables.encode import as_numbers
from testbed.subjects.predictors import in_series
from testbed.subjects.predictors.columns import Coding
from testbed.subjects.predictors.regression import Scale, as_regressor

ARMS = ("member", "control")
NAMED = "Write the person's id in the column id."
ROUNDED = 0.05
"""The largest deviation from one of a sum of rounded probabilities; such rows are scaled to sum to one."""


def predictions(frame: pd.DataFrame) -> tuple[Predictor, Split]:
    """A model with its members and its controls, from a table of predictions.

    The table has the columns `id,arm,label,p_0..p_k` for classes and probabilities, or `id,arm,label,prediction` for a
    number. A record is only a row number, so the model can be asked about nothing else. Raises `InputError` for a table
    that does not hold such predictions for members and controls.
    """
    names = sorted((c for c in frame.columns if re.fullmatch(r"p_\d+", str(c))), key=lambda c: int(c[2:]))
    numeric = not names and "prediction" in frame.columns
    absent = [c for c in ("id", "arm", "label") if c not in frame.columns]
    answered = numeric or (len(names) > 1 and names == [f"p_{i}" for i in range(len(names))])
    if names and not answered and not absent:
        lacks = sorted({f"p_{i}" for i in range(int(names[-1][2:]) + 1)} - set(names), key=lambda c: int(c[2:]))[:5]
        raise InputError(
            "TB-SUBJECT-077",
            f"The columns of the probabilities are {', '.join(names)}, without {', '.join(lacks) or 'a second class'}.",
            "Each class has a column, numbered from 0 in the order of the model's outputs: p_0, p_1, ...",
            "Number them from 0 without a gap. If the model has one output p, p_0 is 1 - p and p_1 is p.",
        )
    if absent or not answered:
        absent += [] if answered else ["p_0, p_1, ..., predicted_class, or prediction"]
        raise InputError(
            "TB-SUBJECT-001",
            f"The predictions have other columns than needed: there is no {', no '.join(absent)}.",
            "Columns are read by name: id, arm, label, and p_0, p_1, ... for class probabilities, or prediction.",
            "Rename them. If the model has one output p, p_0 is 1 - p and p_1 is p; a predicted number is prediction.",
        )
    arm = frame["arm"].astype(str).str.strip().str.lower()
    if set(arm) != set(ARMS):
        raise InputError(
            "TB-SUBJECT-002",
            "The column arm must say member or control, and both must occur.",
            "Membership is found by comparing the two: members were in the training data, and controls were not.",
            "Write these two words (not train and test). Add predictions for similar people if there are no controls.",
        )
    whose(frame["id"], "predictions")
    persons = frame["id"].astype(str).to_numpy()
    member = (arm == "member").to_numpy()
    if frame["id"].is_unique:
        for side, name in zip((member, ~member), ARMS, strict=True):
            said = frame.loc[side, ["prediction"] if numeric else names].apply(as_numbers)
            in_series.check(said, frame.loc[side, "label"], f"{name}s", 1, NAMED)
        in_series.check_twins(
            frame[["prediction"] if numeric else names].apply(as_numbers), frame["label"], member, NAMED
        )
    # Files list one arm after the other, so a record's number must not reveal its place in the file.
    number = keyed_rng(0, "numbers of predictions").permutation(len(frame))
    place = np.argsort(number)
    x = number.astype(np.float32)[:, None]
    if numeric:
        truth, said = _truth(frame, "label", "predictions"), _columns(frame, ["prediction"], "predictions")[:, 0]
        scale = Scale.of(truth)
        kept, by_number = scale.kept(truth), said[place]

        def predict(asked: Array) -> Array:
            return by_number[asked[:, 0].astype(int)]

        records, labels = np.column_stack([x, kept]), np.ones(len(frame), np.int64)
        model = as_regressor(predict, scale.measured(said, kept))
        groups = [Cohort(records[m], labels[m], persons[m]) for m in (member, ~member)]
        return model, Split(groups[0], groups[1], None)
    values = np.asarray(frame[names].apply(as_numbers), dtype=np.float64)
    _check_written(frame[names], values)
    if near_one(values):
        values = values / values.sum(1, keepdims=True)
    probabilities(values)
    labels = classes(frame["label"], len(names))
    chances = values[place]
    model = Predictor(lambda people: chances[people.x[:, 0].astype(int)], len(names))
    groups = [Cohort(x[m], labels[m], persons[m]) for m in (member, ~member)]
    return model, Split(groups[0], groups[1], None)


def near_one(values: Array) -> bool:
    """Whether all numbers are 0 or more and each row (n, classes) sums to one, apart from rounding."""
    if not np.isfinite(values).all() or (values < 0).any():
        return False
    decimals = next((d for d in (1, 2) if (np.round(values, d) == values).all()), 3)
    rounding = 0.5 * 10.0**-decimals * values.shape[1]
    return bool((np.abs(values.sum(1) - 1) <= max(ROUNDED, rounding)).all() and (values.sum(1) > 0).all())


def _check_written(cells: Any, values: Array) -> None:
    """Raises `InputError` where a cell holds something that was not read as a number, such as a sign beside it."""
    worded = np.isnan(values) & cells.notna().to_numpy()
    if worded.any():
        count = int(worded.any(1).sum())
        raise InputError(
            "TB-SUBJECT-078",
            f"In {count} row{'s' * (count != 1)} a prediction is written as text, and not as a plain number.",
            "A sign or a unit beside it, such as % or <, leaves open which number is meant.",
            "Write numbers alone, and probabilities from 0 to 1. Divide percentages by 100. Don't leave the rows out.",
        )


def probabilities(values: Array) -> None:
    """Raises `InputError` unless each row (n, classes) holds probabilities that sum to one."""
    if not np.isfinite(values).all():
        raise InputError(
            "TB-SUBJECT-003",
            "Some predictions are missing or not finite.",
            "They have no score, and leaving records out would change the result.",
            "Give a probability for every class of every record. Leave people for whom the model has none (in R "
            "those with gaps) out of members and controls alike.",
        )
    percents = (values >= 0).all(1) & np.isclose(values.sum(1), 100, atol=100 * ROUNDED, rtol=0)
    if percents.any():
        where = "each row" if percents.all() else "some rows, such as those of one table, and to one in others"
        raise InputError(
            "TB-SUBJECT-061",
            f"The predictions sum to 100 in {where}: they are percentages.",
            "Probabilities sum to one. A softmax of percentages would mean far too much confidence.",
            "Divide them by 100.",
        )
    if (values < 0).any() or (values > 1).any() or (np.abs(values.sum(1) - 1) > 1e-3).any():
        raise InputError(
            "TB-SUBJECT-004",
            "The predictions are not probabilities: they lie outside [0, 1], or do not sum to one in each row.",
            "Logits and margins would be read as confidence that the model does not have.",
            "Apply softmax (or a sigmoid, with p_0 = 1 - p_1) first.",
        )


def classes(values: Any, count: int) -> Array:
    """Class numbers (n,) from 0 to count - 1. Raises `InputError` for other values, or if only one class occurs."""
    numbers = np.asarray(as_numbers(values), dtype=np.float64)
    if (
        not np.isfinite(numbers).all()
        or (numbers != np.round(numbers)).any()
        or numbers.min() < 0
        or numbers.max() >= count
    ):
        raise InputError(
            "TB-SUBJECT-005",
            f"Some labels are not class numbers from 0 to {count - 1}.",
            "The label says which probability belongs to the true class.",
            "Number the classes in the order of the outputs. If the model predicts a number, leave out the p_ columns. "
            "If you have class names alone, write them in predicted_class and label, without p_ columns.",
        )
    if len(np.unique(numbers)) < 2:
        raise InputError(
            "TB-SUBJECT-006",
            "All records have the same label.",
            "If only one class occurs, the model's answers say nothing about membership.",
            "Give records of every class.",
        )
    return numbers.astype(np.int64)


def whose(persons: Any, role: str) -> None:
    """Raises `InputError` if a row has no person's id."""
    if persons.isna().any():
        raise InputError(
            "TB-SUBJECT-037",
            f"Some rows of the {role} have no person's id.",
            "They would all count as one person.",
            "Fill the column, or leave those rows out.",
        )


def cohorts(
    frames: dict[str, pd.DataFrame],
    label: str,
    known: list[Any],
    person: str | None,
    coding: Coding | None = None,
) -> Split:
    """The people of the tables as a classifier's input: as `coding` says, or all columns except `label` and `person`.

    `known` are the model's classes in the order of its outputs. Raises `InputError` for unknown labels, missing
    columns, values that are not numbers, or people in two tables.
    """
    place = {v: i for i, v in enumerate(known)}
    spelt = {_spelt(v): i for i, v in enumerate(known)}
    made: dict[str, Cohort] = {}
    for role, frame in frames.items():
        x, persons = _inputs(frames, role, [label], person, coding)
        y = np.array([place.get(v, spelt.get(_spelt(v), -1)) for v in frame[label].tolist()])
        if (y < 0).any():
            empty = bool(frame[label].isna().any())
            raise InputError(
                "TB-SUBJECT-018",
                f"Some labels of the {role}, in the column {label}, are "
                + ("empty." if empty else "not among the model's classes."),
                "The label says which of the model's probabilities belongs to the true class.",
                ("Leave out the people whose label is unknown, from all tables alike. " if empty else "")
                + "Write labels as in training, or number them in the order of the model's outputs: a LabelEncoder "
                "numbers words from 0 in alphabetical order. For a module or function that predicts a number, give "
                "--outputs number.",
            )
        made[role] = Cohort(x, classes(y, len(known)), persons)
    return _split(made)


def _spelt(label: Any) -> str:
    """A label as text, the same for labels that look alike in a text file: 1, 1.0 and "1"; True and "True"."""
    if label is None or label != label:
        return "None"
    text = str(label)
    try:
        return repr(float(text))
    except ValueError:
        return text


def numeric_cohorts(
    frames: dict[str, pd.DataFrame], label: str, person: str | None, coding: Coding | None = None
) -> tuple[Split, Scale]:
    """The people of the tables as a regressor's input, and the scale of the number; it is each record's last value."""
    inputs = {role: _inputs(frames, role, [label], person, coding) for role in frames}
    truth = {role: _truth(frame, label, role) for role, frame in frames.items()}
    scale = Scale.of(np.concatenate([truth["members"], truth["controls"]]))
    made: dict[str, Cohort] = {}
    for role, (x, persons) in inputs.items():
        made[role] = Cohort(np.column_stack([x, scale.kept(truth[role])]), np.ones(len(x), np.int64), persons)
    return _split(made), scale


def together(people: Split) -> Cohort:
    """Members and controls as one group, which reveals no membership."""
    groups = [g for g in (people.members, people.controls) if isinstance(g, Cohort)]
    return Cohort(*(np.concatenate([getattr(g, f) for g in groups]) for f in ("x", "y", "persons")))


def outcome_cohorts(
    frames: dict[str, pd.DataFrame],
    outcomes: dict[str, Array],
    labels: Sequence[str],
    person: str | None,
    coding: Coding,
) -> Split:
    """The people of the tables as the input of a model with several true values; they are each record's last values."""
    made: dict[str, Cohort] = {}
    for role in frames:
        x, persons = _inputs(frames, role, labels, person, coding)
        made[role] = Cohort(np.column_stack([x, outcomes[role]]), np.ones(len(x), np.int64), persons)
    return _split(made)


def _inputs(
    frames: dict[str, pd.DataFrame], role: str, labels: Sequence[str], person: str | None, coding: Coding | None
) -> tuple[Array, Array]:
    frame = frames[role]
    beside = [*labels, *([person] if person else [])]
    if coding is None:
        names = [c for c in frames["members"].columns if c not in beside]
        x = numbers(frame, role, names, beside)
    else:
        exist(frame, role, [*coding.names, *beside])
        x = coding.encoded(frame)
    if person:
        whose(frame[person], role)
    elif x.ndim == 2:
        seen: Any = pd.DataFrame(np.asarray(x)) if coding is None else frame[list(coding.names)]
        in_series.check(seen, frame[labels[0]], role, 2, "Name the column of persons: --person COLUMN.")
    persons = frame[person].astype(str) if person else pd.Series([f"{role} {i}" for i in range(len(frame))])
    return x, persons.to_numpy()


def _split(made: dict[str, Cohort]) -> Split:
    """The tables' people, by role. Raises `InputError` if two share people, or more rows than one repeats within
    itself."""
    split = Split(made["members"], made["controls"], made.get("reference"), removed=made.get("forgotten"))
    for one, other in combinations(("members", "controls", "reference", "forgotten"), 2):
        if one in made and other in made:
            _apart(made[one], made[other], one, other)
    return split


def _truth(frame: pd.DataFrame, label: str, role: str) -> Array:
    """The true numbers (n,) float64 that the model should predict."""
    truth = np.asarray(as_numbers(frame[label]), dtype=np.float64)
    if not np.isfinite(truth).all():
        raise InputError(
            "TB-SUBJECT-030",
            f"Some labels of the {role} are not numbers.",
            "They are what the model should predict. An imputed number says nothing about its error.",
            "Leave out people whose true number is unknown; name the column of the number with --label.",
        )
    return truth


def numbers(frame: pd.DataFrame, role: str, names: list[str], beside: list[str]) -> Array:
    """The named columns (n, features), float64. Raises `InputError` for missing columns or values that are not numbers.

    `beside` are other columns that must exist.
    """
    return _columns(frame, names, role, beside)


def exist(frame: pd.DataFrame, role: str, names: list[str]) -> None:
    """Raises `InputError` if a table lacks one of these columns."""
    if missing := [c for c in names if c not in frame.columns]:
        # If none of the names occurs, the first line may be a record instead of a header, so it is not quoted.
        headed = any(c in frame.columns for c in names)
        others = ", ".join(str(c) for c in frame.columns if c not in names)[:200] if headed else ""
        raise InputError(
            "TB-SUBJECT-008",
            f"The {role} lack columns: {', '.join(map(str, missing[:5]))}.",
            "All tables must have the columns that the model was trained on, the label among them.",
            "Write all tables by the same export; name the label with --label."
            + (f" Columns that are not inputs: {others}." if others else ""),
        )


def _columns(frame: pd.DataFrame, names: list[str], role: str, beside: list[str] | None = None) -> Array:
    exist(frame, role, [*names, *(beside or [])])
    x = np.asarray(frame[names].apply(as_numbers), dtype=np.float64)
    if not np.isfinite(x).all():
        raise InputError(
            "TB-SUBJECT-009",
            f"The {role} hold values that are missing or not numbers.",
            "The model can only be asked about numbers.",
            "Write numbers without signs or units."
            if role == "predictions"
            else "Encode and impute them as before "
            "training. If the model does this itself, give its --predictions instead.",
        )
    return x


MOST_SHARED, ERRORS = 0.05, 4
"""The share of rows, and the number of standard errors, by which shared rows may exceed repeated ones."""


def _apart(one: Cohort, other: Cohort, first: str, second: str) -> None:
    """Raises `InputError` if the second group shares clearly more rows with the first than the first repeats itself."""
    keys = [[row.tobytes() + bytes([int(c) % 256]) for row, c in zip(g.x, g.y, strict=True)] for g in (one, other)]
    held = Counter(keys[0])
    shared = float(np.mean([k in held for k in keys[1]]))
    repeated = float(np.mean([held[k] > 1 for k in keys[0]]))
    # In one population both shares are expected to be equal; by chance they differ by a few standard errors.
    both = (shared * len(keys[1]) + repeated * len(keys[0])) / (len(keys[0]) + len(keys[1]))
    error = np.sqrt(both * (1 - both) * (1 / len(keys[0]) + 1 / len(keys[1])))
    if shared > repeated + MOST_SHARED + ERRORS * error:
        raise InputError(
            "TB-SUBJECT-010",
            f"The {first} and the {second} are partly the same records.",
            "People in both groups cannot show what the model reveals about those whose records were used.",
            f"Give as {second} people who are not among the {first}.",
        )
