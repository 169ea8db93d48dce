"""Models that answer about some records only, keep parts of themselves, or were trained on unusual codes and labels."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import CategoricalNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from testbed.core.errors import InputError, UsageError
from testbed.data.tables.files import read_file
from testbed.findings.schema import Estimate, Finding, Unmeasured
from testbed.harness.model.audit import audit_model
from testbed.harness.model.examine import comparable, examine
from testbed.harness.model.model_audit import Options
from testbed.models.ensemble import Training
from testbed.subjects.predictors import copies, estimator, load
from testbed.subjects.predictors import people as subjects
from testbed.subjects.predictors.api import Api
from testbed.subjects.predictors.outputs import kind_of
from testbed.subjects.predictors.regression import Scale
from testbed.subjects.predictors.subject import Subject


def coded(n: int, seed: int, values: tuple[float, ...] = (0, 1, 2, 3)) -> pd.DataFrame:
    """People of four codes each, and a label that follows the first by halves."""
    rng = np.random.default_rng(seed)
    codes = pd.DataFrame(rng.choice(values, (n, 4)), columns=list("abcd"))
    return codes.assign(label=np.where(rng.random(n) < 0.5, codes.a > values[1], rng.random(n) < 0.5).astype(int))


def subject(made: Any, members: pd.DataFrame, controls: pd.DataFrame) -> Subject:
    return load.from_estimator(made, {"members": members, "controls": controls}, "label", None)


def audited(made: Any, members: pd.DataFrame, controls: pd.DataFrame) -> dict[str, Finding]:
    """The findings by attack; of several of one attack the first."""
    found, _ = examine(subject(made, members, controls), Options(shadows=4))
    return {f.attack.name: f for f in reversed(found)}


def reason(finding: Finding) -> str:
    return finding.measure.unmeasured if isinstance(finding.measure, Unmeasured) else ""


@pytest.mark.parametrize(
    "made",
    [
        make_pipeline(OneHotEncoder(), RandomForestClassifier(20, random_state=0)),
        make_pipeline(FunctionTransformer(np.log1p, validate=True), LogisticRegression()),
    ],
    ids=["categories", "logarithms"],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:divide by zero:RuntimeWarning")
def test_a_model_that_refuses_invented_records_is_attacked_with_real_ones(made: Any) -> None:
    members, controls = coded(150, 1), coded(150, 2)
    made.fit(members[list("abcd")], members.label)
    found = audited(made, members, controls)
    assert isinstance(found["rmia"].measure, Estimate)
    assert isinstance(found["prediction_loss"].measure, Estimate)
    assert reason(found["label_noise"]) == "refuses_records"


def test_a_model_that_refuses_the_people_themselves_is_refused() -> None:
    members, controls = coded(150, 1), coded(150, 2)
    made = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(members[list("abcd")], members.label)
    with pytest.raises(InputError, match="TB-SUBJECT-013"):
        audited(made, members, controls.assign(a=9))


@pytest.mark.parametrize("made", [make_pipeline(OneHotEncoder(), LogisticRegression()), CategoricalNB()])
def test_models_of_half_of_the_people_that_do_not_know_a_code_leave_the_other_attacks(made: Any) -> None:
    members, controls = coded(150, 1), coded(150, 2)
    members.loc[0, "a"] = 7
    made.fit(members[list("abcd")], members.label)
    found = audited(made, members, controls)
    assert reason(found["rmia"]) == "cannot_retrain"
    assert isinstance(found["prediction_loss"].measure, Estimate)


def test_a_booster_of_lines_is_audited_and_several_labels_under_one_name_are_refused() -> None:
    from xgboost import XGBClassifier

    members, controls = coded(150, 1), coded(150, 2)
    made = XGBClassifier(n_estimators=3, booster="gblinear").fit(members[list("abcd")], members.label)
    assert isinstance(audited(made, members, controls)["rmia"].measure, Estimate)
    several = RandomForestClassifier(3).fit(members[["a", "b"]], members[["c", "label"]])
    with pytest.raises(InputError, match="TB-SUBJECT-075"):
        subject(several, members, controls)


def test_boosters_are_trained_again_without_a_rare_class_and_without_people_to_stop_on() -> None:
    from xgboost import XGBClassifier

    members, controls = coded(150, 1), coded(150, 2)
    members.loc[[3], "label"] = 2
    x, y = members[list("abcd")], members.label
    stopped = XGBClassifier(n_estimators=200, early_stopping_rounds=2).fit(x, y, eval_set=[(x, y)], verbose=False)
    for made in (XGBClassifier(n_estimators=3).fit(x, y), stopped):
        whole = subject(made, members, controls)
        assert isinstance(whole.recipe, estimator.SklearnRecipe)
        with_rare, without = np.ones(150, bool), np.arange(150) != 3
        models = whole.recipe.many(whole.members, np.stack([with_rare, without]), np.random.default_rng(0))
        said = [m.ask(whole.members) for m in models]
        assert said[0][:, 2].min() > 0
        assert said[1][:, 2].max() == 0
        assert said[1].sum(1) == pytest.approx(1, abs=1e-5)


def test_a_frozen_part_is_not_taken_for_a_model_of_other_people() -> None:
    """Each shadow model would have learnt all members by heart, so that nobody stands out."""
    rng = np.random.default_rng(0)
    members, controls = (
        pd.DataFrame(rng.normal(size=(300, 5)), columns=list("abcde")).assign(label=rng.integers(0, 2, 300))
        for _ in range(2)
    )
    forest = RandomForestClassifier(50, random_state=0).fit(members[list("abcde")], members.label)
    made = CalibratedClassifierCV(FrozenEstimator(forest)).fit(members[list("abcde")], members.label)
    assert not copies.retrainable(made)
    assert not copies.retrainable(FrozenEstimator(forest))
    assert copies.retrainable(CalibratedClassifierCV(forest))
    result, _, _ = audit_model(subject(made, members, controls), [members, controls])
    first = next(f for f in result.findings if f.primary)
    assert "membership_classifier" in (first.target or "")
    assert "rmia" not in (first.target or "")
    assert result.decision.verdict == "fail"


@pytest.mark.parametrize(
    "values", [(73211009.0, 73211010.0, 38341003.0, 38341004.0), (250.13, 250.130001, 401.9, 401.900001)]
)
def test_codes_are_asked_about_as_they_are(values: tuple[float, ...]) -> None:
    """In 32 bits neighbours of them would be one code, and none of those of training."""
    members, controls = coded(400, 1, values), coded(400, 2, values)
    made = make_pipeline(OneHotEncoder(handle_unknown="ignore"), DecisionTreeClassifier(random_state=0))
    made.fit(members[list("abcd")], members.label)
    people = pd.concat([members, controls])
    loss = -made.predict_proba(people[list("abcd")])[np.arange(800), people.label]
    expected = roc_auc_score(np.arange(800) < 400, -loss)
    found, _ = examine(subject(made, members, controls), Options(shadows=4))
    area = next(f.measure for f in found if f.attack.name == "prediction_loss" and f.rule[14] == "4")
    assert isinstance(area, Estimate)
    assert expected > 0.6
    assert area.value == pytest.approx(expected, abs=1e-4)  # of four decimals


@pytest.mark.parametrize("columns", [4, 5, 6])
@pytest.mark.parametrize(("n", "m"), [(200, 50), (200, 200), (1000, 100)])
def test_people_of_few_kinds_are_no_repeats_of_each_other(columns: int, n: int, m: int) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame(rng.integers(0, 4, (n + m, columns)), columns=list("abcdef")[:columns])
        frame["label"] = rng.integers(0, 2, n + m)
        subjects.cohorts({"members": frame[:n], "controls": frame[n:]}, "label", [0, 1], None)


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        (["0", "1"], "01"),
        (["False", "True"], ["False", "True"]),
        ([False, True], ["False", "True"]),
        (["0.5", "2.5"], ["0.5", "2.5"]),
        (["None", "ill"], ["None", "ill"]),
        ([0.0, 1.0], "01"),
    ],
)
def test_labels_are_those_of_training_whatever_a_file_makes_of_them(
    classes: list[Any], text: list[str], tmp_path: Path
) -> None:
    (tmp_path / "m.csv").write_text("a,label\n" + "".join(f"{i},{text[i % 2]}\n" for i in range(20)))
    (tmp_path / "c.csv").write_text("a,label\n" + "".join(f"{i + 50},{text[i % 2]}\n" for i in range(20)))
    frames = {r: read_file(tmp_path / f"{r[0]}.csv", r) for r in ("members", "controls")}
    assert subjects.cohorts(frames, "label", classes, None).members.y.tolist() == [0, 1] * 10


def test_counts_of_nothing_stay_nothing() -> None:
    """A count of -1e-9 is none that a Poisson model could be trained on."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        members, controls = (pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"]) for _ in range(2))
        for frame in (members, controls):
            frame["label"] = rng.poisson(np.exp(0.3 * frame.a))
        made = PoissonRegressor().fit(members[["a", "b"]], members.label)
        whole = subject(made, members, controls)
        recipe = whole.recipe
        assert isinstance(recipe, estimator.SklearnRecipe)
        recipe.many(whole.members, np.ones((1, 60), bool), rng)


