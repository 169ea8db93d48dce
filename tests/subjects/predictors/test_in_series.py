"""Several rows of a person whom no column names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from testbed.core.errors import InputError
from testbed.data.datasets.load import load_table
from testbed.subjects.predictors import in_series
from testbed.subjects.predictors.people import cohorts, numeric_cohorts, predictions

PEOPLE, WINDOWS = 40, 10


def table(own_ids: bool, seed: int = 0) -> pd.DataFrame:
    """Predictions of hourly windows: a person's are alike."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.normal(size=2 * PEOPLE), WINDOWS)
    p = 1 / (1 + np.exp(-level - rng.normal(0, 0.3, level.shape)))
    arm = np.repeat(["member", "control"], PEOPLE * WINDOWS)
    ids = np.arange(len(p)) if own_ids else np.repeat(np.arange(2 * PEOPLE), WINDOWS)
    return pd.DataFrame({"id": ids, "arm": arm, "label": rng.integers(0, 2, len(p)), "p_0": 1 - p, "p_1": p})


def test_windows_with_ids_of_their_own_are_refused_and_those_of_named_people_are_read() -> None:
    with pytest.raises(InputError, match="TB-SUBJECT-076"):
        predictions(table(True))
    predictions(table(False))
    predictions(table(True).sample(frac=1, random_state=0))


def repeated(times: int, ids: bool) -> pd.DataFrame:
    """Predictions of people who have several equal rows each, in any order."""
    rng = np.random.default_rng(3)
    p = np.repeat(rng.random(80), times)
    frame = pd.DataFrame({"id": np.repeat(np.arange(80), times), "arm": np.repeat(["member", "control"], 40 * times)})
    frame = frame.assign(label=rng.permutation(80 * times) % 2, p_0=1 - p, p_1=p)
    frame["label"] = np.repeat(rng.integers(0, 2, 80), times)
    frame = frame.sample(frac=1, random_state=4)
    return frame if ids else frame.assign(id=range(len(frame)))


def test_equal_answers_in_one_arm_alone_are_several_rows_of_a_person_in_whatever_order() -> None:
    for times in (2, 4):
        with pytest.raises(InputError, match="TB-SUBJECT-080"):
            predictions(repeated(times, ids=False))
        predictions(repeated(times, ids=True))


@pytest.mark.parametrize("made", [DecisionTreeClassifier(max_leaf_nodes=40), RandomForestClassifier(20), GaussianNB()])
def test_equal_answers_of_models_are_no_rows_of_one_person(made: Any) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(600, 3)).round(1), rng.integers(0, 2, 600)
    said = made.set_params(**({"random_state": 0} if "random_state" in made.get_params() else {})).fit(x[:300], y[:300])
    answers = said.predict_proba(x)
    frame = pd.DataFrame({"id": range(600), "arm": np.repeat(["member", "control"], 300), "label": y})
    predictions(frame.assign(p_0=answers[:, 0], p_1=answers[:, 1]))


def test_one_row_a_person_is_read_however_the_file_is_sorted() -> None:
    frame = table(True)
    frame["p_1"] = np.random.default_rng(1).random(len(frame))
    frame["p_0"] = 1 - frame["p_1"]
    for order in (["p_1"], ["label", "p_1"], ["arm", "label"], ["id"]):
        predictions(frame.sort_values(order))


def test_measurements_of_people_in_rows_that_follow_each_other_are_refused() -> None:
    rng = np.random.default_rng(2)
    frames: dict[str, Any] = {}
    for role in ("members", "controls"):
        each = {"age": rng.integers(20, 90, PEOPLE), "bmi": rng.normal(27, 5, PEOPLE).round(1)}
        frames[role] = pd.DataFrame({c: np.repeat(v, WINDOWS) for c, v in each.items()}).astype(float)
        frames[role]["pulse"] = rng.normal(80, 10, PEOPLE * WINDOWS)
        frames[role]["died"] = rng.integers(0, 2, PEOPLE * WINDOWS)
    with pytest.raises(InputError, match="--person"):
        cohorts(frames, "died", [0, 1], None)
    with pytest.raises(InputError, match="--person"):
        numeric_cohorts({r: f.drop(columns="died") for r, f in frames.items()}, "pulse", None)
    cohorts({r: f.sample(frac=1, random_state=1) for r, f in frames.items()}, "died", [0, 1], None)


@pytest.mark.parametrize("name", ["heart", "support2", "thyroid"])
def test_tables_of_one_row_a_person_are_in_no_series_as_they_come(name: str) -> None:
    values = load_table(name).select_dtypes("number")
    in_series.check(values, np.zeros(len(values)), name, 1, "")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"p_1": ["85 %"] * 800}, "TB-SUBJECT-078"),
        ({"p_0": ["<0.01"] * 800}, "TB-SUBJECT-078"),
        ({"p_0": [np.nan] * 800}, "TB-SUBJECT-003"),
    ],
)
def test_predictions_that_are_no_plain_numbers_are_named_as_such(change: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError, match=error):
        predictions(table(False).assign(**change))


@pytest.mark.parametrize(("names", "lacks"), [(["p_1", "p_2"], "p_0"), (["p_0", "p_2"], "p_1"), (["p_0"], "second")])
def test_columns_that_are_not_numbered_from_nought_are_named(names: list[str], lacks: str) -> None:
    frame = table(False).rename(columns=dict(zip(["p_0", "p_1"], names, strict=False)))
    with pytest.raises(InputError, match=f"TB-SUBJECT-077.*without {lacks}" if lacks != "second" else "a second class"):
        predictions(frame if len(names) > 1 else frame.drop(columns="p_1"))
