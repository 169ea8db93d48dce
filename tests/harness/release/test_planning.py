"""What `testbed evaluate --plan` says before anything is synthesised."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from testbed.cli import app
from testbed.core import Column, Table
from testbed.core.errors import UsageError
from testbed.findings import policy
from testbed.harness.release import planning
from testbed.harness.release.control import control_flags

POLICY = policy.load()


def by_risk(original: int, release: int, control: int) -> dict[str, planning.Caught]:
    return {r.risk: r for r in planning.planned(original, release, control, POLICY).risks}


def test_a_plan_reads_several_controls_and_takes_none_for_nobody() -> None:
    assert planning.parse("5_000,4000,200,2000") == (5000, 4000, [200, 2000])
    assert planning.parse("5000,4000") == (5000, 4000, [0])


@pytest.mark.parametrize("text", ["", "5000", "a,b,c", "5000,1,200", "5000,5000,-1", "5000;5000"])
def test_a_plan_that_is_no_numbers_of_people_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="TB-PLAN-001"):
        planning.parse(text)


def test_without_a_control_nothing_is_decided() -> None:
    plan = planning.planned(5000, 5000, 0, POLICY)
    assert not plan.sufficient
    assert all(r.caught is None for r in plan.risks)


def test_more_people_held_out_catch_smaller_leaks_in_every_risk() -> None:
    few, many = by_risk(5000, 5000, 500), by_risk(5000, 5000, 4000)
    for risk, one in few.items():
        other = many[risk]
        assert other.caught is not None
        assert one.caught is None or other.caught < one.caught


def test_membership_is_decided_from_two_thousand_people_on() -> None:
    assert not by_risk(5000, 5000, 1999)["membership"].decides
    assert by_risk(5000, 5000, 2000)["membership"].decides
    assert planning.smallest(5000, 5000, POLICY) == 2000


def test_the_plan_is_as_precise_as_the_intervals_of_an_evaluation_are() -> None:
    # 500 people each, of whom 2 % are linked by chance: the bounds of an excess of 13 lie 3 points around it.
    linked = by_risk(500, 500, 500)["linkability"]
    assert linked.caught == pytest.approx(13.1, abs=0.3)
    assert linked.passed == pytest.approx(5.7, abs=0.3)


def test_a_release_of_few_rows_cannot_have_a_large_leak() -> None:
    # 60 rows of 4,600 people are at most 1.3 % of them, and the limit is 9 points. The rules on copies still decide.
    few = by_risk(4600, 60, 2300)
    assert few["linkability"].caught is None
    assert few["near copies"].caught == pytest.approx(24, abs=8)


@pytest.mark.parametrize("control", [1, 4, 150, 199])
def test_a_control_of_fewer_people_than_any_pass_needs_is_planned_as_review(control: int) -> None:
    rng = np.random.default_rng(7)
    people, others = (
        Table((Column("x", "numeric"),), (rng.normal(size=n),), np.array([f"{k}{i}" for i in range(n)]))
        for k, n in (("m", 300), ("c", control))
    )
    assert "small_control" in control_flags(people, others, rng)  # so an evaluation passes nothing
    risks = by_risk(5000, 5000, control).values()
    assert not any(r.can_pass or r.passed is not None for r in risks)
    told = CliRunner().invoke(app, ["evaluate", "--plan", f"5000,5000,{control},200"]).stdout
    assert f"{control} held out: fewer than 200 people, so every risk is REVIEW" in told
    assert all(r.can_pass for r in by_risk(5000, 5000, 200).values())


def test_the_command_prints_the_plan_and_needs_no_table() -> None:
    run = CliRunner().invoke(app, ["evaluate", "--plan", "5000,5000,200,2000"])
    assert run.exit_code == 0
    assert "Hold out 2,000 people" in run.stdout
    told = json.loads(CliRunner().invoke(app, ["evaluate", "--plan", "5000,5000,200", "--json"]).stdout)
    assert told["hold_out"] == 2000
    assert [p["control"] for p in told["plans"]] == [200]