def test_rounded_predictions_are_brought_back_to_one() -> None:
    chances = np.random.default_rng(0).dirichlet([1, 1, 1], 40).round(2)
    frame = pd.DataFrame(chances, columns=["p_0", "p_1", "p_2"]).assign(label=[0, 0, 1, 2] * 10)
    frame = frame.assign(arm=["member", "control"] * 20, id=range(40))
    assert (frame[["p_0", "p_1", "p_2"]].sum(axis=1) != 1).any()
    told = Subject(*subjects.predictions(frame))
    assert told.model.ask(told.members).sum(1) == pytest.approx(1)


def test_rows_of_nobody_are_refused_and_one_decimal_is_enough() -> None:
    frame = pd.DataFrame({"id": [*range(39), None], "arm": ["member", "control"] * 20, "label": [0, 0, 1, 2] * 10})
    frame = frame.assign(p_0=0.3, p_1=0.3, p_2=0.3)
    with pytest.raises(InputError, match="TB-SUBJECT-037"):
        subjects.predictions(frame)
    told = Subject(*subjects.predictions(frame.assign(id=range(40))))
    assert told.model.ask(told.members) == pytest.approx(1 / 3)


def test_percentages_are_not_read_as_logits() -> None:
    with pytest.raises(InputError, match="TB-SUBJECT-038"):
        kind_of(np.array([[30.0, 70.0], [99.0, 1.0]]), "auto")


