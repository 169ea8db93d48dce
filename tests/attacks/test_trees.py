"""The sums of a first tree give exact numbers, whatever the settings of the training; else the attack says why not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xgboost

from testbed.attacks.registry import find
from testbed.core import Batch, Cohort, Exchange, Protocol, Threat, Transcript, Unavailable

RNG = np.random.default_rng(1)
PEOPLE = Cohort(RNG.integers(0, 30, (150, 3)).astype(np.float32), RNG.integers(0, 2, 150), np.arange(150).astype(str))
SERVER = Threat("server")


def view(rate: float | None = None, rounds: int = 1, **settings: Any) -> Transcript:
    """What a server sees of one client with these settings of XGBoost."""
    given = {"objective": "binary:logistic", "nthread": 1, "max_depth": 4, **settings}
    made = xgboost.train(given, xgboost.DMatrix(PEOPLE.x, PEOPLE.y), rounds)
    arrays = {"0": np.frombuffer(bytes(made.save_raw("json")), np.uint8)}
    return Transcript((Exchange(1, 0, None, arrays),), None, Protocol(learning_rate=rate))


def leaves(seen: Transcript) -> Any:
    return find("tree_leaves").run(seen, Batch(((1, 0),), (3,), 2), None, 0, SERVER)


def right(claim: Any) -> bool:
    """Are all numbers those of the people, counted one by one?"""
    for box, counts in zip(claim.bounds[1, 0], claim.counts[1, 0], strict=True):
        for c in (0, 1):
            held = sum(
                all(low <= v < high for v, (low, high) in zip(x, box, strict=True)) and y == c
                for x, y in zip(PEOPLE.x.tolist(), PEOPLE.y.tolist(), strict=True)
            )
            if held != counts[c]:
                return False
    return len(claim.counts[1, 0]) > 4


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base_score": 0.5},
        {"base_score": 0.3, "eta": 0.05},
        {"eta": 1.0, "lambda": 3.5},
        {"scale_pos_weight": 2.5},
        {"min_child_weight": 0, "max_depth": 8, "lambda": 0},
    ],
    ids=str,
)
def test_every_leafs_people_and_diagnoses_are_exact(settings: dict[str, Any]) -> None:
    assert right(leaves(view(**settings)))


def test_sums_that_do_not_tell_the_learning_rate_need_the_protocols() -> None:
    """With one split, and a base score that is the mean, every learning rate fits."""
    with pytest.raises(Unavailable, match="learning_rate_unknown"):
        leaves(view(max_depth=1))
    claim = leaves(view(0.3, max_depth=1))
    assert claim.counts[1, 0].sum(0).tolist() == np.bincount(PEOPLE.y).tolist()


def test_a_single_leaf_tells_all_of_the_clients_people() -> None:
    assert leaves(view(base_score=0.3, gamma=1e6)).counts[1, 0].tolist() == [np.bincount(PEOPLE.y).tolist()]


def without_sums(seen: Transcript, told: bool) -> Transcript:
    """The same trees with nothing but what a prediction needs, of a client that says how many records it used."""
    (exchange,) = seen.exchanges
    assert exchange.returned is not None
    record = json.loads(exchange.returned["0"].tobytes())
    for tree in record["learner"]["gradient_booster"]["model"]["trees"]:
        tree |= {name: [0.0] * len(tree["parents"]) for name in ("sum_hessian", "base_weights", "loss_changes")}
    arrays = {"0": np.frombuffer(json.dumps(record).encode(), np.uint8)}
    metrics = {"num-examples": 150.0} if told else {}
    return replace(seen, exchanges=(replace(exchange, returned=arrays, metrics=metrics),))


def test_whole_numbers_are_found_from_the_values_of_leaves_alone() -> None:
    seen = view(0.3)
    assert right(leaves(without_sums(seen, True)))
    with pytest.raises(Unavailable, match="no_sums"):
        leaves(without_sums(seen, False))


def test_thresholds_are_values_of_the_clients_people() -> None:
    claim = find("tree_thresholds").run(view(rounds=3), Batch(((1, 0),), (3,), 2), None, 0, SERVER)
    pairs = list(zip(claim.columns[1, 0].tolist(), claim.values[1, 0].tolist(), strict=True))
    assert len(pairs) > 10
    assert all(v in PEOPLE.x[:, c] for c, v in pairs)
