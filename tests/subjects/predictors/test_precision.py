"""Answers of members and controls that were written with different precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from testbed.core import Array
from testbed.core.errors import InputError
from testbed.harness.model.audit import audit_model
from testbed.subjects.predictors import load
from testbed.subjects.predictors.precision import on_one_grid

N = 600


def table(classes: int = 2, seed: int = 0) -> pd.DataFrame:
    """Answers of a model that knows nobody: members and controls are alike."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (2 * N, classes))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = (p.cumsum(1) > rng.random((2 * N, 1))).argmax(1)
    frame = pd.DataFrame({"id": range(2 * N), "arm": np.where(np.arange(2 * N) < N, "member", "control")})
    return frame.assign(label=label, **{f"p_{i}": p[:, i] for i in range(classes)})


def significant(digits: int) -> Callable[[Array], Array]:
    return lambda v: np.array([[float(f"{x:.{digits}g}") for x in row] for row in v])


WRITTEN: dict[str, Callable[[Array], Array]] = {
    "4 decimals": lambda v: v.round(4),
    "3 decimals": lambda v: v.round(3),
    "1 decimal": lambda v: v.round(1),
    "steps of 0.05": lambda v: (v / 0.05).round() * 0.05,
    "float32": lambda v: v.astype(np.float32).astype(np.float64),
    "float32 as text": lambda v: v.astype(np.float32).astype(str).astype(np.float64),
    "float16": lambda v: v.astype(np.float16).astype(np.float64),
    "3 digits": significant(3),
    "7 digits": significant(7),
    "clipped": lambda v: v.clip(0.004, 0.996),
    "float64": lambda v: v,
}


def written(frame: pd.DataFrame, of_members: str, of_controls: str) -> pd.DataFrame:
    names = [c for c in frame if str(c).startswith("p_") or c == "prediction"]
    values, member = frame[names].to_numpy(), (frame.arm == "member").to_numpy()
    made = np.empty_like(values)
    for rows, form in ((member, of_members), (~member, of_controls)):
        made[rows] = WRITTEN[form](values[rows])
    return frame.assign(**dict(zip(names, made.T, strict=True)))


PAIRS = [
    ("4 decimals", "3 decimals"),
    ("float32", "float64"),
    ("float64", "float32 as text"),
    ("3 digits", "7 digits"),
    ("1 decimal", "float32"),
    ("float16", "float64"),
    ("steps of 0.05", "float64"),
    ("clipped", "float64"),
]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_written_form_that_only_one_arm_has_is_brought_to_both(pair: tuple[str, str], classes: int) -> None:
    frame = table(classes)
    made, _, notes = on_one_grid(written(frame, *pair), None)
    again, _, _ = on_one_grid(written(frame, *reversed(pair)), None)
    assert "precision" in notes
    names = [f"p_{i}" for i in range(classes)]
    # Bringing an arm to the coarser form gives what was there before, whichever arm it was.
    assert (made[names].to_numpy() - again[names].to_numpy()).max() <= 1.001 * 10.0 ** -(
        1 if "1 decimal" in pair else 3
    )
    assert on_one_grid(made, None)[2] == {}


@pytest.mark.parametrize("form", WRITTEN)
def test_answers_in_one_form_are_not_touched(form: str) -> None:
    for classes in (2, 3):
        frame = written(table(classes), form, form)
        made, _, notes = on_one_grid(frame, None)
        assert made is frame
        assert not notes


@pytest.mark.parametrize("pair", [("float32 as text", "float64"), ("4 decimals", "3 decimals"), ("float64", "clipped")])
def test_an_audit_does_not_recognise_the_file_of_a_person(pair: tuple[str, str]) -> None:
    frame = written(table(3), *pair)
    result, _, _ = audit_model(load.from_predictions(frame), [frame], person="id", quick=True)
    assert result.decision is not None
    assert result.decision.verdict != "fail"
    assert "brought to" in str(result.run.params["precision"])
    assert any("finer answers" in text for text in result.threat.not_tested)


@pytest.mark.parametrize("pair", [("3 decimals", "float64"), ("float32", "float64"), ("4 decimals", "3 decimals")])
def test_predicted_numbers_too(pair: tuple[str, str]) -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(10, 3, 2 * N)
    frame = table().drop(columns=["p_0", "p_1"]).assign(label=truth, prediction=truth + rng.normal(size=2 * N))
    made, _, notes = on_one_grid(written(frame, *pair), None)
    assert notes
    assert on_one_grid(made, None)[2] == {}
    assert on_one_grid(written(frame, pair[0], pair[0]), None)[2] == {}


def test_confidences_and_shadow_models_too() -> None:
    rng = np.random.default_rng(2)
    frame = table()[["id", "arm", "label"]].assign(
        predicted_class=lambda t: 1 - t.label, confidence=rng.uniform(0.5, 1, 2 * N)
    )
    frame.loc[frame.arm == "member", "confidence"] = frame.confidence.round(3)
    assert "0.001" in on_one_grid(frame, None)[2]["precision"]
    frame = table()
    half = rng.random(2 * N) < 0.5
    rows = [frame.assign(shadow=k, used=(half == (k % 2 == 0)).astype(int), p_1=rng.random(2 * N)) for k in range(4)]
    shadows = pd.concat(rows).drop(columns=["arm", "label"]).assign(p_0=lambda t: 1 - t.p_1)
    assert on_one_grid(frame, shadows)[2] == {}
    coarse = shadows.assign(**{c: shadows[c].where(shadows.used == 0, shadows[c].round(4)) for c in ("p_0", "p_1")})
    made, beside, notes = on_one_grid(frame, coarse)
    assert "0.0001" in notes["precision"]
    assert beside is not None
    for t in (made, beside):
        assert np.allclose(t.p_0.round(4), t.p_0, atol=1e-12, rtol=0)


LEAKY = [
    KNeighborsClassifier(7, weights="distance"),
    ExtraTreesClassifier(20, random_state=0),
    RandomForestClassifier(100, random_state=0),
    RandomForestClassifier(40, bootstrap=False, random_state=0),
    LogisticRegression(),
]


@pytest.mark.parametrize("model", LEAKY, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("classes", [2, 4])
def test_a_model_that_answers_its_members_with_round_numbers_is_not_touched(model: Any, classes: int) -> None:
    x, y = make_classification(2 * N, 8, n_informative=6, n_classes=classes, flip_y=0.2, random_state=3)
    x = np.asarray(x).round(0)  # people with equal inputs: their answers are means of few labels
    p = model.fit(x[:N], y[:N]).predict_proba(x)
    frame = table()[["id", "arm"]].assign(label=y, **{f"p_{i}": p[:, i] for i in range(classes)})
    assert on_one_grid(frame, None)[2] == {}


@pytest.mark.parametrize(
    "model", [KNeighborsRegressor(5, weights="distance"), ExtraTreesRegressor(100, random_state=0)]
)
def test_a_memorised_number_is_no_coarser_writing(model: Any) -> None:
    made = make_regression(2 * N, 6, noise=5, random_state=4)
    x, y = made[0], np.asarray(made[1]).round(1)
    frame = table()[["id", "arm"]].assign(label=y, prediction=model.fit(x[:N], y[:N]).predict(x))
    assert on_one_grid(frame, None)[2] == {}


def test_percentages_in_one_arm_are_refused() -> None:
    frame = table()
    rows = frame.arm == "control"
    frame.loc[rows, ["p_0", "p_1"]] *= 100
    with pytest.raises(InputError, match="TB-SUBJECT-061"):
        load.from_predictions(frame)
