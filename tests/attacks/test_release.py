"""Attacks on releases against brute force and tables that can be solved on paper."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.attacks.registry import find
from testbed.attacks.release.attribute_inference import spread, tolerance_of
from testbed.attacks.release.trained_inference import _guess  # pyright: ignore[reportPrivateUsage]
from testbed.core import Column, Condition, Fields, Gaps, Halves, Release, Table
from testbed.core.executor import rows_over
from testbed.core.tables.index import Index
from testbed.core.tables.neighbours import nearest, nearest_without_each
from testbed.core.tables.scale import Scale
from testbed.data.tables.encode import encode
from testbed.harness.release.setting import RECIPIENT
from testbed.report import store
from tests.conftest import Thirds, thirds

NUMERIC, CATEGORICAL = Column("x", "numeric"), Column("w", "categorical", ("a", "b", "c"))


def table(numbers: list[float], codes: list[int]) -> Table:
    persons = np.array([f"p{i}" for i in range(len(numbers))])
    return Table((NUMERIC, CATEGORICAL), (np.array(numbers, float), np.array(codes, np.int32)), persons)


def gower(a: Table, i: int, b: Table, j: int, scale: Scale) -> float:
    """The definition, one pair at a time; the scale's own tests are in `test_scale.py`."""
    total = 0.0
    for column, left, right in zip(a.columns, a.values, b.values, strict=True):
        x, y = float(left[i]), float(right[j])
        if column.kind == "categorical":
            total += x != y
        elif np.isnan(x) or np.isnan(y):
            total += not (np.isnan(x) and np.isnan(y))
        elif scale.axes[column.name].width == 0:
            total += x != y
        else:
            one, other = scale.axes[column.name].places(np.array([x, y]))
            total += min(1.0, abs(one - other))
    return total


def test_nearest_rows_are_the_nearest_by_definition() -> None:
    rng = np.random.default_rng(4)

    def made(n: int) -> pd.DataFrame:
        frame = pd.DataFrame({f"n{i}": rng.normal(size=n).round(1) * 10**i for i in range(4)})
        for i in range(3):
            frame[f"c{i}"] = rng.choice(list("abcd"), n)
        return frame.mask(rng.random(frame.shape) < 0.1)

    frames = encode(made(40), made(90))
    scale = Scale.of(frames.synthetic)
    for k in (1, 3):
        found, distances, tied = nearest(frames.original, frames.synthetic, scale, 7, k)
        for i in range(40):
            every = np.array([gower(frames.original, i, frames.synthetic, j, scale) for j in range(90)])
            assert every[found[i]] == pytest.approx(np.sort(every)[:k], abs=1e-9)
            assert distances[i] == pytest.approx(np.sort(every)[:k], abs=1e-9)
            if (np.diff(np.sort(every)) > 1e-6).all():
                assert not tied[i]


def test_two_gaps_are_no_distance_and_one_is_the_whole() -> None:
    release = table([np.nan, 5.0, 7.0], [0, 0, 0])
    targets = table([np.nan, 6.9], [0, 0])
    found, _, _ = nearest(targets, release, Scale.of(release), 0)
    assert found[:, 0].tolist() == [0, 2]


def test_ties_are_settled_by_chance_and_said() -> None:
    # Every query is as near to half of the rows: a peer's pick then depends on the order of rows.
    release = table([1.0] * 50, [0, 1] * 25)
    targets = table([1.0] * 200, [0] * 200)
    found, _, tied = nearest(targets, release, Scale.of(release), 1)
    assert tied.all()
    assert (release.values[1][found[:, 0]] == 0).all()
    _, _, alone = nearest(targets, table([1.0, 2.0], [0, 1]), Scale.of(release), 1)
    assert not alone.any()


def test_halves_of_a_released_row_meet() -> None:
    release = table([float(i) for i in range(30)], [i % 3 for i in range(30)])
    order = np.random.default_rng(2).permutation(30)
    question = Halves(release.select(("x",)), release.select(("x",)).take(order))
    claim = find("linkability").run(Release(release), question, None, 0, RECIPIENT)
    assert claim.left[:, 0].tolist() == list(range(30))
    assert claim.right[:, 0].tolist() == order.tolist()
    assert claim.tied == 0.0


def test_the_secret_is_that_of_the_nearest_row() -> None:
    release = table([0.0, 10.0, 20.0], [0, 1, 2])
    asked = Gaps(table([1.0, 19.0], [0, 0]).select(("x",)), (CATEGORICAL,))
    assert find("attribute_inference").run(Release(release), asked, None, 0, RECIPIENT).values["w"].tolist() == [0, 2]


