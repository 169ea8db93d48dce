"""The people of an audit, read from tables, and models that are known by a table of predictions alone."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array, Cohort, Predictor
from testbed.core.errors import InputError
from testbed.core.randomness import keyed_rng
from testbed.data.tables.encode import as_numbers
from testbed.subjects.predictors.regression import Scale, as_predictor

ARMS = ("member", "control")
ROUNDED = 0.05
"""So far from one may probabilities sum that were rounded; they are brought back to it."""


def predictions(frame: pd.DataFrame) -> tuple[Predictor, Cohort, Cohort]:
    """The model that a table of predictions tells of, its members and its controls.

    The table is `id,arm,label,p_0..p_k` with a class and probabilities, or `id,arm,label,prediction` with a number. A
    record is known by its row alone, so that nothing but these predictions can be asked. Raises `InputError` for a
    table that does not hold predictions of two arms.
    """
    names = sorted((c for c in frame.columns if re.fullmatch(r"p_\d+", str(c))), key=lambda c: int(c[2:]))
    numeric = not names and "prediction" in frame.columns
    if not {"id", "arm", "label"} <= set(frame.columns) or not (
        numeric or (len(names) > 1 and names == [f"p_{i}" for i in range(len(names))])
    ):
        raise InputError(
            "TB-SUBJECT-001",
            "The predictions have other columns than they must.",
            "They are read by name: id, arm, label, and each class's probability as p_0, p_1, ..., or prediction.",
            "Rename them; a model with one output p has p_0 = 1 - p and p_1 = p, one of a number has prediction.",
        )
    arm = frame["arm"].astype(str).str.strip()
    if set(arm) != set(ARMS):
        raise InputError(
            "TB-SUBJECT-002",
            "The column arm must say member or control, and both must occur.",
            "Without both there is nobody to tell apart.",
            "Add predictions for people of the same kind who were not in the training data, as arm control.",
        )
    whose(frame["id"], "predictions")
    persons = frame["id"].astype(str).to_numpy()
    member = (arm == "member").to_numpy()
    disjoint(persons[member], persons[~member])
    # Files list one arm after the other: a record's number must not tell where in the file it stood.
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
        model = as_predictor(predict, scale.measured(said, kept))
        groups = [Cohort(records[m], labels[m], persons[m]) for m in (member, ~member)]
        return model, groups[0], groups[1]
    values = np.asarray(frame[names].apply(as_numbers), dtype=np.float64)
    if near_one(values):
        values = values / values.sum(1, keepdims=True)
    probabilities(values)
    labels = classes(frame["label"], len(names))
    chances = values[place]
    model = Predictor(lambda people: chances[people.x[:, 0].astype(int)], len(names))
    groups = [Cohort(x[m], labels[m], persons[m]) for m in (member, ~member)]
    return model, groups[0], groups[1]


def near_one(values: Array) -> bool:
    """Do rows (n, classes) of numbers from 0 on sum to one, but for the rounding of each?"""
    if not np.isfinite(values).all() or (values < 0).any():
        return False
    decimals = next((d for d in (1, 2) if (np.round(values, d) == values).all()), 3)
    rounding = 0.5 * 10.0**-decimals * values.shape[1]
    return bool((np.abs(values.sum(1) - 1) <= max(ROUNDED, rounding)).all() and (values.sum(1) > 0).all())


def probabilities(values: Array) -> None:
    """Raises `InputError` unless each row (n, classes) holds probabilities that sum to one."""
    if not np.isfinite(values).all():
        raise InputError(
            "TB-SUBJECT-003",
            "Some predictions are missing or not finite.",
            "A score cannot be made of them, and leaving records out would change the answer.",
            "Give a probability for every class of every record.",
        )
    if (values < 0).any() or (values > 1).any() or (np.abs(values.sum(1) - 1) > 1e-3).any():
        raise InputError(
            "TB-SUBJECT-004",
            "The predictions are no probabilities: they leave [0, 1], or do not sum to one in each row.",
            "Logits and margins would be read as confidence that the model does not have.",
            "Apply softmax (or a sigmoid, with p_0 = 1 - p_1) first.",
        )


def classes(values: Any, count: int) -> Array:
    """Class numbers (n,) from 0 to count - 1. Raises `InputError` for others, or if there is one class only."""
    numbers = np.asarray(as_numbers(values), dtype=np.float64)
    if (
        not np.isfinite(numbers).all()
        or (numbers != np.round(numbers)).any()
        or numbers.min() < 0
        or numbers.max() >= count
    ):
        raise InputError(
            "TB-SUBJECT-005",
            f"Some labels are no class numbers from 0 to {count - 1}.",
            "The label says which of the probabilities is that of the truth.",
            "Number the classes as the model's outputs are numbered; of a model of a number leave out the p_ columns.",
        )
    if len(np.unique(numbers)) < 2:
        raise InputError(
            "TB-SUBJECT-006",
            "All records have the same label.",
            "A model of one class knows nothing that could be told from it.",
            "Give records of every class.",
        )
    return numbers.astype(np.int64)


def whose(persons: Any, role: str) -> None:
    """Raises `InputError` where a row says not whose it is."""
    if persons.isna().any():
        raise InputError(
            "TB-SUBJECT-037",
            f"Some rows of the {role} have no person's id.",
            "They would all be taken for one person.",
            "Fill the column, or leave those rows out.",
        )


def disjoint(members: Array, controls: Array) -> None:
    """Raises `InputError` if a person stands in both arms."""
    if len(set(members.tolist()) & set(controls.tolist())):
        raise InputError(
            "TB-SUBJECT-007",
            "Some people are both members and controls.",
            "A person who was used cannot say how often those who were not are accused.",
            "Remove them from the controls; if ids are reused, make them unique.",
        )


def cohorts(
    frames: dict[str, pd.DataFrame],
    label: str,
    known: list[Any],
    person: str | None,
    features: list[str] | None = None,
) -> dict[str, Cohort]:
    """The tables as a model takes them: the columns named in `features`, else all but `label` and `person`.

    `known` are the model's classes in the order of its outputs.
    """
    place = {v: i for i, v in enumerate(known)}
    spelt = {_spelt(v): i for i, v in enumerate(known)}
    made: dict[str, Cohort] = {}
    for role, frame in frames.items():
        x, persons = _inputs(frames, role, label, person, features)
        y = np.array([place.get(v, spelt.get(_spelt(v), -1)) for v in frame[label].tolist()])
        if (y < 0).any():
            raise InputError(
                "TB-SUBJECT-018",
                f"Some labels of the {role} are none of the model's classes.",
                "The label says which of the model's probabilities is that of the truth.",
                "Write labels as they were in training, or number them as the model's outputs are numbered; of a module"
                " or function that predicts a number say --outputs number.",
            )
        made[role] = Cohort(x, classes(y, len(known)), persons)
    return _separate(made, person)


def _spelt(label: Any) -> str:
    """One spelling for labels that a file of text does not tell apart: 1, 1.0 and "1"; True and "True"; None."""
    if label is None or label != label:
        return "None"
    text = str(label)
    try:
        return repr(float(text))
    except ValueError:
        return text


def numeric_cohorts(
    frames: dict[str, pd.DataFrame], label: str, person: str | None, features: list[str] | None = None
) -> tuple[dict[str, Cohort], Scale]:
    """The tables as a model of a number takes them, with the number kept as each record's last value."""
    inputs = {role: _inputs(frames, role, label, person, features) for role in frames}
    truth = {role: _truth(frame, label, role) for role, frame in frames.items()}
    scale = Scale.of(np.concatenate([truth["members"], truth["controls"]]))
    made: dict[str, Cohort] = {}
    for role, (x, persons) in inputs.items():
        made[role] = Cohort(np.column_stack([x, scale.kept(truth[role])]), np.ones(len(x), np.int64), persons)
    return _separate(made, person), scale


