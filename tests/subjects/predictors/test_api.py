"""A model that can only be asked: its questions are counted, and a spent budget says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from testbed.cli.commands import app
from testbed.core import Unavailable
from testbed.core.errors import InputError, UsageError
from testbed.subjects.predictors.api import Api, api_predictor, function


def sums(x: np.ndarray) -> np.ndarray:
    return x.sum(1)


def test_a_record_is_asked_about_once() -> None:
    asked: list[int] = []

    def counting(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return x.sum(1)

    api = Api(counting, 5)
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert api(np.concatenate([x, x])).ravel().tolist() == [1, 5, 9, 1, 5, 9]
    assert api(x[1:]).ravel().tolist() == [5, 9]
    assert (asked, api.asked) == ([3], 3)
    with pytest.raises(Unavailable, match="query_budget"):
        api(x + 10)
    assert api.asked == 3
    api(x[:2] + 10)
    assert api.asked == 5


@pytest.mark.parametrize(
    "answers", [lambda x: x[:1], lambda x: x[None], lambda x: x / "ill", lambda x: x.astype(str) + "?"]
)
def test_answers_that_are_no_numbers_for_each_record_are_refused(answers: object) -> None:
    with pytest.raises(InputError, match="TB-SUBJECT-026") as why:
        Api(answers)(np.array([[17.25, 1], [17.25, 2]], np.float32))  # type: ignore[arg-type]
    assert "17.25" not in str(why.value)


def test_numbers_are_logits_unless_they_look_like_probabilities_or_are_said_to_be() -> None:
    x = np.array([[3.0], [-2.0]], np.float32)
    assert api_predictor(Api(sums), x).ask(_cohort(x))[:, 1] == pytest.approx(1 / (1 + np.exp([-3.0, 2.0])))
    with pytest.raises(InputError, match="--outputs"):
        api_predictor(Api(lambda x: np.full(len(x), 0.5)), x)
    assert api_predictor(Api(lambda x: np.full(len(x), 0.5)), x, "probabilities").classes == 2
    with pytest.raises(UsageError):
        api_predictor(Api(sums), x, "odds")


def _cohort(x: np.ndarray):
    from testbed.core import Cohort

    return Cohort(x, np.zeros(len(x), int), np.arange(len(x)).astype(str))


MODULE = """
import numpy as np
SEEN = {}
def ask(x):
    near = [SEEN.get(row.tobytes()) for row in x]
    return np.array([[0.5, 0.5] if y is None else ([0.9, 0.1] if y == 0 else [0.1, 0.9]) for y in near])
"""


def test_an_api_is_audited_within_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    (tmp_path / "api_of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    rng = np.random.default_rng(0)
    tables = {n: pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc")) for n in ("m", "c")}
    for name, frame in tables.items():
        frame["label"] = rng.integers(0, 2, 200)
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    seen = importlib.import_module("api_of_a_test").SEEN
    seen |= {
        row.tobytes(): y
        for row, y in zip(tables["m"][list("abc")].to_numpy(np.float64), tables["m"].label, strict=True)
    }
    given = ["audit-model", "--api", "api_of_a_test:ask"]
    given += ["--members", str(tmp_path / "m.csv"), "--controls", str(tmp_path / "c.csv"), "--data-class", "synthetic"]
    made = CliRunner().invoke(app, [*given, "--budget", "1000", "--out", str(tmp_path / "out")])
    assert made.exit_code == 1
    result = json.loads((tmp_path / "out" / "share" / "result.json").read_text())
    assert 400 <= result["run"]["params"]["queries"] <= 1000
    by_attack = {f["attack"]["name"]: f for f in reversed(result["findings"])}
    assert result["findings"][0]["primary"]
    assert result["findings"][0]["measure"]["value"] > 0.9
    assert by_attack["prediction_loss"]["measure"]["value"] > 0.9
    assert by_attack["label_noise"]["measure"]["unmeasured"] == "query_budget"
    for argument in ("--budget=150", "--api=api_of_a_test:nothing"):
        refused = CliRunner().invoke(app, [*given, argument, "--out", str(tmp_path / "no")])
        assert isinstance(refused.exception, UsageError)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise KeyError(str(x[0, 0]))", "KeyError in line 2 of client.py"),
        ("return int('17.25')", "ValueError in line 2 of client.py"),
        ("return len(x)", "an array of shape ()"),
        ("return x[:-1]", "an array of shape (3, 2)"),
        ("return {'p': 1}", "a dict that is no array of numbers"),
        ("return ['yes'] * len(x)", "a list that is no array of numbers"),
    ],
)
def test_what_went_wrong_in_the_users_function_is_told_without_a_value(tmp_path: Path, code: str, told: str) -> None:
    (tmp_path / "client.py").write_text(f"def ask(x):\n    {code}\n")
    asked = Api(function(f"{tmp_path}/client.py:ask"))
    with pytest.raises(InputError, match="TB-SUBJECT-026") as raised:
        asked(np.full((4, 2), 17.25) + np.arange(4)[:, None])
    assert told in raised.value.what
    assert "(4, 2)" in raised.value.why
    assert "17.25" not in str(raised.value)
