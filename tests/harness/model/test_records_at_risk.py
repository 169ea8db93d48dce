"""Groups of people beside each other, records recognised time and again, and what a model's inside says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import KNNImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from testbed.attacks.model.shadows import Shadows
from testbed.core import Array, Cohort, Evidence, Predictor
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate, Finding, Unmeasured
from testbed.harness import cells
from testbed.harness.model import records_at_risk, structure


def shadows(own: float, people: int = 400, models: int = 16, seed: int = 3, spread: float = 1.0) -> Shadows:
    """Shadow models that are by `own` surer, in logits, of a record that they were trained with.

    Models differ about half of the records by `spread`, and about the others by 1.
    """
    rng = keyed_rng(seed, "shadows")
    included = np.zeros((models, people), bool)
    for i in range(models):
        included[i] = ~included[i - 1] if i % 2 else rng.permutation(people) < people // 2
    logits = (
        rng.normal(0, 2, people)
        + rng.normal(0, np.where(np.arange(people) % 4 < 2, 1, spread), (models, people))
        + own * included
    )
    said = 1 / (1 + np.exp(-logits))
    order = rng.permutation(people)
    return Shadows(said[0], said, included, order, np.empty(0), np.empty((models, 0)), np.zeros(people, int), ())


def crowd(n: int) -> tuple[Cohort, Array]:
    rng = keyed_rng(4, "crowd")
    x = rng.normal(size=(n, 3)).astype(np.float32)
    return Cohort(x, (np.arange(n) % 10 == 0).astype(int), np.arange(n).astype(str)), np.arange(n) % 2 == 0


def value(finding: Finding, cell: str = "measure") -> float:
    found = getattr(finding, cell)
    assert isinstance(found, Estimate)
    return found.value


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_models_that_treat_all_alike_show_no_excess(spread: float) -> None:
    above = 0
    for seed in range(8):
        judged = records_at_risk.records_at_risk(shadows(0, seed=seed, spread=spread), *crowd(400), seed)
        excess, evidence = judged.finding.excess, judged.evidence
        assert isinstance(excess, Estimate)
        assert evidence is not None
        above += excess.low > 0
        assert len(evidence.cell("true", "used")) == 200
    assert above <= 1


def test_records_that_models_keep_are_recognised_often_and_by_coins_seldom() -> None:
    finding = records_at_risk.records_at_risk(shadows(4), *crowd(400)).finding
    assert value(finding) > 0.9
    assert value(finding, "control") < 0.1  # coins agree with the truth in most pairs now and then
    assert getattr(finding.excess, "low", 0) > 0.8
    assert not finding.primary


def test_each_record_keeps_its_own_risk_whatever_order_the_shadows_keep() -> None:
    made = shadows(0, people=40)
    kept = made.included.copy()
    said = made.shadow.copy()
    said[:, 7] = np.where(kept[:, 7], 0.999, 0.3)
    within = records_at_risk.risk(
        Shadows(said[0], said, kept, made.order, made.others, made.others_shadow, made.labels, ())
    )
    assert within[made.order[7]] == 1
    assert (np.delete(within, made.order[7]) < 0.5).mean() > 0.9


def scored(score: Array, used: Array) -> Evidence:
    index = np.arange(len(used))
    rows = [
        Evidence.rows("true", group, score=score[mask], item=index[mask], cluster=index[mask])
        for group, mask in (("used", used), ("unused", ~used))
    ]
    return Evidence.join(*rows)


def test_one_class_that_is_learnt_by_heart_stands_out_beside_the_other() -> None:
    pooled, used = crowd(400)
    pooled = Cohort(pooled.x, (np.arange(400) % 20 < 2).astype(int), pooled.persons)
    score = keyed_rng(5, "scores").normal(size=400) + 6 * (used & (pooled.y == 1))
    judged = records_at_risk.by_group("rmia", scored(score, used), pooled, used, True)
    found, kept = cells.findings(judged), cells.evidence_by_key(judged)
    by_name = {f.target: f for f in found}
    assert set(by_name) == {"class 1 of 2", "class 2 of 2", "outliers"}
    assert value(by_name["class 2 of 2"]) > 0.8
    assert (by_name["class 2 of 2"].adjusted_p or 1) < 0.01
    assert (by_name["class 1 of 2"].adjusted_p or 0) > 0.05
    assert all(not f.primary for f in found)
    assert "TB-MEMBERSHIP-842" in kept


def test_a_group_of_few_people_says_nothing() -> None:
    pooled, used = crowd(100)  # of the second class there are ten members, and no controls
    score = keyed_rng(6).normal(size=100)
    judged = records_at_risk.by_group("rmia", scored(score, used), pooled, used, False)
    found, kept = cells.findings(judged), cells.evidence_by_key(judged)
    # Nor does the other of the two, from whose size theirs could be worked out.
    assert [isinstance(f.measure, Unmeasured) for f in found] == [True, True]
    assert not kept


def test_a_persons_other_rows_do_not_make_anybody_an_inlier() -> None:
    rng = keyed_rng(8, "visits")
    x = np.repeat(rng.normal(size=(40, 3)), 10, axis=0) + 0.01 * rng.normal(size=(400, 3))
    pooled = Cohort(x.astype(np.float32), np.zeros(400, int), np.repeat(np.arange(40), 10).astype(str))
    used = np.repeat(np.arange(40) % 2 == 0, 10)
    far = records_at_risk._neighbour(pooled, used)  # pyright: ignore[reportPrivateUsage]
    assert np.median(far[used]) == pytest.approx(np.median(far[~used]), rel=0.5)


def test_leaves_are_counted_in_people() -> None:
    x = np.repeat(np.arange(40.0), 12)[:, None].astype(np.float32)
    people = Cohort(x, np.repeat(np.arange(40) % 2, 12), np.repeat(np.arange(40), 12).astype(str))
    made = DecisionTreeClassifier(random_state=0).fit(people.x, people.y)
    model = Predictor(lambda asked: made.predict_proba(asked.x), 2)
    found = {f.attack.name: f for f in structure.checks(model, made, people)}
    assert value(found["small_leaves"]) == 1


PEOPLE, _ = crowd(200)
X, Y = PEOPLE.x, PEOPLE.y


def checked(made: Any) -> dict[str, Finding]:
    fitted = made.fit(X, Y)
    model = Predictor(lambda people: fitted.predict_proba(people.x), 2)
    return {f.attack.name: f for f in structure.checks(model, fitted, PEOPLE)}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fitted_number_is_counted_once() -> None:
    assert structure.parameters(LogisticRegression().fit(X, Y)) == 4
    assert structure.parameters(MLPClassifier((5,), max_iter=5).fit(X, Y)) == 3 * 5 + 5 + 5 + 1
    tree = DecisionTreeClassifier(max_leaf_nodes=4, random_state=0).fit(X, Y)
    assert structure.parameters(tree) == 3 * 2 + 4
    forest = RandomForestClassifier(7, max_leaf_nodes=4, random_state=0).fit(X, Y)
    assert structure.parameters(forest) == 7 * 10
    boosted = GradientBoostingClassifier(n_estimators=3, max_leaf_nodes=4, random_state=0).fit(X, Y)
    assert structure.parameters(boosted) == 3 * 10
    assert structure.parameters(torch.nn.Linear(3, 2)) == 8
    assert structure.parameters(None) is None


def test_a_model_with_room_for_everybody_is_told() -> None:
    assert value(checked(RandomForestClassifier(50, random_state=0))["parameters_per_record"]) == 1
    assert value(checked(LogisticRegression())["parameters_per_record"]) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("made", "broken"),
    [
        (RandomForestClassifier(5), 0.5),
        (RandomForestClassifier(5, min_samples_leaf=5), 0),
        (RandomForestClassifier(5, bootstrap=False), 1),
        (DecisionTreeClassifier(min_samples_leaf=0.05), 0),  # 10 of 200 people
        (DecisionTreeClassifier(min_samples_leaf=0.01), 1),
        (KNeighborsClassifier(3), 1),
        (KNeighborsClassifier(12), 0),
    ],
)
def test_hyper_parameters_that_keep_single_records_are_named(made: Any, broken: float) -> None:
    finding = checked(made)["hyper_parameters"]
    assert value(finding) == broken
    assert ("should be" in finding.plain) == (broken > 0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_has_no_rules_is_not_judged() -> None:
    assert "hyper_parameters" not in checked(LogisticRegression())
    assert "hyper_parameters" not in checked(SVC(probability=True, random_state=0))
    network = torch.nn.Linear(3, 2)
    model = Predictor(lambda people: np.full((len(people), 2), 0.5), 2)
    assert {f.attack.name for f in structure.checks(model, network, PEOPLE)} >= {"parameters_per_record"}


def test_boosted_trees_of_another_package_are_looked_into_as_well() -> None:
    from xgboost import XGBClassifier  # of wheels that are named after the processor; only the tests want it

    made = XGBClassifier(n_estimators=3, max_leaves=4, grow_policy="lossguide", random_state=0)
    found = checked(made)
    leaves = made.apply(X)
    assert leaves.shape == (200, 3)
    assert structure.parameters(made) is not None
    assert (structure.parameters(made) or 0) <= 3 * (2 * 3 + 4)
    assert {"parameters_per_record", "small_leaves", "hyper_parameters"} <= set(found)
    assert value(found["hyper_parameters"]) == 1


STORING: dict[str, Any] = {
    "one-hot codes": make_pipeline(OneHotEncoder(handle_unknown="ignore"), KNeighborsClassifier(1)),
    "search in a pipeline": make_pipeline(
        StandardScaler(), GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 3]})
    ),
    "pipelines in each other": make_pipeline(
        StandardScaler(), make_pipeline(StandardScaler(), KNeighborsClassifier(1))
    ),
    "vote": VotingClassifier([("a", KNeighborsClassifier(1)), ("b", LogisticRegression())], voting="soft"),
    "stack": StackingClassifier([("a", KNeighborsClassifier(1))], LogisticRegression(), cv=2),
    "calibrated": CalibratedClassifierCV(KNeighborsClassifier(1), cv=2),
    "frozen": CalibratedClassifierCV(FrozenEstimator(KNeighborsClassifier(1).fit(X, Y))),
    "one against the rest": OneVsRestClassifier(KNeighborsClassifier(1)),
    "Gaussian process": GaussianProcessClassifier(),
    "labels that spread": LabelSpreading(),
    "columns": make_pipeline(ColumnTransformer([("k", KNNImputer(), [0, 2])], remainder="drop"), LogisticRegression()),
}


@pytest.mark.parametrize("kind", STORING)
def test_records_are_found_wherever_a_model_stores_them(kind: str) -> None:
    assert value(checked(STORING[kind])["stored_records"]) == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_a_model_is_made_of_is_counted_together() -> None:
    wide = MLPClassifier((1000,), max_iter=2)
    both = VotingClassifier([("net", wide), ("stump", DecisionTreeClassifier(max_depth=1))], voting="soft")
    assert value(checked(both)["parameters_per_record"]) == 1
    found = checked(CalibratedClassifierCV(RandomForestClassifier(5, random_state=0), cv=2))
    assert {"small_leaves", "hyper_parameters", "parameters_per_record"} <= set(found)
    assert "min_samples_leaf" in checked(TunedThresholdClassifierCV(DecisionTreeClassifier()))["hyper_parameters"].plain
    bags = BaggingClassifier(DecisionTreeClassifier(), 5, max_features=0.7, random_state=0)
    assert {"small_leaves", "hyper_parameters"} <= set(checked(bags))


def test_boosted_lines_have_no_leaves() -> None:
    from xgboost import XGBClassifier

    found = checked(XGBClassifier(n_estimators=3, booster="gblinear"))
    assert "small_leaves" not in found
    assert value(found["parameters_per_record"]) == pytest.approx(4 / 200)
