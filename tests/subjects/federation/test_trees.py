"""Federations of trees: what passes through Flower's strategies, and what defences change of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from testbed.core import Cohort, Transcript
from testbed.core.errors import UsageError
from testbed.defences import named
from testbed.models import boosters
from testbed.subjects.federation import transcript
from testbed.subjects.federation.trees import TreeFederation, predictions

RNG = np.random.default_rng(0)
PARTS = [
    Cohort(x := RNG.random((60, 4)).astype(np.float32), (x[:, c] > 0.5).astype(np.int64), np.arange(60).astype(str))
    for c in range(3)
]
BAGGING = TreeFederation(4, 3, rounds=2, learning_rate=0.3)
CYCLIC = replace(BAGGING, order="cyclic", rounds=4)


def defended(text: str) -> TreeFederation:
    return replace(BAGGING, defences=named.configured(text))


def trees(view: Transcript) -> list[boosters.Tree]:
    return [tree for e in view.exchanges for tree in boosters.grown(e)[0].trees]


def test_bagging_adds_a_tree_of_every_client_in_each_round() -> None:
    view = BAGGING.run(PARTS)
    assert [e.key for e in view.exchanges] == [(r, c) for r in (1, 2) for c in range(3)]
    assert len(boosters.read(view.final).trees) == 6
    assert all(len(boosters.grown(e)[0].trees) == 1 for e in view.exchanges)
    assert all(e.metrics["num-examples"] == 60 for e in view.exchanges)


def test_cyclic_hands_each_clients_model_to_the_next_one() -> None:
    view = CYCLIC.run(PARTS)
    assert [e.key for e in view.exchanges] == [(1, 0), (2, 1), (3, 2), (4, 0)]
    for before, after in zip(view.exchanges[:-1], view.exchanges[1:], strict=True):
        assert before.returned is not None
        assert after.sent is not None
        assert before.returned["0"].tobytes() == after.sent["0"].tobytes()


@pytest.mark.parametrize(
    "federation", [BAGGING, CYCLIC, defended("leaf_noise:0.1")], ids=["bagging", "cyclic", "noise"]
)
def test_equal_runs_give_equal_transcripts(federation: TreeFederation) -> None:
    assert transcript.to_bytes(federation.run(PARTS)) == transcript.to_bytes(federation.run(PARTS))


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(UsageError, match="TB-RUN-012"):
        replace(BAGGING, order="ring")


def test_bare_trees_predict_the_same_and_tell_no_sums() -> None:
    plain, bare = BAGGING.run(PARTS), defended("bare_trees").run(PARTS)
    assert predictions(plain.final, PARTS[0].x) == pytest.approx(predictions(bare.final, PARTS[0].x), abs=1e-7)
    assert any((t.hessian > 0).any() for t in trees(plain))
    assert not any((t.hessian > 0).any() for t in trees(bare))


def test_growth_is_bounded_and_the_stricter_of_two_defences_holds() -> None:
    two = defended("shallow_trees:3+shallow_trees:1")
    assert two.settings["max_depth"] == 1
    assert all(len(t.leaves) <= 2 for t in trees(two.run(PARTS)))
    assert defended("shallow_trees:20").settings["max_depth"] == BAGGING.depth
    large = defended("large_leaves:5").run(PARTS)
    assert all(t.hessian[t.leaves].min() >= 5 for t in trees(large) if len(t.leaves) > 1)


def test_thresholds_are_rounded_and_the_noise_of_leaves_differs_by_client() -> None:
    rounded = trees(defended("round_thresholds:10").run(PARTS))
    at = np.concatenate([t.threshold[t.splits] for t in rounded])
    assert at * 10 == pytest.approx(np.round(at * 10), abs=1e-5)
    plain, noisy = trees(BAGGING.run(PARTS))[:2], trees(defended("leaf_noise:0.1").run(PARTS))[:2]
    drawn = [float(n.value[n.leaves[0]] - p.value[p.leaves[0]]) for n, p in zip(noisy, plain, strict=True)]
    assert drawn[0] != pytest.approx(drawn[1])
    assert all(0 < abs(d) < 0.5 for d in drawn)
