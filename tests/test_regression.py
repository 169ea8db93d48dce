"""Models that predict a number: audited like classifiers, through the likelihood of the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from typer.testing import CliRunner

from testbed.cli import app
from testbed.core import Cohort
from testbed.data.regression import as_predictor, likelihoods, usual_error
from testbed.data.subjects import cohorts, predictions
from testbed.errors import InputError, TestbedError
from testbed.harness import given
from testbed.harness.released import audit
from testbed.report.schema import Estimate, Finding

Patients = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def patients() -> Patients:
    """Diabetes patients (Efron et al. 2004, as scikit-learn ships them) and how their illness went on."""
    frame = cast(Any, load_diabetes(as_frame=True)).frame.rename(columns={"target": "label"}).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(frame))
    cut = {"members": order[:150], "controls": order[150:300], "reference": order[300:]}
    return {role: frame.iloc[rows].reset_index(drop=True) for role, rows in cut.items()}


def fitted(model: Any, patients: Patients) -> Any:
    return model.fit(patients["members"].drop(columns="label").to_numpy(), patients["members"]["label"].to_numpy())


def of(found: list[Finding], rule: str) -> Finding:
    return next(f for f in found if f.rule == rule)


def excess(finding: Finding) -> Estimate:
    assert isinstance(finding.excess, Estimate)
    return finding.excess


def test_likelihoods_fall_with_the_error_and_are_never_certain() -> None:
    said = likelihoods(np.array([0.0, 1.0, -1.0, 10.0]), np.zeros(4), 1.0)
    assert said[:, 1] == pytest.approx([1 / 1.1, 1 / 2.1, 1 / 2.1, 1 / 101.1])
    assert said.sum(1) == pytest.approx(1)
    assert usual_error(np.array([0.0, 1.0, 3.0, 5.0]), np.zeros(4)) == 3.0
    assert usual_error(np.array([1.0, 3.0]), np.array([1.0, 3.0])) == 1.0
    for bad in (np.array([np.nan, 0]), np.zeros((2, 2))):
        with pytest.raises(InputError) as told:
            likelihoods(bad, np.zeros(2), 1.0)
        assert told.value.id == "TB-SUBJECT-028"


def test_the_model_is_asked_about_inputs_alone() -> None:
    seen: list[np.ndarray] = []

    def predict(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return x[:, 0]

    people = Cohort(
        np.array([[2.0, 7.0, 2.0], [4.0, 7.0, 5.0]], np.float32), np.ones(2, np.int64), np.array(["a", "b"])
    )
    said = as_predictor(predict, 1.0).ask(people)
    assert seen[0].tolist() == [[2.0, 7.0], [4.0, 7.0]]
    assert said[0, 1] > said[1, 1]


def test_a_forest_let_go_leaks_and_a_line_held_back_does_not(patients: Patients) -> None:
    loose = given.from_estimator(fitted(RandomForestRegressor(30, random_state=0), patients), patients, "label", None)
    tight = given.from_estimator(fitted(Ridge(1.0), patients), patients, "label", None)
    found, _ = audit(loose, 8, 0, lambda _: None)
    names = {f.attack.name for f in found}
    assert {"rmia", "lira", "prediction_loss", "population", "model_attribute_inference"} <= names
    assert not {"label_noise", "class_inversion", "model_stealing", "modified_entropy", "single_class_groups"} & names
    assert excess(of(found, "TB-MEMBERSHIP-301")).low > 0.1
    told = {f.attack.name: f for f in found if f.risk == "structure"}
    assert "small_leaves" in told
    held, _ = audit(tight, 8, 0, lambda _: None)
    assert excess(of(held, "TB-MEMBERSHIP-301")).low < 0.05


def test_every_way_to_hand_over_a_model_finds_the_same_loss(
    patients: Patients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An estimator's file, a function, a torch module with its weights, and a table of its predictions."""
    made = fitted(RandomForestRegressor(30, random_state=0), patients)
    joblib.dump(made, tmp_path / "forest.joblib")
    files = {role: tmp_path / f"{role}.csv" for role in ("members", "controls")}
    for role, path in files.items():
        patients[role].to_csv(path, index=False)
    rows = pd.concat([patients["members"], patients["controls"]])
    pd.DataFrame(
        {
            "id": np.arange(len(rows)),
            "arm": ["member"] * 150 + ["control"] * 150,
            "label": rows["label"].to_numpy(),
            "prediction": made.predict(rows.drop(columns="label").to_numpy()),
        }
    ).to_csv(tmp_path / "predictions.csv", index=False)
    (tmp_path / "numbers_of_a_test.py").write_text(
        "import joblib, torch\nfrom pathlib import Path\n"
        "made = joblib.load(Path(__file__).with_name('forest.joblib'))\n"
        "def answer(x):\n    return made.predict(x)\n"
        "class Wrapped(torch.nn.Module):\n"
        "    def forward(self, x):\n        return torch.tensor(made.predict(x.numpy()))[:, None]\n"
        "def build():\n    return Wrapped()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tables = ["--members", str(files["members"]), "--controls", str(files["controls"])]
    ways = {
        "file": ["--model", str(tmp_path / "forest.joblib"), *tables, "--shadows", "4"],
        "function": ["--api", "numbers_of_a_test:answer", "--outputs", "number", *tables],
        "module": ["--factory", "numbers_of_a_test:build", "--outputs", "number", *tables],
        "table": ["--predictions", str(tmp_path / "predictions.csv")],
    }
    values: list[float] = []
    for name, arguments in ways.items():
        out = tmp_path / name
        done = CliRunner().invoke(app, ["audit-model", *arguments, "--data-class", "public", "--out", str(out)])
        assert done.exit_code in (1, 3), done.output
        result = json.loads((out / "share" / "result.json").read_text())
        assert "the number that the model predicts" in result["threat"]["sees"]
        loss = next(f for f in result["findings"] if f["rule"] == "TB-MEMBERSHIP-409")
        values.append(loss["measure"]["value"])
    assert values == pytest.approx([values[0]] * len(ways))
    assert values[0] > 0.7


def test_a_network_is_trained_again_on_squared_error(patients: Patients) -> None:
    import torch

    from testbed.models.ensemble import Training

    scaled = {role: (f - f.mean()) / f.std() for role, f in patients.items()}

    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(10, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))

    torch.manual_seed(0)
    subject = given.from_factory(
        build, None, "number", {r: scaled[r] for r in ("members", "controls")}, "label", None, Training(400, 25, 0.1)
    )
    assert subject.recipe is not None
    members, controls = subject.members, subject.controls
    shadow = subject.recipe(members, np.random.default_rng(0))
    inside, outside = (np.log(shadow.ask(g)[:, 1]).mean() for g in (members, controls))
    assert inside > outside + 0.2


def test_bad_tables_are_refused_and_no_value_is_told(patients: Patients) -> None:
    frame = pd.DataFrame({"id": range(4), "arm": ["member", "control"] * 2, "label": [1.5, 2.5, 3.5, 4.5]})
    bad = {
        "TB-SUBJECT-009": frame.assign(prediction=[1.0, 2.0, np.nan, 4.0]),
        "TB-SUBJECT-029": frame.assign(label=7.25, prediction=[1.0, 2.0, 3.0, 4.0]),
        "TB-SUBJECT-001": frame.assign(predicted=1.0),
    }
    for code, table in bad.items():
        with pytest.raises(TestbedError) as told:
            predictions(table)
        assert told.value.id == code
        assert "7.25" not in str(told.value)
    with pytest.raises(InputError) as told:
        cohorts({"members": patients["members"].assign(label="much")}, "label", None, None)
    assert told.value.id == "TB-SUBJECT-009"
