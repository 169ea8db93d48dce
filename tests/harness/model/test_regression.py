"""Models that predict a number: audited like classifiers, through the likelihood of the truth."""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any, cast

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVR
from typer.testing import CliRunner

from testbed.cli.commands import app
from testbed.core import Cohort, Predictor
from testbed.core.errors import InputError, TestbedError, UsageError
from testbed.findings.schema import Estimate, Finding, Unmeasured
from testbed.harness.model import structure
from testbed.harness.model.examine import comparable, examine
from testbed.harness.model.model_audit import Options
from testbed.models.ensemble import Training, train
from testbed.subjects.predictors import load, model_files
from testbed.subjects.predictors.people import numeric_cohorts, predictions
from testbed.subjects.predictors.regression import Scale, as_regressor, inputs_and_truth
from testbed.subjects.predictors.subject import Subject

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
    scale = Scale(100.0, 2.0, 0.5)
    truth = scale.kept(np.full(4, 100.0))
    said = scale.likelihoods(np.array([100.0, 101.0, 99.0, 110.0]), truth)
    assert said[:, 1] == pytest.approx([1 / 1.1, 1 / 2.1, 1 / 2.1, 1 / 101.1])
    assert said.sum(1) == pytest.approx(1)
    assert scale.measured(np.array([100.0, 102.0, 106.0, 110.0]), truth).usual == 3.0
    assert scale.measured(np.full(4, 100.0), truth).usual == 1.0
    for bad in (np.array([np.nan, 0, 0, 0]), np.zeros((4, 2))):
        with pytest.raises(InputError) as told:
            scale.likelihoods(bad, truth)
        assert told.value.id == "TB-SUBJECT-028"


@pytest.mark.parametrize(("offset", "unit"), [(0, 1), (1.7e9, 1), (0, 1e39), (-5, 1e-9)])
def test_numbers_of_any_size_are_kept_as_finely(offset: float, unit: float) -> None:
    """float32 cannot tell 1.7e9 from 1.7e9 + 50; what is kept is where a number stands among the others."""
    plain = np.random.default_rng(0).normal(100, 30, 200)
    numbers = offset + unit * plain
    scale = Scale.of(numbers)
    kept = scale.kept(numbers)
    assert kept == pytest.approx(Scale.of(plain).kept(plain), abs=1e-4)
    exact = scale.measured(numbers, kept)
    assert exact.likelihoods(numbers, kept)[:, 1] == pytest.approx(1 / 1.1)  # rounding is no error


