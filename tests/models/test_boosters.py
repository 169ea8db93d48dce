"""Trees are read as XGBoost means them, and everything else is refused in words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xgboost

from testbed.core import Exchange, Unavailable
from testbed.models import boosters

RNG = np.random.default_rng(0)
X = RNG.random((200, 3)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * RNG.random(200) > 0.8).astype(int)


def model(rounds: int = 3, **settings: Any) -> xgboost.Booster:
    given = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, **settings}
    return xgboost.train(given, xgboost.DMatrix(X, Y), rounds)


def sent(content: bytes) -> dict[str, Any]:
    return {"0": np.frombuffer(content, np.uint8)}


def told(change: Any) -> dict[str, Any]:
    """A model's message after a change of its JSON."""
    record = json.loads(bytes(model().save_raw("json")))
    change(record["learner"])
    return sent(json.dumps(record).encode())


def test_the_trees_predict_what_xgboost_predicts() -> None:
    made = model()
    read = boosters.read(sent(bytes(made.save_raw("json"))))
    assert read.probability(X) == pytest.approx(made.predict(xgboost.DMatrix(X)), abs=1e-6)
    assert read.base == pytest.approx(Y.mean())


def test_the_box_of_a_leaf_holds_the_records_that_end_in_it() -> None:
    (tree,) = boosters.read(sent(bytes(model(1).save_raw("json")))).trees
    inside = ((X[None] >= tree.boxes(3)[:, None, :, 0]) & (X[None] < tree.boxes(3)[:, None, :, 1])).all(2)
    assert (inside.sum(0) == 1).all()
    assert (tree.leaves[inside.argmax(0)] == tree.leaf_of(X)).all()


def no_sums(learner: dict[str, Any]) -> None:
    for tree in learner["gradient_booster"]["model"]["trees"]:
        del tree["split_conditions"]


def circle(learner: dict[str, Any]) -> None:
    learner["gradient_booster"]["model"]["trees"][0]["right_children"][1] = 0


def several(learner: dict[str, Any]) -> None:
    learner["objective"]["name"] = "multi:softprob"


def lists(learner: dict[str, Any]) -> None:
    learner["gradient_booster"]["model"]["trees"][0]["split_type"][0] = 1


def wide(learner: dict[str, Any]) -> None:
    learner["learner_model_param"]["num_feature"] = "2000000000"  # the bounds of its leaves would fill the memory


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"w": np.ones((2, 2), np.float32)}, "no_trees"),
        ({}, "no_trees"),
        (sent(bytes(model().save_raw("ubj"))), "trees_not_json"),
        (sent(b"[1, 2]"), "trees_not_json"),
        (sent(b"tree\nversion=v4"), "other_library"),
        (told(no_sums), "other_version"),
        (told(circle), "other_version"),
        (told(several), "other_objective"),
        (told(lists), "categorical_splits"),
        (told(wide), "too_large"),
    ],
)
def test_what_is_no_xgboost_model_for_two_classes_is_refused_by_name(message: dict[str, Any], code: str) -> None:
    with pytest.raises(Unavailable) as refused:
        boosters.read(message)
    assert refused.value.code == code


def test_new_trees_are_found_in_a_whole_model_and_alone() -> None:
    whole = model(3)
    before = sent(bytes(whole[:2].save_raw("json")))
    for returned in (whole, whole[2:]):
        exchange = Exchange(2, 0, before, sent(bytes(returned.save_raw("json"))))
        new, earlier = boosters.grown(exchange)
        assert len(new.trees) == 1
        assert earlier is not None
        assert len(earlier.trees) == 2
    assert boosters.grown(Exchange(1, 0, {"0": np.empty(0, np.uint8)}, before))[1] is None
