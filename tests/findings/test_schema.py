"""result.json: what it must hold, what it must refuse, and the documented example."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from testbed.findings.schema import Estimate, Result, Series, four_digits
from testbed.report import store
from tests.report import examples

EXAMPLE = Path(__file__).parents[2] / "docs" / "result.example.json"


def test_a_raw_row_cannot_ride_along() -> None:
    for place in ("result", "finding", "measure"):
        dumped = examples.release().dump()
        target = {"result": dumped, "finding": dumped["findings"][0], "measure": dumped["findings"][0]["measure"]}[
            place
        ]
        target["row"] = {"age": 41}
        with pytest.raises(ValidationError):
            Result.model_validate(dumped)


def test_a_result_survives_its_file_and_follows_the_printed_schema() -> None:
    dumped = json.loads(store.to_json(examples.federation()))
    jsonschema.validate(dumped, Result.model_json_schema(by_alias=True))
    assert Result.model_validate(dumped).dump() == dumped
    assert dumped["schema"] == "testbed.result/1"


def test_the_documented_example_follows_the_schema() -> None:
    example = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    jsonschema.validate(example, Result.model_json_schema(by_alias=True))
    Result.model_validate(example)


def test_every_measure_is_there() -> None:
    for make in (examples.release, examples.federation, examples.membership):
        for finding in make().dump()["findings"]:
            for name in ("measure", "control", "baseline", "excess", "positive_control"):
                assert {"metric", "value", "low", "high", "level", "method", "unit", "n"} <= set(finding[name]) or {
                    "unmeasured",
                    "needs",
                } == set(finding[name])


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0.123456, 0.1235), (987.654, 987.7), (123456.0, 123500.0), (0.0, 0.0), (-0.00012345, -0.0001234)],
)
def test_statistics_have_four_digits(value: float, rounded: float) -> None:
    assert four_digits(value) == pytest.approx(rounded)


def test_numbers_that_are_none_are_refused() -> None:
    good = {
        "metric": "rate",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "level": 0.95,
        "method": "m",
        "unit": "record",
        "n": 9,
    }
    Estimate.model_validate(good)
    for change in ({"value": float("nan")}, {"low": 0.55}, {"unit": "patient"}, {"n": -1}, {"high": float("inf")}):
        with pytest.raises(ValidationError):
            Estimate.model_validate({**good, **change})


def test_a_series_is_thinned() -> None:
    with pytest.raises(ValidationError):
        Series(name="x", kind="roc", x_label="x", y_label="y", x=[0.1] * 61, y=[0.1] * 61)