def test_a_guess_may_be_off_by_a_share_of_the_spread_whatever_the_sign() -> None:
    values = np.r_[-np.arange(101.0), np.nan]
    assert spread(values) == pytest.approx(90.0)
    release = table(values.tolist(), [0] * 102)
    assert tolerance_of(NUMERIC, release, 0.05) == pytest.approx(4.5)
    assert tolerance_of(CATEGORICAL, release, 0.05) == 0.0
    assert spread(np.array([np.nan])) == 0.0


def test_the_blind_guess_is_the_commonest_category_or_the_median() -> None:
    release = table([1.0, 2.0, 9.0], [2, 2, 0])
    for secret, expected in ((CATEGORICAL, 2.0), (NUMERIC, 2.0)):
        asked = Gaps(table([1.0] * 4, [0] * 4).select(("w" if secret is NUMERIC else "x",)), (secret,))
        claim = find("marginal_guess").run(Release(release), asked, None, 0, RECIPIENT)
        assert claim.values[secret.name].tolist() == [expected] * 4


def test_the_blind_guess_needs_no_index_to_agree() -> None:
    # A peer aligns its baseline by row labels, so that it is wrong or a gap; here no labels exist.
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"x": rng.normal(size=600), "w": rng.choice(list("abcdef"), 600)}, index=range(5000, 5600))
    frames = encode(rows, rows.sample(frac=1, random_state=1))
    asked = Gaps(frames.original.select(("x",)), frames.original.columns[1:])
    claim = find("marginal_guess").run(Release(frames.synthetic), asked, None, 0, RECIPIENT)
    right = (claim.values["w"] == frames.original.values[1]).mean()
    assert right == pytest.approx(rows["w"].value_counts(normalize=True).iloc[0])


def test_every_predicate_fits_exactly_one_released_row() -> None:
    rng = np.random.default_rng(6)
    n = 300
    rows = pd.DataFrame(
        {
            "born": pd.Timestamp("1950-01-01") + pd.to_timedelta(rng.integers(0, 9000, n), "D"),
            "name": rng.choice(["O'Brien", 'the "Rock"', "Åsa", "x,y"], n),
            "lab": np.where(rng.random(n) < 0.3, np.nan, rng.gamma(2, 3, n).round(2)),
            "mixed": [v if i % 3 else str(v) for i, v in enumerate(rng.integers(0, 9, n).tolist())],
        }
    )
    release = encode(rows, rows).synthetic
    for name, fewest in (("singling_out_univariate", 100), ("singling_out_multivariate", 190)):
        claim = find(name).run(Release(release), Fields(release.columns, 200), None, 0, RECIPIENT)
        assert fewest <= len(claim.conjunctions) <= 200
        assert len(set(claim.conjunctions)) == len(claim.conjunctions)
        for conjunction in claim.conjunctions:
            assert release.matching(conjunction).sum() == 1


def test_values_with_quotes_and_dates_can_be_singled_out() -> None:
    # A peer escapes quotes for a query language it no longer uses, and fails on dates.
    rows = pd.DataFrame(
        {
            "name": ["O'Brien", *["common"] * 30],
            "seen": pd.to_datetime(["1999-12-31", *["2001-01-01"] * 30]),
        }
    )
    release = encode(rows, rows).synthetic
    claim = find("singling_out_univariate").run(Release(release), Fields(release.columns, 50), None, 0, RECIPIENT)
    assert {c.column for (c,) in claim.conjunctions} == {0, 1}


