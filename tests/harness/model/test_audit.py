"""Released models: scores by definition, a model that learnt by heart fails, one that did not does not, bad files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from testbed.attacks.model.shadows import Shadows, finest
from testbed.attacks.registry import find
from testbed.core import Act, Array, Cohort, Predictor, Records, Split, Threat
from testbed.core.errors import InputError, UsageError
from testbed.core.randomness import keyed_rng
from testbed.findings import statistics
from testbed.findings.schema import Estimate
from testbed.harness.model.examine import examine
from testbed.harness.model.model_audit import Options
from testbed.subjects.predictors import estimator, model_files
from testbed.subjects.predictors import people as subjects
from testbed.subjects.predictors.columns import Coding
from testbed.subjects.predictors.outputs import as_probabilities
from testbed.subjects.predictors.subject import Subject
from testbed.subjects.predictors.torch_module import torch_factory, torch_predictor
from tests.cli.test_cli import invoke

INSIDER = Threat("recipient", knows=frozenset({"auxiliary", "queries", "recipe", "target_records"}), access="score")


@pytest.fixture(scope="module")
def patients() -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = load_breast_cancer(as_frame=True).frame.rename(columns={"target": "label"})
    shuffled = frame.sample(frac=1, random_state=0)
    return shuffled.iloc[:284], shuffled.iloc[284:568]


def people(n: int, seed: int) -> Cohort:
    rng = keyed_rng(seed, "x")
    return Cohort(rng.normal(size=(n, 3)).astype(np.float32), rng.integers(0, 3, n), np.arange(n).astype(str))


def fitted(given: Cohort, rng: np.random.Generator, act: Act | None = None) -> Predictor:
    """Kernel classification: smooth, and sure of those it was given."""

    def ask(asked: Cohort) -> Array:
        near = np.exp(-2 * ((asked.x[:, None] - given.x[None]) ** 2).sum(2).astype(float)) + 1e-3
        said = np.stack([(near * (given.y == c)).sum(1) for c in range(3)], 1) + 1e-3
        return said / said.sum(1, keepdims=True)

    return Predictor(ask, 3)


@pytest.mark.parametrize("online", [True, False])
def test_lira_and_rmia_are_what_their_definitions_say(online: bool) -> None:
    targets, others = people(30, 1), people(40, 2)
    view = fitted(targets.take(np.arange(15)), np.random.default_rng(0))
    question, rng = Records(targets), keyed_rng(3, "recipe")
    made = Shadows.trained(view, question, others, rng, fitted, 8)
    assert (made.included.sum(0) == 4).all()
    lira = find("lira").run(view, question, others, 3, INSIDER, {"shadows": 8, "online": online}, fitted).values
    rmia = find("rmia").run(view, question, others, 3, INSIDER, {"shadows": 8, "online": online}, fitted).values
    floor = finest(np.concatenate([made.own, made.shadow.ravel()]))

    def logit(p: float) -> float:
        p = min(max(p, floor), 1 - floor)
        return math.log(p / (1 - p))

    told = {True: [], False: []}
    for i in range(30):
        for inside in (True, False):
            told[inside].append(
                [logit(p) for p, m in zip(made.shadow[:, i], made.included[:, i], strict=True) if m == inside]
            )
    spread = {k: math.sqrt(np.mean([np.var(v, ddof=1) for v in told[k]])) for k in told}
    for i in range(30):
        own = logit(made.own[i])
        off = norm(np.mean(told[False][i]), spread[False])
        on = norm(np.mean(told[True][i]), spread[True])
        expected = on.logpdf(own) - off.logpdf(own) if online else (own - off.mean()) / off.std()
        assert lira[made.order[i]] == pytest.approx(expected, rel=1e-6)
    for i in range(30):
        out = made.shadow[~made.included[:, i], i].mean()
        mean = (out + made.shadow[made.included[:, i], i].mean()) / 2 if online else 0.65 * out + 0.35
        ratio, beaten = made.own[i] / mean, 0
        for z in range(40):
            beaten += ratio / (made.others[z] / (0.65 * made.others_shadow[:, z].mean() + 0.35)) >= 1
        assert rmia[made.order[i]] == pytest.approx(beaten / 40, abs=0.5 / 40)


def test_probabilities_of_a_record_do_not_depend_on_who_is_asked_beside_it() -> None:
    targets = people(20, 4)
    view = fitted(targets, np.random.default_rng(0))
    for name in ("prediction_loss", "modified_entropy", "population", "label_gap"):
        whole = find(name).run(view, Records(targets), people(30, 5), 0, INSIDER).values
        half = find(name).run(view, Records(targets.take(np.arange(10))), people(30, 5), 0, INSIDER).values
        assert half == pytest.approx(whole[:10])


def test_where_scores_tie_the_rule_accuses_a_share_of_the_tie() -> None:
    accuse = statistics.accuser(0.1, np.array([1.0] * 8 + [0.5] * 2))
    assert accuse(np.array([1.0, 0.5])) == pytest.approx([0.125, 0.0])
    assert accuse(np.array([1.0] * 8 + [0.5] * 2)).mean() == pytest.approx(0.1)
    apart = statistics.accuser(0.25, np.arange(8.0))
    assert apart(np.arange(8.0)).tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


def lower(subject: Subject, attack: str) -> float:
    found, _ = examine(subject, Options(shadows=8))
    excess = next(f for f in found if f.attack.name == attack and f.rule[14] == "3").excess
    assert isinstance(excess, Estimate)
    return excess.low


def subject_of(patients: tuple[pd.DataFrame, pd.DataFrame], made: object) -> Subject:
    groups = subjects.cohorts(dict(zip(("members", "controls"), patients, strict=True)), "label", [0, 1], None)
    return Subject(
        estimator.sklearn_predictor(made),
        groups,
        estimator.SklearnRecipe(made),
        made,
    )


def test_a_forest_that_learnt_by_heart_gives_its_people_away(patients: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    x, y = patients[0].drop(columns="label"), patients[0].label
    assert lower(subject_of(patients, RandomForestClassifier(100, random_state=0).fit(x, y)), "rmia") > 0.05


def test_a_model_of_two_numbers_does_not(patients: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    stump = RandomForestClassifier(5, max_depth=1, min_samples_leaf=60, random_state=0)
    made = stump.fit(patients[0].drop(columns="label"), patients[0].label)
    found, _ = examine(subject_of(patients, made), Options(shadows=8))
    assert all(f.excess.low <= 0.01 for f in found if isinstance(f.excess, Estimate))
    structural = {f.attack.name: f.measure for f in found if f.risk == "structure"}
    assert getattr(structural["small_leaves"], "value", 1) == 0


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_support_vectors_are_records_in_the_model(patients: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    made = SVC(probability=True, random_state=0).fit(
        patients[0].drop(columns="label").astype("float32"), patients[0].label
    )
    found, _ = examine(Subject(*_two(patients, made), estimator=made), Options(shadows=8))
    stored = next(f for f in found if f.attack.name == "stored_records").measure
    assert getattr(stored, "value", 0) == pytest.approx(len(made.support_vectors_) / 284, abs=0.01)


def _two(patients: tuple[pd.DataFrame, pd.DataFrame], made: object) -> tuple[Predictor, Split]:
    whole = subject_of(patients, made)
    return whole.model, whole.split


def test_the_blind_cell_is_a_model_of_other_people(patients: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    everybody = pd.concat(patients).reset_index(drop=True)
    made = RandomForestClassifier(30, random_state=0).fit(
        everybody.iloc[:150].drop(columns="label"), everybody.label[:150]
    )
    frames = {"members": everybody.iloc[:150], "controls": everybody.iloc[150:300], "reference": everybody.iloc[300:]}
    groups = subjects.cohorts(frames, "label", [0, 1], None)
    whole = Subject(estimator.sklearn_predictor(made), groups, estimator.SklearnRecipe(made), made)
    found, evidence = examine(whole, Options(shadows=4))
    assert {"true", "blind", "positive"} == set(np.unique(evidence["TB-MEMBERSHIP-301"].view))
    assert isinstance(found[0].baseline, Estimate)
    assert "population" in {f.attack.name for f in found}


def written(folder: Path) -> dict[str, object]:
    return json.loads((folder / "share" / "result.json").read_text())


def test_three_kinds_of_subject_give_three_reports(
    patients: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, controls = patients
    made = RandomForestClassifier(30, random_state=0).fit(members.drop(columns="label"), members.label)
    joblib.dump(made, tmp_path / "forest.joblib")
    members.to_csv(tmp_path / "m.csv", index=False)
    controls.to_csv(tmp_path / "c.csv", index=False)
    said = pd.concat(
        [
            pd.DataFrame(made.predict_proba(g.drop(columns="label")), columns=["p_0", "p_1"]).assign(
                id=[f"{arm}{i}" for i in range(len(g))], arm=arm, label=g.label.to_numpy()
            )
            for arm, g in (("member", members), ("control", controls))
        ]
    )
    said.to_csv(tmp_path / "p.csv", index=False)
    (tmp_path / "network_of_a_test.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 2))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    torch.save(importlib.import_module("network_of_a_test").make().state_dict(), tmp_path / "w.pt")
    tables = ("--members", str(tmp_path / "m.csv"), "--controls", str(tmp_path / "c.csv"))
    for number, given in enumerate(
        [
            ("--model", str(tmp_path / "forest.joblib"), "--shadows", "4", *tables),
            ("--predictions", str(tmp_path / "p.csv")),
            ("--factory", "network_of_a_test:make", "--weights", str(tmp_path / "w.pt"), *tables),
        ]
    ):
        code = invoke(monkeypatch, "audit-model", *given, "--out", str(tmp_path / str(number)))
        assert code in (0, 1, 3)
        result = written(tmp_path / str(number))
        assert result["subject"]["type"] == "model"  # type: ignore[index]
        assert (tmp_path / str(number) / "share" / "report.html").is_file()
    told = ("--epochs", "5", "--optimizer", "adam", "--learning-rate", "0.01", "--cache", str(tmp_path / "kept"))
    torch_model = ("--factory", "network_of_a_test:make", "--weights", str(tmp_path / "w.pt"), *tables)
    out = ("--shadows", "4", "--out", str(tmp_path / "trained"))
    assert invoke(monkeypatch, "audit-model", *torch_model, *told, *out) in (0, 1, 3)
    (decided,) = (f for f in written(tmp_path / "trained")["findings"] if f["primary"])  # type: ignore[index,union-attr]
    assert decided["rule"] == "TB-MEMBERSHIP-300"
    assert "rmia, lira, bavaria, membership_classifier" in decided["target"]
    assert len(list((tmp_path / "kept").glob("*.safetensors"))) == 1
    assert invoke(monkeypatch, "audit-model", *torch_model, "--epochs", "5", "--optimizer", "lbfgs", *out) == 2


def table(**changes: object) -> pd.DataFrame:
    rows = {
        "id": [str(i) for i in range(40)],
        "arm": ["member", "control"] * 20,
        "label": [0, 0, 1, 1] * 10,
        "p_0": [0.4] * 40,
        "p_1": [0.6] * 40,
    }
    return pd.DataFrame({**rows, **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"p_0": [3.1] * 40}, "TB-SUBJECT-004"),
        ({"p_0": [math.nan] * 40}, "TB-SUBJECT-003"),
        ({"label": [1] * 40}, "TB-SUBJECT-006"),
        ({"label": [0, 2] * 20}, "TB-SUBJECT-005"),
        ({"arm": ["member"] * 40}, "TB-SUBJECT-002"),
        ({"id": [str(i // 2) for i in range(40)]}, "TB-SPLIT-001"),
    ],
)
def test_predictions_that_cannot_be_used_are_refused(changes: dict[str, object], code: str) -> None:
    with pytest.raises(InputError) as refused:
        subjects.predictions(table(**changes))
    assert refused.value.id == code


def test_where_a_prediction_stood_in_the_file_tells_nothing() -> None:
    blocks = table(
        arm=["member"] * 20 + ["control"] * 20, p_0=[i / 100 for i in range(40)], p_1=[1 - i / 100 for i in range(40)]
    )
    told = Subject(*subjects.predictions(blocks))
    model, used, unused = told.model, told.members, told.controls
    assert statistics.auc(used.x[:, 0], unused.x[:, 0]).low < 0.5 < statistics.auc(used.x[:, 0], unused.x[:, 0]).high
    assert model.ask(used)[:, 0] == pytest.approx([i / 100 for i in range(20)])
    assert model.ask(unused)[:, 0] == pytest.approx([i / 100 for i in range(20, 40)])


def test_predictions_without_the_named_columns_are_refused() -> None:
    with pytest.raises(InputError, match="without a second class"):
        subjects.predictions(table().drop(columns="p_1"))
    with pytest.raises(InputError, match="other columns"):
        subjects.predictions(table().drop(columns="arm"))


def test_members_as_controls_and_files_that_are_no_model_are_refused(
    patients: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    same = {"members": patients[0], "controls": patients[0]}
    with pytest.raises(InputError, match="partly the same"):
        subjects.cohorts(same, "label", [0, 1], None)
    with pytest.raises(InputError, match="lack columns"):
        subjects.cohorts({"members": patients[0], "controls": patients[1].drop(columns="label")}, "label", [0, 1], None)
    (tmp_path / "no.joblib").write_bytes(b"nothing")
    with pytest.raises(InputError, match="TB-SUBJECT-043"):
        model_files.read(tmp_path / "no.joblib")
    joblib.dump(SVC(), tmp_path / "svc.joblib")
    with pytest.raises(InputError, match=r"TB-SUBJECT-012.*not fitted"):
        model_files.read(tmp_path / "svc.joblib")
    with pytest.raises(UsageError):
        torch_predictor(torch_factory("nowhere:make"), None, patients[0].to_numpy(np.float32))[0]
    made = RandomForestClassifier(3).fit(patients[0].drop(columns="label").iloc[:, :5], patients[0].label)
    with pytest.raises(InputError, match="does not take"):
        estimator.sklearn_predictor(made).ask(people(4, 0))


def test_columns_are_found_by_the_names_of_training(patients: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    names = [c for c in patients[0].columns if c != "label"]
    turned = [p[["label", *names[::-1]]].assign(note="x") for p in patients]
    frames = dict(zip(("members", "controls"), turned, strict=True))
    groups = subjects.cohorts(frames, "label", [0, 1], None, Coding.of(frames, names))
    assert groups.members.x == pytest.approx(patients[0][names].to_numpy(np.float32))


ROLES = ("members", "controls")


def test_a_pipeline_hides_nothing_and_is_trained_again(patients: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    x, y = patients[0].drop(columns="label"), patients[0].label.map({0: "ill", 1: "well"})
    steps = ColumnTransformer([("scaled", StandardScaler(), list(x.columns[:10]))])
    made = make_pipeline(steps, KNeighborsClassifier(1)).fit(x, y)
    frames = {r: p.assign(label=p.label.map({0: "ill", 1: "well"})) for r, p in zip(ROLES, patients, strict=True)}
    groups = subjects.cohorts(frames, "label", list(made.classes_), None, Coding.of(frames, [*x.columns]))
    whole = Subject(estimator.sklearn_predictor(made), groups, estimator.SklearnRecipe(made), made)
    found, _ = examine(whole, Options(shadows=4))
    assert isinstance(found[0].measure, Estimate)
    stored = next(f for f in found if f.attack.name == "stored_records").measure
    assert getattr(stored, "value", 0) > 0.95  # but for rounding in the scaler


class Once(RandomForestClassifier):
    def fit(self, *_: object, **__: object) -> Once:
        raise RuntimeError("no")


def test_a_model_that_cannot_be_trained_again_leaves_the_other_attacks(
    patients: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    made = RandomForestClassifier(5, random_state=0).fit(patients[0].drop(columns="label"), patients[0].label)
    whole = subject_of(patients, made)
    once = Once(5)
    once.classes_ = made.classes_
    found, _ = examine(replace(whole, recipe=estimator.SklearnRecipe(once)), Options(shadows=4))
    assert all(getattr(f.measure, "unmeasured", "") == "cannot_retrain" for f in found if f.attack.name == "rmia")
    # What needs no training decides, and the finding can fail; but it cannot pass, since a stronger attack did not run.
    assert found[0].primary
    assert "strongest_unmeasured" in found[0].validity.flags
    assert any(f.attack.name == "prediction_loss" and isinstance(f.measure, Estimate) for f in found)


def test_controls_of_another_kind_are_flagged(patients: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    made = RandomForestClassifier(5, random_state=0).fit(patients[0].drop(columns="label"), patients[0].label)
    for factor, differs in ((1.0, False), (1.5, True)):
        other = patients[1].assign(**{c: patients[1][c] * factor for c in patients[1].columns if c != "label"})
        found, _ = examine(subject_of((patients[0], other), made), Options(shadows=4))
        assert ("split_differs" in found[0].validity.flags) == differs


def test_controls_among_the_members_are_refused_even_if_not_all_are(
    patients: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    mixed = pd.concat([patients[1].head(142), patients[0].head(142)])
    with pytest.raises(InputError, match="partly the same"):
        subjects.cohorts({"members": patients[0], "controls": mixed}, "label", [0, 1], None)
    with pytest.raises(InputError, match="reference"):
        subjects.cohorts(
            {"members": patients[0], "controls": patients[1], "reference": patients[0]}, "label", [0, 1], None
        )


def test_a_sigmoid_model_and_its_logits_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twins_of_a_test.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def soft():\n    torch.manual_seed(0)\n    return nn.Linear(3, 1)\n"
        "def sig():\n    return nn.Sequential(soft(), nn.Sigmoid())\n"
        "def picture():\n    return nn.Conv2d(1, 1, 3)\n"
        "def nothing():\n    return 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = people(20, 0)
    soft = torch_predictor(torch_factory("twins_of_a_test:soft"), None, asked.x)[0]
    with pytest.raises(InputError, match="--outputs"):
        torch_predictor(torch_factory("twins_of_a_test:sig"), None, asked.x)[0]
    sig = torch_predictor(torch_factory("twins_of_a_test:sig"), None, asked.x, "probabilities")[0]
    assert sig.ask(asked) == pytest.approx(soft.ask(asked), abs=1e-6)
    with pytest.raises(InputError, match="does not take"):
        torch_predictor(torch_factory("twins_of_a_test:picture"), None, asked.x)[0]
    with pytest.raises(UsageError):
        torch_predictor(torch_factory("twins_of_a_test:nothing"), None, asked.x)[0]


def test_too_few_controls_are_unmeasured_and_never_pass() -> None:
    few = table().iloc[:20]
    found, _ = examine(Subject(*subjects.predictions(few), described=False), Options(shadows=4))
    assert getattr(found[0].measure, "unmeasured", "") == "fpr_not_resolvable"


def test_one_output_is_the_second_classs_and_probabilities_stay() -> None:
    assert as_probabilities(np.array([[0.0]]), "logits") == pytest.approx(np.array([[0.5, 0.5]]))
    assert as_probabilities(np.array([[0.8]]), "probabilities") == pytest.approx(np.array([[0.2, 0.8]]))
    assert as_probabilities(np.array([[0.2, 0.8]]), "probabilities") == pytest.approx(np.array([[0.2, 0.8]]))
    assert as_probabilities(np.array([[0.0, 0.0, 5.0]]), "logits").argmax() == 2
