"""Tables of predictions with less than all probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import InputError
from testbed.findings.schema import Estimate
from testbed.harness.model.audit import audit_model
from testbed.subjects.predictors import load

N = 800


def table(**changes: Any) -> pd.DataFrame:
    """Members are predicted correctly for 90 %, and with more confidence; controls for 60 %."""
    rng = np.random.default_rng(0)
    member = np.arange(2 * N) < N
    label = rng.integers(0, 2, 2 * N)
    right = rng.random(2 * N) < np.where(member, 0.9, 0.6)
    words = np.array(["ill", "well"])
    frame = pd.DataFrame({"id": range(2 * N), "arm": np.where(member, "Member", "control"), "label": words[label]})
    frame["predicted_class"] = words[np.where(right, label, 1 - label)]
    frame["confidence"] = np.round(np.where(member, rng.uniform(0.85, 1, 2 * N), rng.uniform(0.5, 1, 2 * N)), 2)
    return frame.assign(**changes)


def auc(frame: pd.DataFrame, attack: str) -> tuple[float, dict[str, Any]]:
    result, _, _ = audit_model(load.from_predictions(frame), [frame], person="id", attack=attack)
    area = [f.measure for f in result.findings if isinstance(f.measure, Estimate) and f.measure.metric == "auc"]
    first = result.findings[0].measure
    assert isinstance(first, Estimate)
    return area[0].value if area else first.value, dict(result.run.params)


def test_the_class_alone_shows_the_gap_of_accuracy() -> None:
    value, params = auc(table().drop(columns="confidence"), "label_gap")
    assert value == pytest.approx(0.9, abs=0.03)
    assert params["answers"] == "the predicted class alone"


def test_the_class_and_its_rounded_probability_show_more() -> None:
    alone, _ = auc(table().drop(columns="confidence"), "prediction_loss")
    beside, params = auc(table(), "prediction_loss")
    assert beside > alone + 0.05
    assert params["answers"] == "the predicted class and its probability"


def test_without_labels_the_confidence_still_shows() -> None:
    value, params = auc(table().drop(columns="label"), "prediction_loss")
    assert value > 0.7
    assert "no true labels" in params["labels"]
    plain = pd.DataFrame({"id": range(4), "arm": ["member", "control"] * 2, "p_0": [0.9, 0.2, 0.3, 0.6]})
    subject = load.from_predictions(plain.assign(p_1=1 - plain.p_0))
    assert sorted(subject.members.y.tolist()) == [0, 1]


@pytest.mark.parametrize(
    "written",
    [
        lambda t: t.label.str.upper(),
        lambda t: t.label.where(t.index % 3 > 0, t.label.str.title()),  # in part of the rows
        lambda t: " " + t.label + "\u00a0",
        lambda t: t.label.str.replace("ll", "\uff4c\uff4c"),
    ],
)
def test_classes_that_differ_in_capitals_and_blanks_are_the_same(written: Any) -> None:
    expected = load.from_predictions(table())
    found = load.from_predictions(table().assign(label=written))
    for one, other in ((expected.members, found.members), (expected.controls, found.controls)):
        np.testing.assert_array_equal(one.y, other.y)
        np.testing.assert_array_equal(one.x, other.x)


def test_classes_that_only_capitals_tell_apart_stay_two_where_both_columns_have_them() -> None:
    two = table().replace({"ill": "m", "well": "M"})
    assert sorted(set(load.from_predictions(two).members.y.tolist())) == [0, 1]


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (table(predicted_class="ill", label="ill"), "TB-SUBJECT-059"),
        (table().assign(label=lambda t: t.label.map({"ill": 1, "well": 0})), "TB-SUBJECT-079"),
        (table().assign(label=lambda t: t.label + "ness"), "TB-SUBJECT-079"),
        (table(confidence=97.0), "TB-SUBJECT-060"),
        (table(confidence=0.2), "TB-SUBJECT-060"),
        (table(p_0=97.0, p_1=3.0, label=0), "TB-SUBJECT-061"),
        (table(arm="train"), "TB-SUBJECT-002"),
        (table().drop(columns=["arm", "predicted_class"]), "no arm"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_missing(frame: pd.DataFrame, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load.from_predictions(frame)