def _inputs(
    frames: dict[str, pd.DataFrame], role: str, label: str, person: str | None, features: list[str] | None
) -> tuple[Array, Array]:
    frame = frames[role]
    names = features or [c for c in frames["members"].columns if c not in (label, person)]
    x = numbers(frame, role, [*names], [label, *([person] if person else [])])
    if person:
        whose(frame[person], role)
    persons = frame[person].astype(str) if person else pd.Series([f"{role} {i}" for i in range(len(frame))])
    return x, persons.to_numpy()


def _separate(made: dict[str, Cohort], person: str | None) -> dict[str, Cohort]:
    """Raises `InputError` where tables share people, or more rows than repeat within one."""
    for one, other in (("members", "controls"), ("members", "reference"), ("controls", "reference")):
        if other not in made:
            continue
        if person:
            disjoint(made[one].persons, made[other].persons)
        _apart(made[one], made[other], one, other)
    return made


def _truth(frame: pd.DataFrame, label: str, role: str) -> Array:
    """The numbers (n,) float64 that a model should have predicted."""
    truth = np.asarray(as_numbers(frame[label]), dtype=np.float64)
    if not np.isfinite(truth).all():
        raise InputError(
            "TB-SUBJECT-030",
            f"Some labels of the {role} are no numbers.",
            "They are what the model should have predicted, and an imputed one would say nothing of it.",
            "Leave out people whose true number is not known; name its column with --label.",
        )
    return truth