def test_the_index_counts_what_the_definition_counts() -> None:
    rng = np.random.default_rng(8)
    n = 200
    rows = pd.DataFrame({"x": rng.normal(size=n).round(1), "y": rng.integers(0, 9, n).astype(float)})
    rows["w"] = rng.choice(list("abc"), n)
    held = encode(rows.mask(rng.random(rows.shape) < 0.1), rows).original
    ops = ("eq", "le", "ge", "missing")
    conjunctions = []
    for _ in range(400):
        columns = rng.choice(3, rng.integers(1, 4), replace=False)
        made = []
        for c in columns:
            op = str(rng.choice(ops if c < 2 else ("eq", "missing")))
            value = float(rng.choice(held.values[c])) if op != "missing" else 0.0
            made.append(Condition(int(c), op, 0.0 if np.isnan(value) or (value < 0 and c == 2) else value))  # type: ignore[arg-type]
        conjunctions.append(tuple(made))
    expected = [int(held.matching(c).sum()) for c in conjunctions]
    assert Index.of(held).counts(conjunctions).tolist() == expected
    assert Index.of(held).counts(conjunctions, 2).tolist() == [min(2, e) for e in expected]

    twice = replace(held, persons=np.arange(n) // 2)
    people = [set((np.flatnonzero(held.matching(c)) // 2).tolist()) for c in conjunctions]
    counts, persons = Index.of(twice).matches(conjunctions, 5)
    assert counts.tolist() == [len(p) if len(p) <= 5 else -1 for p in people]
    parts = np.split(persons, np.cumsum(np.maximum(counts, 0)))
    assert all(set(part.tolist()) == p for part, p in zip(parts, people, strict=False) if len(p) <= 5)


def test_one_pass_over_all_secrets_gives_what_one_search_each_gives() -> None:
    rng = np.random.default_rng(3)

    def made(n: int) -> pd.DataFrame:
        frame = pd.DataFrame(rng.normal(size=(n, 4)).round(3), columns=list("abcd"))
        for name in "xyz":
            frame[name] = rng.choice(list("abcdef"), n)
        return frame.mask(rng.random(frame.shape) < 0.1)

    frames = encode(made(50), made(3000))
    scale, columns = Scale.of(frames.synthetic), frames.original.columns
    found, _ = nearest_without_each(frames.original, frames.synthetic, columns, scale, 5)
    for j, column in enumerate(columns):
        names = tuple(c.name for c in columns if c is not column)
        targets, pool = frames.original.select(names), frames.synthetic.select(names)
        _, distances, _ = nearest(targets, pool, scale, 5)
        for i in range(50):
            assert gower(targets, i, pool, int(found[i, j]), scale) == pytest.approx(distances[i, 0], abs=1e-9)


def test_a_block_of_columns_is_guessed_from_the_others() -> None:
    release = table([0.0, 10.0, 20.0], [0, 1, 2])
    extra = Column("z", "numeric")
    wide = Table((*release.columns, extra), (*release.values, np.array([5.0, 6.0, 7.0])), release.persons)
    asked = Gaps(wide.select(("x",)), (CATEGORICAL, extra))
    claim = find("attribute_inference").run(Release(wide), asked, None, 0, RECIPIENT)
    assert claim.values["w"].tolist() == [0, 1, 2]
    assert claim.values["z"].tolist() == [5.0, 6.0, 7.0]


def test_a_model_learns_a_secret_that_follows_from_the_rest() -> None:
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"x": rng.normal(size=900), "y": rng.normal(size=900)})
    rows["w"] = np.where(rows["x"] + rows["y"] > 0, "high", "low")
    frames = encode(rows.head(300), rows.tail(600).reset_index(drop=True))
    asked = Gaps(frames.original.select(("x", "y")), frames.original.columns[2:])
    claim = find("trained_inference").run(Release(frames.synthetic), asked, None, 0, RECIPIENT)
    assert (claim.values["w"] == frames.original.values[2]).mean() > 0.9


MEMBERSHIP = ["nearest_release_row", "nearer_than_reference", "density_ratio", "gen_lra", "release_classifier"]


@pytest.mark.parametrize("name", MEMBERSHIP)
def test_a_tenth_of_copies_is_recognised_at_one_false_alarm_in_a_hundred(name: str) -> None:
    # The AUC hides such a leak; a low false-positive rate shows it.
    from testbed.core import Records
    from testbed.findings import statistics

    people = thirds(2000, 13)
    frames = encode(people.original, people.leaky(0.1), people.control)
    assert frames.control is not None
    asked, reference = frames.control.take(np.arange(1000)), frames.control.take(np.arange(1000, 2000))
    members = frames.original.take(np.arange(0, 2000, 2))
    pooled = Table(
        members.columns, tuple(map(np.concatenate, zip(members.values, asked.values, strict=True))), np.arange(2000)
    )
    scores = find(name).run(Release(frames.synthetic), Records(pooled), reference, 0, RECIPIENT).values
    threshold = statistics.threshold_at(0.01, scores[1000:])
    found = statistics.wilson(float((scores[:1000] > threshold).sum()), 1000)
    assert found.low > 0.01


def test_without_a_reference_those_that_need_one_are_unavailable() -> None:
    from testbed.core import Records, Unavailable

    release = table([float(i) for i in range(30)], [0] * 30)
    for name in MEMBERSHIP[1:]:
        with pytest.raises(Unavailable):
            find(name).run(Release(release), Records(release), None, 0, RECIPIENT)


def test_counts_alone_give_a_planted_secret_away() -> None:
    # The secret is a coin: no other attribute tells it, and no row need be near to anybody's.
    rng = np.random.default_rng(0)

    def made(n: int) -> pd.DataFrame:
        frame = pd.DataFrame(rng.integers(0, 4, (n, 6))).add_prefix("q").astype(str)
        return frame.assign(secret=rng.choice(["yes", "no"], n))

    original, control, fresh = made(300), made(300), made(300)
    for release, leaks in ((original, True), (fresh, False)):
        frames = encode(original, release, control)
        assert frames.control is not None
        right: list[float] = []
        for people in (frames.original, frames.control):
            asked = Gaps(people.select(tuple(f"q{j}" for j in range(6))), people.columns[-1:])
            claim = find("linear_reconstruction").run(Release(frames.synthetic), asked, None, 0, RECIPIENT)
            right.append(float((claim.values["secret"] == people.values[-1]).mean()))
        assert (right[0] > 0.95) == leaks
        assert right[1] < 0.62


def test_linear_reconstruction_refuses_what_it_cannot_ask() -> None:
    from testbed.core import Unavailable

    release = table([float(i) for i in range(30)], [i % 3 for i in range(30)])
    for secret in (CATEGORICAL, NUMERIC):
        with pytest.raises(Unavailable):
            find("linear_reconstruction").run(Release(release), Gaps(release, (secret,)), None, 0, RECIPIENT)


def test_a_number_of_two_values_is_guessed_as_one_of_them() -> None:
    """Coded 0 and 1/2, or 0 and 1 as hospitals do, sex is no quantity of which something between could be right."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"sex": rng.integers(0, 2, 300) / 2, "height": rng.normal(170, 8, 300)})
    frame["height"] += 24 * frame["sex"]
    people = encode(frame, frame).original
    sex = next(c for c in people.columns if c.name == "sex")
    guessed = _guess(sex, people, people.select(("height",)), 20, 0)
    assert set(np.unique(guessed)) <= {0.0, 0.5}
    assert (guessed == frame["sex"]).mean() > 0.9


@dataclass
class InParts:
    """As a cluster would: parts by themselves, done in any order."""

    workers: int

    def __call__(self, work: Any, shared: Any, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for number in reversed(range(len(jobs))):
            yield number, work(shared, jobs[number])


@pytest.mark.parametrize("workers", [1, 3, 7, 500])
def test_rows_searched_in_parts_give_the_same_answers(workers: int) -> None:
    rng = np.random.default_rng(4)
    n = 300  # of few values, so that many rows tie and some are alike
    rows = pd.DataFrame({"x": rng.integers(0, 4, n).astype(float), "y": rng.integers(0, 9, n).astype(float)})
    rows["w"] = rng.choice(list("abc"), n)
    frames = encode(rows.mask(rng.random(rows.shape) < 0.1), rows)
    release, targets = frames.synthetic, frames.original.take(np.arange(90))
    scale = Scale.of(release)
    for k in (1, 5, n + 1):
        expected = nearest(targets, release, scale, 7, k)
        with rows_over(InParts(workers)):
            found = nearest(targets, release, scale, 7, k)
        for one, other in zip(expected, found, strict=True):
            assert np.array_equal(one, other)
    each = nearest_without_each(targets, release, release.columns, scale, 7)
    with rows_over(InParts(workers)):
        parts = nearest_without_each(targets, release, release.columns, scale, 7)
    assert np.array_equal(each[0], parts[0])
    assert np.array_equal(each[1], parts[1])


@pytest.mark.slow
def test_a_release_is_evaluated_alike_over_ray(hospital: Thirds, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "testbed", "evaluate", "--attacks", "100"]
    for role, frame in vars(hospital).items():
        frame.to_csv(tmp_path / f"{role}.csv", index=False)
    for role, file in (("original", "original"), ("synthetic", "fresh"), ("control", "control")):
        command += [f"--{role}", str(tmp_path / f"{file}.csv")]
    for name, over in (("here", []), ("there", ["--ray", "local"])):
        done = subprocess.run([*command, *over, "--out", str(tmp_path / name)], capture_output=True, text=True)
        assert done.returncode in (0, 1, 3), done.stderr
    one, other = (store.load(tmp_path / name) for name in ("here", "there"))
    assert one.findings == other.findings