def test_a_budget_below_members_and_controls_spends_nothing() -> None:
    asked: list[int] = []

    def answer(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return np.full((len(x), 2), 0.5)

    rng = np.random.default_rng(0)
    frames = {r: pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"]) for r in ("members", "controls")}
    frames = {r: f.assign(label=[0, 1] * 15) for r, f in frames.items()}
    with pytest.raises(UsageError, match="TB-SUBJECT-027"):
        load.from_api(Api(answer, 50), "auto", frames, "label", None)
    assert not asked


def test_small_positive_numbers_are_not_taken_for_nothing() -> None:
    rng = np.random.default_rng(0)
    values = np.exp(3 * rng.normal(size=400))
    scale = Scale.of(values)
    again = scale.numbers(scale.kept(values))
    assert again == pytest.approx(values, rel=1e-9)
    assert (again > 0).all()


def seeded(layer: torch.nn.Module) -> torch.nn.Module:
    """A copy whose lazy parameters are the same at each call, as those of a trained module are."""
    torch.manual_seed(0)
    return copy.deepcopy(layer)


def test_lazy_and_double_modules_are_asked_and_trained() -> None:
    members, controls = coded(60, 1), coded(60, 2)
    rules = Training(2, 16)
    for layer in (torch.nn.LazyLinear(2), torch.nn.Linear(4, 2).double()):
        frames = {"members": members, "controls": controls}
        whole = load.from_factory(partial(seeded, layer), None, "auto", frames, "label", None, rules)
        assert whole.model.ask(whole.members).shape == (60, 2)


class Forgetful(ClassifierMixin, BaseEstimator):
    """An estimator whose `fit` returns nothing, as that of some libraries."""

    def fit(self, x: Any, y: Any) -> None:
        self.inner_ = DecisionTreeClassifier(random_state=0).fit(x, y)
        self.classes_ = self.inner_.classes_

    def predict_proba(self, x: Any) -> Any:
        return self.inner_.predict_proba(x)


class SinglePrecision(Forgetful):
    """An estimator that takes numbers in single precision alone, as networks do."""

    def predict_proba(self, x: Any) -> Any:
        if not isinstance(x, np.ndarray) or x.dtype != np.float32:
            raise RuntimeError("mat1 and mat2 must have the same dtype")
        return self.inner_.predict_proba(x)


@pytest.mark.parametrize("kind", [Forgetful, SinglePrecision])
def test_estimators_that_return_nothing_or_take_single_precision_are_trained_again(kind: Any) -> None:
    members, controls = coded(200, 1), coded(200, 2)
    made = kind()
    made.fit(members[list("abcd")].to_numpy(), members.label.to_numpy())
    found = audited(made, members, controls)
    assert isinstance(found["rmia"].measure, Estimate)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_model_of_scaled_records_that_is_asked_about_raw_ones_does_not_pass(wrong: bool) -> None:
    """Its answers still rank its members a little better than chance; copies of it know strangers better."""
    members, controls = ranked(600, 1), ranked(600, 2)
    inputs = list("abcd")
    center, width = (members[inputs].mean(), members[inputs].std()) if wrong else (0.0, 1.0)
    made = RandomForestClassifier(40, min_samples_leaf=20, random_state=0)
    made.fit((members[inputs] - center) / width, members.label)
    found, _ = examine(subject(made, members, controls), Options(shadows=4, quick=True))
    decided = next(f for f in found if f.primary)
    assert ("worse_than_copies" in decided.validity.flags) == wrong


def ranked(n: int, seed: int) -> pd.DataFrame:
    """People of four numbers around 2, and a label that follows their sum."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(2, 1.5, (n, 4)).round(3), columns=list("abcd"))
    return x.assign(label=(x.sum(axis=1) + rng.normal(0, 1.5, n) > 8).astype(int))


@pytest.mark.parametrize("seed", range(3))
def test_words_that_one_table_alone_holds_do_not_make_the_tables_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def people(n: int) -> pd.DataFrame:
        words = rng.integers(0, 900, n)
        return pd.DataFrame(
            {"icd": [f"C{w}" for w in words], "age": rng.normal(60, 9, n), "label": rng.integers(0, 2, n)}
        )

    members, controls = people(800), people(800)
    made = make_pipeline(
        ColumnTransformer([("words", OneHotEncoder(handle_unknown="ignore"), ["icd"])], remainder="passthrough"),
        LogisticRegression(max_iter=500),
    ).fit(members[["icd", "age"]], members.label)
    asked = subject(made, members, controls)
    assert asked.unordered == (0,)
    assert comparable(asked, 0)