def numbers(frame: pd.DataFrame, role: str, names: list[str], beside: list[str]) -> Array:
    """The named columns (n, features), float64. Raises `InputError` for missing columns and what is no number."""
    return _columns(frame, names, role, beside)


def _columns(frame: pd.DataFrame, names: list[str], role: str, beside: list[str] | None = None) -> Array:
    if missing := [c for c in [*names, *(beside or [])] if c not in frame.columns]:
        # Where no name is there, the first line may be a record and no header, and is not quoted.
        headed = any(c in frame.columns for c in names)
        others = ", ".join(str(c) for c in frame.columns if c not in names)[:200] if headed else ""
        raise InputError(
            "TB-SUBJECT-008",
            f"The {role} lack columns: {', '.join(map(str, missing[:5]))}.",
            "All tables must have the columns that the model was trained on, the label among them.",
            "Write all tables by the same export; name the label with --label."
            + (f" Columns that are no inputs: {others}." if others else ""),
        )
    x = np.asarray(frame[names].apply(as_numbers), dtype=np.float64)
    if not np.isfinite(x).all():
        raise InputError(
            "TB-SUBJECT-009",
            f"The {role} hold values that are no numbers.",
            "The model is asked about columns of numbers, without gaps.",
            "Encode and impute them as before training; of a model that does it itself, give the --predictions.",
        )
    return x


MOST_SHARED, ERRORS = 0.05, 4


def _apart(one: Cohort, other: Cohort, first: str, second: str) -> None:
    """Raises `InputError` where more of the second group's rows stand in the first than its own rows repeat."""
    keys = [[row.tobytes() + bytes([int(c) % 256]) for row, c in zip(g.x, g.y, strict=True)] for g in (one, other)]
    held = Counter(keys[0])
    shared = float(np.mean([k in held for k in keys[1]]))
    repeated = float(np.mean([held[k] > 1 for k in keys[0]]))
    # Of one population as many of both are expected; by chance they differ by a few standard errors.
    both = (shared * len(keys[1]) + repeated * len(keys[0])) / (len(keys[0]) + len(keys[1]))
    error = np.sqrt(both * (1 - both) * (1 / len(keys[0]) + 1 / len(keys[1])))
    if shared > repeated + MOST_SHARED + ERRORS * error:
        raise InputError(
            "TB-SUBJECT-010",
            f"The {first} and the {second} are partly the same records.",
            "Whoever is in both cannot tell what the model keeps of those who were used alone.",
            f"Give as {second} people who are not among the {first}.",
        )
