"""No number of a report describes fewer people than the policy allows, in whatever arm they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from testbed.findings import small_cells
from testbed.findings.assemble import decided
from testbed.findings.schema import Estimate, Series, Subject, Unmeasured, Utility
from testbed.harness.release.evaluate import evaluate
from tests.conftest import thirds
from tests.findings.test_policy import LIMITS, finding


def rates(value: Any) -> Iterator[dict[str, Any]]:
    """Every estimate in a dumped result."""
    if isinstance(value, dict):
        if "n" in value and "unit" in value:
            yield value
        for inner in value.values():
            yield from rates(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from rates(inner)


@pytest.mark.parametrize(("members", "controls"), [(4, 5), (60, 3), (9, 60), (10, 10)])
def test_no_rate_of_an_evaluation_is_over_fewer_people(members: int, controls: int) -> None:
    people = thirds(60, seed=3)
    original, control = people.original.head(members), people.control.head(controls)
    result = evaluate(original, people.fresh, control, attacks=40).result
    assert result.subject.data_class == "real"
    small = [r for r in rates(result.dump()) if r["n"] < 10 and r["unit"] in small_cells.OF_PEOPLE]
    assert small == []
    hidden = [f for f in result.findings if getattr(f.measure, "unmeasured", "") == "small_group"]
    assert all(f.verdict != "pass" for f in hidden)
    assert hidden or members >= 10


def test_at_the_size_of_a_cell_a_rate_is_shown_and_below_it_no_excess_is_left() -> None:
    shown = finding(2, 1)
    measure = shown.measure.model_copy(update={"n": 10, "unit": "person"})
    assert small_cells.without([shown.model_copy(update={"measure": measure})], 10, {})[0].measure == measure
    below = measure.model_copy(update={"n": 9})
    for arm in ("measure", "control"):
        (made,) = small_cells.without([shown.model_copy(update={arm: below})], 10, {})
        assert all(isinstance(m, Unmeasured) for m in (getattr(made, arm), made.excess, made.residual))
        assert made.validity == shown.validity
        assert made.series == []
    (made,) = small_cells.without([shown.model_copy(update={"baseline": below})], 10, {})
    assert (made.excess, made.plain) == (shown.excess, shown.plain)
    batches = measure.model_copy(update={"n": 3, "unit": "batch"})
    assert small_cells.without([shown.model_copy(update={"measure": batches})], 10, {})[0].measure == batches


def test_between_two_points_of_a_curve_lie_as_many_controls_as_a_cell_has() -> None:
    x = [i / 40 for i in range(41)]
    series = Series(name="r", kind="roc", x_label="x", y_label="y", x=x, y=[v**0.5 for v in x])
    n = finding(2, 1).control.model_copy(update={"n": 40, "unit": "person"})
    bars = series.model_copy(update={"kind": "lines"})
    (made,) = small_cells.without([finding(2, 1).model_copy(update={"control": n, "series": [series, bars]})], 10, {})
    assert made.series[0].x == [0, 0.25, 0.5, 0.75, 1]
    assert made.series[0].y == [series.y[i] for i in (0, 10, 20, 30, 40)]
    assert made.series[1] == bars


SUBJECT = Subject(type="model", name="a clinic's model", data_class="real", licence="none", size_band="few")


@pytest.mark.parametrize("primary", [True, False])
def test_what_was_found_among_few_people_still_stops_a_release(primary: bool) -> None:
    leak = finding(8, 0, n=8).model_copy(update={"primary": primary, "target": "a record"})
    fine = finding(20, 20)
    judged, decision = decided([fine, leak], LIMITS, SUBJECT)
    assert decision.verdict == ("fail" if primary else "review")
    assert isinstance(judged[1].excess, Unmeasured)
    assert small_cells.hidden(judged[1])
    assert "100" not in " ".join(r.text for r in decision.reasons if r.rule == leak.rule and "few" in r.text)
    assert decided(judged, LIMITS, SUBJECT) == (judged, decision)  # as whoever receives the file decides again
    assert (
        decided([fine, leak], LIMITS, SUBJECT.model_copy(update={"data_class": "public"}))[0][1].excess == leak.excess
    )


def test_a_policy_with_a_larger_cell_hides_more_and_keeps_the_verdict() -> None:
    leak = finding(30, 0, n=30)
    judged, decision = decided([leak], LIMITS, SUBJECT)
    assert isinstance(judged[0].excess, Estimate)
    coarser, again = decided(judged, replace(LIMITS, min_cell=40), SUBJECT)
    assert isinstance(coarser[0].excess, Unmeasured)
    assert decision.verdict == again.verdict == "fail"


def test_usefulness_is_not_measured_on_few_people() -> None:
    few, enough = (finding(n, 0, n=n).measure for n in (9, 10))
    shown = small_cells.usefulness([Utility(name="accuracy", measure=m) for m in (few, enough)], 10)
    assert [isinstance(u.measure, Estimate) for u in shown] == [False, True]