def test_the_model_is_asked_about_inputs_alone() -> None:
    seen: list[np.ndarray] = []

    def predict(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return x[:, 0]

    people = Cohort(
        np.array([[2.0, 7.0, 2.0], [4.0, 7.0, 5.0]], np.float32), np.ones(2, np.int64), np.array(["a", "b"])
    )
    said = as_regressor(predict, Scale(0.0, 1.0)).ask(people)
    assert seen[0].tolist() == [[2.0, 7.0], [4.0, 7.0]]
    assert said[0, 1] > said[1, 1]


def test_a_forest_let_go_leaks_and_a_line_held_back_does_not(patients: Patients) -> None:
    loose = load.from_estimator(fitted(RandomForestRegressor(30, random_state=0), patients), patients, "label", None)
    tight = load.from_estimator(fitted(Ridge(1.0), patients), patients, "label", None)
    found, _ = examine(loose, Options(shadows=8))
    names = {f.attack.name for f in found}
    assert {"rmia", "lira", "prediction_loss", "population", "model_attribute_inference"} <= names
    assert not {"label_noise", "class_inversion", "model_stealing", "modified_entropy", "single_class_groups"} & names
    assert excess(of(found, "TB-MEMBERSHIP-301")).low > 0.1
    told = {f.attack.name: f for f in found if f.risk == "structure"}
    assert "small_leaves" in told
    held, _ = examine(tight, Options(shadows=8))
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
    scaled = {role: (f - f.mean()) / f.std() for role, f in patients.items()}

    def build() -> torch.nn.Module:
        torch.manual_seed(0)  # other weights at each call would be those of an untrained module
        return torch.nn.Sequential(torch.nn.Linear(10, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))

    torch.manual_seed(0)
    subject = load.from_factory(
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
        "TB-SUBJECT-030": frame.assign(label=[7.25, np.nan, 1.0, 2.0], prediction=1.0),
    }
    for code, table in bad.items():
        with pytest.raises(TestbedError) as told:
            predictions(table)
        assert told.value.id == code
        assert "7.25" not in str(told.value)
    with pytest.raises(InputError) as told:
        numeric_cohorts({**patients, "members": patients["members"].assign(label="much")}, "label", None)
    assert told.value.id == "TB-SUBJECT-030"


def told(members: np.ndarray, controls: np.ndarray, error: float) -> Subject:
    """A table of predictions that are off by `error` for everybody."""
    label = np.concatenate([members, controls])
    off = error * np.random.default_rng(1).normal(size=len(label))
    arm = ["member"] * len(members) + ["control"] * len(controls)
    return load.from_predictions(
        pd.DataFrame({"id": np.arange(len(label)), "arm": arm, "label": label, "prediction": label + off, "p_value": 1})
    )


def test_arms_whose_true_numbers_differ_are_no_comparison() -> None:
    rng = np.random.default_rng(0)
    alike = told(rng.normal(100, 20, 400), rng.normal(100, 20, 400), 5.0)
    apart = told(rng.normal(200, 40, 400), rng.normal(100, 20, 400), 5.0)
    assert comparable(alike, 0)
    assert not comparable(apart, 0)
    found, _ = examine(apart, Options(shadows=4))
    assert all("split_differs" in f.validity.flags for f in found)


def test_members_predicted_exactly_are_recognised_wherever_the_numbers_lie(patients: Patients) -> None:
    moved = {role: f.astype(np.float64).assign(label=lambda g: g["label"] + 1.7e9) for role, f in patients.items()}
    made = fitted(KNeighborsRegressor(1), moved)
    subject = load.from_estimator(made, {r: moved[r] for r in ("members", "controls")}, "label", None)
    found, _ = examine(subject, Options(shadows=4))
    loss = of(found, "TB-MEMBERSHIP-409").measure
    assert isinstance(loss, Estimate)
    assert loss.value > 0.95


class Squeezed(torch.nn.Module):
    """One number a record, without an axis of its own."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        first: list[torch.nn.Module] = [torch.nn.BatchNorm1d(10)] if norm else []
        self.layers = torch.nn.Sequential(*first, torch.nn.Linear(10, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).squeeze(-1)


@pytest.mark.parametrize("norm", [False, True])
def test_a_module_may_leave_out_the_axis_of_its_one_number(patients: Patients, norm: bool) -> None:
    x, y = patients["members"].drop(columns="label").to_numpy(), patients["members"]["label"].to_numpy()
    x, y = (x / x.std(0)).astype(np.float32), ((y - y.mean()) / y.std()).astype(np.float32)
    included = np.ones((4 if norm else 16, len(x)), bool)  # as many models as records a batch, or one by one
    made = train(lambda: Squeezed(norm), x, y, included, Training(100, 16, 0.05), 0, outputs="number")
    errors = ((made.outputs(x).reshape(len(included), -1) - y) ** 2).mean(1)
    assert (errors < 0.5).all()


def test_what_is_no_estimator_and_what_diverges_is_said_in_words(patients: Patients, tmp_path: Path) -> None:
    joblib.dump({"a": 1}, tmp_path / "dict.joblib")
    with pytest.raises(InputError) as refused:
        model_files.read(tmp_path / "dict.joblib")
    assert refused.value.id == "TB-SUBJECT-012"
    frames = {r: patients[r] for r in ("members", "controls")}
    module = partial(copy.deepcopy, Squeezed(False))
    wild = load.from_factory(module, None, "number", frames, "label", None, Training(20, 16, 1e6))
    found, _ = examine(wild, Options(shadows=4))
    deciding = of(found, "TB-MEMBERSHIP-301").measure
    assert isinstance(deciding, Unmeasured)
    assert deciding.unmeasured == "diverged"


@pytest.mark.parametrize(
    "kind", [KernelRidge(), GaussianProcessRegressor(optimizer=None), KNeighborsRegressor(), SVR()]
)
def test_regressors_that_hold_their_training_records_are_told(kind: Any, patients: Patients) -> None:
    made = fitted(TransformedTargetRegressor(kind), patients)
    subject = load.from_estimator(made, {r: patients[r] for r in ("members", "controls")}, "label", None)
    x, _ = inputs_and_truth(subject.members)
    people = Cohort(x, subject.members.y, subject.members.persons)
    found = structure.checks(Predictor(lambda p: made.predict(p.x)[:, None], 1), made, people)
    stored = next(f for f in found if f.attack.name == "stored_records").measure
    assert isinstance(stored, Estimate)
    assert stored.value > 0.9


def test_a_line_fitted_to_a_column_answers_one_number(patients: Patients) -> None:
    made = LinearRegression().fit(patients["members"].drop(columns="label").to_numpy(), patients["members"][["label"]])
    subject = load.from_estimator(made, {r: patients[r] for r in ("members", "controls")}, "label", None)
    assert subject.model.ask(subject.members).shape == (150, 2)
    assert subject.recipe is not None
    assert subject.recipe(subject.members, np.random.default_rng(0)).ask(subject.controls).shape == (150, 2)


def test_the_label_is_no_input_and_a_missing_model_is_called_missing(patients: Patients, tmp_path: Path) -> None:
    frames = {r: patients[r] for r in ("members", "controls")}
    made = LinearRegression().fit(frames["members"].drop(columns="label"), frames["members"]["label"])
    with pytest.raises(InputError, match="TB-SUBJECT-031"):
        load.from_estimator(made, frames, "bmi", None)
    with pytest.raises(InputError) as told:
        load.from_estimator(made, frames, "outcome", None)
    assert "not inputs: label" in told.value.fix
    headless = {r: f.set_axis([f"63.2{i}" for i in range(f.shape[1])], axis=1) for r, f in frames.items()}
    with pytest.raises(InputError) as told:
        load.from_estimator(made, headless, "label", None)
    assert "63.2" not in str(told.value) + told.value.fix
    with pytest.raises(UsageError, match="TB-SUBJECT-032"):
        model_files.read(tmp_path / "none.joblib")
