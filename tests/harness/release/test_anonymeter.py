"""anonymeter 1.1.0 beside ours: the same where it is right, and each of its known defects not shared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("anonymeter")

from testbed import judge
from testbed.attacks.registry import find
from testbed.core import Fields, Gaps, Halves, Release, Table
from testbed.core.tables.index import Index
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.scale import Scale
from testbed.data.tables.encode import encode
from testbed.findings.schema import Estimate
from testbed.harness.release.anonymeter import _quiet, frame_of
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.setting import RECIPIENT
from tests.conftest import thirds

COLUMNS = ["a", "b", "c", "u", "v"]


def made(n: int, seed: int, columns: int = 3) -> pd.DataFrame:
    """Non-negative, no gaps, no ties; every table spans the same range, as anonymeter's scaling needs.

    A little more of the cells lies at the ends than in the middle, so that our unit, too, is the whole range.
    """
    rng = np.random.default_rng(seed)
    even = 2 * rng.random((n, columns)) - 1
    frame = pd.DataFrame((1 + np.sign(even) * np.abs(even) ** 0.7) / 2, columns=COLUMNS[:columns])
    frame.iloc[0], frame.iloc[1] = 0.0, 1.0
    frame["u"] = rng.choice(list("pqrs"), n)
    frame["v"] = rng.choice(list("xyz"), n)
    return frame


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    original, released = made(200, 1), made(400, 2)
    released.iloc[2:90] = original.iloc[2:90].to_numpy()
    return original, released


def encoded(tables: tuple[pd.DataFrame, pd.DataFrame]) -> tuple[Table, Table]:
    frames = encode(*tables)
    return frames.original, frames.synthetic


def test_the_nearest_rows_are_anonymeters(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    import anonymeter.evaluators  # noqa: F401 - before its neighbours, which import each other in a circle
    from anonymeter.neighbors.mixed_types_kneighbors import MixedTypeKNeighbors

    original, released = encoded(tables)
    with _quiet():
        theirs = MixedTypeKNeighbors(n_neighbors=1, n_jobs=1).fit(tables[1]).kneighbors(tables[0])
    ours, _, tied = nearest(original, released, Scale.of(released), 0)
    assert not tied.any()
    assert np.asarray(theirs).reshape(-1).tolist() == ours[:, 0].tolist()


def test_links_and_guesses_succeed_as_often_as_anonymeters(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    from anonymeter.evaluators import InferenceEvaluator, LinkabilityEvaluator

    original, released = encoded(tables)
    everybody = np.ones(200, bool)
    with _quiet():
        peer = LinkabilityEvaluator(tables[0], tables[1], (["a", "u"], ["b", "c", "v"]), n_attacks=200)
        theirs = peer.evaluate(n_jobs=1).results().n_success
    order = np.random.default_rng(0).permutation(200)
    question = Halves(original.select(("a", "u")), original.select(("b", "c", "v")).take(order))
    claim = find("linkability").run(Release(released), question, None, 0, RECIPIENT)
    ours = judge.links(claim, np.argsort(order), everybody, "true", original.persons)
    assert ours.success.sum() == theirs > 50

    with _quiet():
        peer = InferenceEvaluator(tables[0], tables[1], ["a", "b", "c", "u"], "v", False, 200)
        theirs = peer.evaluate(n_jobs=1).results().n_success
    names = ("a", "b", "c", "u")
    asked = Gaps(original.select(names), original.columns[-1:])
    guess = find("attribute_inference").run(Release(released), asked, None, 0, RECIPIENT)
    assert judge.guesses(guess, asked.secrets, original, everybody, "true", original.persons).success.sum() == theirs


def test_predicates_single_out_as_often_as_anonymeters() -> None:
    from anonymeter.evaluators import SinglingOutEvaluator

    rng = np.random.default_rng(5)
    # A second column keeps rows apart: the peer drops equal rows first, and then they pass for unique people.
    original, released = (pd.DataFrame({"x": rng.integers(0, 400, 300), "y": rng.random(300)}) for _ in range(2))
    with _quiet():
        peer = SinglingOutEvaluator(original, released, n_attacks=10_000).evaluate(mode="univariate")
        theirs = peer.results().n_success
    left, right = encoded((original, released))
    claim = find("singling_out_univariate").run(Release(right), Fields(right.columns, 10_000), None, 0, RECIPIENT)
    ours = judge.predicates(claim, Index.of(left), None, "true", 10_000).success.sum()
    assert ours > 40
    assert abs(ours - theirs) <= 4  # the half-lines at the ends are formed differently


def test_it_is_shown_beside_ours_and_decides_nothing() -> None:
    people = thirds(300, 4)
    plain = evaluate(people.original, people.fresh, people.control, attacks=100, seed=1).result
    both = evaluate(
        people.original, people.fresh, people.control, attacks=100, seed=1, instrument="anonymeter", secrets=["sex"]
    ).result
    assert both.decision.verdict == plain.decision.verdict
    theirs = [f for f in both.findings if f.attack.name.startswith("anonymeter")]
    assert [f.risk for f in theirs] == ["singling_out", "singling_out", "linkability", "attribute_inference"]
    for finding in theirs:
        assert not finding.primary
        assert isinstance(finding.residual, Estimate)
        assert finding.residual.method == "anonymeter 1.1.0"
        assert "Known to differ" in finding.plain


def test_what_it_cannot_evaluate_is_unmeasured_and_ours_goes_on() -> None:
    one = [pd.DataFrame({"x": np.random.default_rng(i).normal(size=60)}) for i in range(3)]
    # One column has two most extreme rows: asked for more predicates, the peer would try a million.
    result = evaluate(*one, attacks=2, instrument="anonymeter").result
    assert any(hasattr(f.measure, "unmeasured") for f in result.findings if f.attack.name.startswith("anonymeter"))


def test_tables_reach_it_with_their_gaps_and_categories() -> None:
    rows = pd.DataFrame({"x": [1.0, np.nan, 3.0], "w": ["a", None, "b"]})
    frame = frame_of(encode(rows, rows).original)
    assert frame["x"].isna().tolist() == [False, True, False]
    assert frame["w"].tolist() == ["a", None, "b"]
