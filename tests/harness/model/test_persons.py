"""People with several rows: verdicts are about people."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from testbed.core import Array, Evidence
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate, Finding, Result
from testbed.harness.model import records_at_risk
from testbed.harness.model.audit import audit_model
from testbed.harness.model.persons import as_many_rows, left_out, mostly, one_each
from testbed.subjects.predictors import load

INPUTS = 8


def visits(people: int, rows: int, seed: int, name: str) -> pd.DataFrame:
    """Visits of people. A person's rows are alike in part, and the class is mostly noise of the visit."""
    rng = keyed_rng(seed, "visits", *name.encode())
    own = np.repeat(rng.normal(size=(people, INPUTS)), rows, axis=0)
    x = own + rng.normal(size=(people * rows, INPUTS))
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(INPUTS)])
    label = (x[:, 0] + 2 * rng.normal(size=len(x)) > 0).astype(int)
    return frame.assign(person=np.repeat([f"{name}{i}" for i in range(people)], rows), outcome=label)


def forest(leaf: int, trained: pd.DataFrame, seed: int = 0) -> RandomForestClassifier:
    made = RandomForestClassifier(60, min_samples_leaf=leaf, max_samples=0.3, random_state=seed)
    return made.fit(trained.drop(columns=["person", "outcome"]), trained["outcome"])


def audited(made: RandomForestClassifier, members: pd.DataFrame, controls: pd.DataFrame, quick: bool = True) -> Result:
    frames = {"members": members, "controls": controls}
    subject = load.from_estimator(made, frames, "outcome", "person")
    return audit_model(subject, list(frames.values()), person="person", shadows=4, quick=quick, data_class="public")[0]


def by_predictions(made: RandomForestClassifier, members: pd.DataFrame, controls: pd.DataFrame, ids: bool) -> Result:
    tables: list[pd.DataFrame] = []
    for arm, t in (("member", members), ("control", controls)):
        p = np.asarray(made.predict_proba(t.drop(columns=["person", "outcome"])))
        tables.append(pd.DataFrame({"id": t.person, "arm": arm, "label": t.outcome, "p_0": p[:, 0], "p_1": p[:, 1]}))
    frame = pd.concat(tables, ignore_index=True)
    if not ids:  # one row of each person
        frame = frame.sample(frac=1, random_state=1).drop_duplicates("id", ignore_index=True)
    subject = load.from_predictions(frame)
    return audit_model(subject, [frame], person="id", quick=True, data_class="public")[0]


def primary(result: Result) -> Finding:
    return next(f for f in result.findings if f.primary)


def excess(result: Result) -> Estimate:
    found = primary(result).excess
    assert isinstance(found, Estimate)
    return found


@pytest.mark.parametrize("shadowed", [True, False])
def test_an_overfitted_model_of_visits_fails_by_person_and_more_surely_than_by_row(shadowed: bool) -> None:
    members, controls = visits(300, 5, 0, "m"), visits(300, 5, 0, "c")
    made = forest(1, members)
    ask = audited if shadowed else partial(by_predictions, ids=True)
    result = ask(made, members, controls)
    found = primary(result)
    assert result.decision.verdict == "fail"
    assert "rows_judged_alone" not in found.validity.flags
    assert isinstance(found.measure, Estimate)
    assert (found.measure.unit, found.measure.n) == ("person", 300)
    first = partial(pd.DataFrame.drop_duplicates, subset="person", ignore_index=True)
    alone = (
        audited(made, first(members), first(controls)) if shadowed else by_predictions(made, members, controls, False)
    )
    assert excess(result).value > excess(alone).value + 0.05


@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 20), marks=pytest.mark.slow)])
def test_a_model_of_nobodys_rows_does_not_fail(seeds: range) -> None:
    """Also where controls have more rows than members: their means vary less."""
    for seed in seeds:
        others = visits(150, 5, seed, "o")
        members, controls = visits(220, 2 if seed % 2 else 5, seed, "m"), visits(220, 5, seed, "c")
        result = by_predictions(forest(1, others, seed), members, controls, True)
        assert result.decision.verdict != "fail"


def test_rows_are_judged_alone_only_where_controls_have_too_few() -> None:
    made = forest(5, visits(100, 5, 1, "o"))
    five, one = (visits(220, rows, 3, "m") for rows in (5, 1))
    other_five, other_one = (visits(220, rows, 3, "c") for rows in (5, 1))
    flags = [
        "rows_judged_alone" in primary(by_predictions(made, members, controls, True)).validity.flags
        for members, controls in ((five, other_five), (one, other_five), (five, other_one))
    ]
    assert flags == [False, False, True]


def several(counts: list[int]) -> tuple[Array, Array]:
    """Persons and memberships of rows; the first half of the people are members."""
    persons = np.repeat([f"p{i}" for i in range(len(counts))], counts)
    return persons, np.repeat(np.arange(len(counts)) < len(counts) // 2, counts)


def test_members_and_controls_count_with_equally_many_rows_a_person() -> None:
    persons, used = several([1, 2, 3, 4, 5, 5, 5, 5, 2, 9])
    counted = as_many_rows(persons, used, 0)
    rows = [sorted(np.unique(persons[side & counted], return_counts=True)[1].tolist()) for side in (used, ~used)]
    assert rows[0] == rows[1] == [1, 2, 3, 4, 5]  # of 2 5 5 5 9 and 1 2 3 4 5 the smaller one at each place
    assert not left_out(counted, used)
    assert as_many_rows(*several([5] * 6), 1).all()
    assert left_out(as_many_rows(*several([5, 5, 1, 1]), 0), several([5, 5, 1, 1])[1])


def test_scores_of_a_persons_rows_are_averaged_in_each_cell() -> None:
    rows = Evidence.join(
        Evidence.rows("true", "used", score=[1, 3, 8], item=[4, 0, 2], cluster=[7, 7, 1]),
        Evidence.rows("true", "unused", score=[2, 5], item=[1, 3], cluster=[3, 3]),
        Evidence.rows("positive", "used", score=[0, 1, 1], item=[4, 0, 2], cluster=[7, 7, 1]),
    )
    made = one_each(rows, np.ones(5, bool))
    assert made.score.tolist() == [2, 8, 3.5, 0.5, 1]
    assert made.item.tolist() == [4, 2, 1, 4, 2]
    assert (made.requested, made.performed) == (2, 2)
    assert one_each(rows, None) is rows
    single = rows.where(np.array([True, False, True, True, False, False, True, True]))
    assert single.of_clusters() is single
    assert one_each(rows, np.array([True, True, True, True, False])).score.tolist() == [3, 8, 3.5, 1, 1]


def test_a_person_is_in_a_group_by_most_of_their_rows() -> None:
    persons = np.array(["a", "a", "a", "b", "b"])
    assert mostly(np.array([1, 1, 0, 1, 0], bool), persons).tolist() == [True, True, True, False, False]


def test_records_at_risk_are_people_where_these_have_several_rows() -> None:
    members, controls = visits(120, 4, 5, "m"), visits(120, 4, 5, "c")
    result = audited(forest(1, members), members, controls, quick=False)
    found = next(f for f in result.findings if f.rule == records_at_risk.OFTEN_PLAN.rule)
    assert isinstance(found.measure, Estimate)
    assert found.measure.unit == "person"
    assert found.measure.value > 0.5
    groups = [f for f in result.findings if f.target in ("class 1 of 2", "class 2 of 2", "outliers")]
    assert {f.measure.unit for f in groups if isinstance(f.measure, Estimate)} == {"person"}
