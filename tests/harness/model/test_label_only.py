"""What the predicted class alone gives away, and what a student's losses add to the model's own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier

from testbed.attacks.model.range_membership import roughly
from testbed.attacks.registry import find
from testbed.core import Array, Cohort, Predictor, Records, Threat, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.data.cohorts import divide, source
from testbed.findings import statistics
from testbed.subjects.predictors.estimator import SklearnRecipe, sklearn_predictor

ASKING = Threat("recipient", knows=frozenset({"queries", "target_records"}), access="label")
TRAINING = Threat("recipient", knows=frozenset({"auxiliary", "queries", "recipe", "target_records"}), access="score")


def groups(name: str, size: int) -> tuple[Cohort, Cohort, Cohort]:
    people = source(name).people
    flat = Cohort(people.x.reshape(len(people), -1), people.y, people.persons)
    rows = divide(flat, {"members": size, "controls": size, "others": size}, keyed_rng(0, name))
    members, controls, others = (flat.take(r) for r in rows.values())
    return members, controls, others


def in_doubt(members: Cohort, controls: Cohort) -> tuple[Records, Array]:
    both = Cohort(*(np.concatenate([getattr(g, f) for g in (members, controls)]) for f in ("x", "y", "persons")))
    return Records(both), np.arange(len(both)) < len(members)


def area(scores: Array, used: Array) -> float:
    return statistics.auc(scores[used], scores[~used]).value


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_noise_tells_more_than_the_class_of_the_record_itself() -> None:
    members, controls, _ = groups("mnist5k", 400)
    question, used = in_doubt(members, controls)
    asked: list[int] = []
    inner = sklearn_predictor(MLPClassifier((64,), alpha=1e-6, max_iter=200, random_state=0).fit(members.x, members.y))

    def classes_alone(people: Cohort) -> Array:
        asked.append(len(people))
        return np.eye(10)[inner.ask(people).argmax(1)]  # what it is sure of stays its own

    view = Predictor(classes_alone, 10)
    gap = area(find("label_gap").run(view, question, None, 0, ASKING).values, used)
    asked.clear()
    noise = area(find("label_noise").run(view, question, None, 0, ASKING).values, used)
    assert noise > gap + 0.03
    assert sum(asked) <= 80 * len(used)


def test_columns_of_two_values_keep_to_them() -> None:
    rng = keyed_rng(1, "two values")
    x = np.column_stack([rng.integers(0, 2, 60) * 3 + 1, rng.normal(size=60)]).astype(np.float32)
    seen: list[Array] = []

    def ask(people: Cohort) -> Array:
        seen.append(people.x)
        return np.eye(2)[(people.x[:, 1] > 0).astype(int)]

    people = Cohort(x, (x[:, 1] > 0).astype(int), np.arange(60).astype(str))
    scores = find("label_noise").run(Predictor(ask, 2), Records(people), None, 0, ASKING).values
    assert set(np.unique(np.concatenate(seen)[:, 0])) == {1, 4}
    assert np.isfinite(scores).all()
    far, near = np.abs(x[:, 1]) > 1, np.abs(x[:, 1]) < 0.1
    assert scores[far].min() > scores[near].mean()


def test_a_trajectory_adds_to_the_loss_where_the_loss_is_coarse() -> None:
    members, controls, others = groups("support2", 300)
    question, used = in_doubt(members, controls)
    made = RandomForestClassifier(50, random_state=0).fit(members.x, members.y)
    view, recipe = sklearn_predictor(made), SklearnRecipe(made)
    params = {"shadows": 8}
    told = area(find("loss_trajectory").run(view, question, others, 0, TRAINING, params, recipe).values, used)
    own = area(find("prediction_loss").run(view, question, None, 0, TRAINING).values, used)
    assert told > own + 0.05


def test_a_trajectory_needs_other_people() -> None:
    members, controls, others = groups("support2", 60)
    question, _ = in_doubt(members, controls)
    made = RandomForestClassifier(5, random_state=0).fit(members.x, members.y)
    few = others.take(np.arange(49))
    with pytest.raises(Unavailable, match="no_reference"):
        find("loss_trajectory").run(sklearn_predictor(made), question, few, 0, TRAINING, {}, SklearnRecipe(made))


def test_a_person_who_is_roughly_known_is_recognised_where_the_model_keeps_its_people() -> None:
    members, controls, others = groups("support2", 300)
    question, used = in_doubt(members, controls)
    assert isinstance(question.people, Cohort)
    rough = Records(roughly(question.people, others, 0.25, keyed_rng(2)))
    made = RandomForestClassifier(50, random_state=0).fit(members.x, members.y)
    held = RandomForestClassifier(50, min_samples_leaf=40, random_state=0).fit(members.x, members.y)
    for model, low, high in ((made, 0.62, 1.0), (held, 0.0, 0.6)):
        view, recipe = sklearn_predictor(model), SklearnRecipe(model)
        claim = find("range_membership").run(view, rough, others, 0, TRAINING, {}, recipe)
        assert low < area(claim.values, used) < high


def test_rough_records_keep_columns_of_two_values_and_stay_within_the_width() -> None:
    rng = keyed_rng(3, "rough")
    x = np.column_stack([rng.integers(0, 2, 80), rng.normal(size=80) * 5, np.ones(80)]).astype(np.float32)
    people = Cohort(x, np.zeros(80, int), np.arange(80).astype(str))
    moved = roughly(people, people, 0.25, rng).x - x
    assert (moved[:, [0, 2]] == 0).all()
    assert 0 < np.abs(moved[:, 1]).max() <= 0.25 * x[:, 1].std() + 1e-5
