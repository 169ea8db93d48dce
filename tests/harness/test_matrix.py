"""The words of the matrix of attackers and defences, and which pairs make sense: no training."""

from __future__ import annotations

import pytest

from scenarios.defence_matrix import ATTACKERS, USUAL
from testbed.core import Unavailable
from testbed.findings.schema import Estimate, Finding, Unmeasured, Utility
from testbed.harness.cells import planned, unmeasured
from testbed.harness.matrix import Judgement, Price, cheapest, summary


def number(value: float, low: float, high: float, metric: str = "excess") -> Estimate:
    return Estimate(metric=metric, value=value, low=low, high=high, level=0.95, method="made up", unit="record", n=9)  # type: ignore[arg-type]


def finding(value: float, low: float, high: float, *flags: str) -> Finding:
    bare = unmeasured(planned("analytic_linear"), Unavailable("none", "nothing")).finding
    measured = {"measure": number(value, low, high, "rate"), "excess": number(value, low, high)}
    validity = bare.validity.model_copy(update={"flags": list(flags)})
    return bare.model_copy(update={**measured, "validity": validity})


FREE, DEAR = Price(0.0), Price(0.2)
READS = {
    "none": Judgement(finding(0.9, 0.8, 1.0), FREE),
    "clip": Judgement(finding(0.9, 0.8, 1.0), FREE),
    "noise": Judgement(finding(0.0, 0.0, 0.05), DEAR),
    "filter": Judgement(finding(0.0, 0.0, 0.05, "naive_attacker"), FREE),
    "cut": Judgement(finding(0.08, 0.0, 0.2), FREE),
}


def test_each_defence_is_said_to_stop_an_attacker_not_to_or_not_for_certain() -> None:
    assert {d: j.verdict(0.1) for d, j in READS.items()} == {
        "none": "not stopped",
        "clip": "not stopped",
        "noise": "stopped",
        "filter": "open",  # only an attacker who does not know it was run
        "cut": "open",
    }
    lines = summary({"a reader": READS}, 0.1)
    assert lines[1].startswith("a reader. Without a defence: right for 90 % of people used, excess 90 points")
    assert "Stopped by: noise: 0 points (0 to 5); costs 20 points of use." in lines[1]
    assert "Not stopped by: clip: 90 points (80 to 100); costs nothing measurable." in lines[1]
    assert "filter: 0 points (0 to 5), naive attacker; costs nothing measurable" in lines[1]


def test_the_cheapest_defence_is_the_one_that_stops_most_at_the_smallest_loss() -> None:
    other = {"none": READS["none"], "noise": READS["noise"], "mask": Judgement(finding(0, 0, 0.01), FREE)}
    text = cheapest({"a reader": READS, "another": other}, 0.1)
    assert "noise stops most: 2 of 2" in text
    assert "20 points" in text
    alone = cheapest({"a reader": {"none": READS["none"], "clip": READS["clip"]}}, 0.1)
    assert "Nothing can be recommended" in alone
    assert "needs a defence" in cheapest({"nobody": {"none": Judgement(finding(0, 0, 0.01), FREE)}}, 0.1)


def test_a_price_is_the_largest_loss_of_use_or_the_false_alarms() -> None:
    def told(name: str, value: float) -> Utility:
        return Utility(name=name, measure=number(value, value, value, "rate"))

    both = [told("accuracy, without a defence", 0.8), told("accuracy, with clip", 0.7)]
    assert Price.of(both).lost == pytest.approx(0.1)
    lost = Utility(name="accuracy, with clip", measure=Unmeasured(unmeasured="diverged", needs="less noise"))
    assert Price.of([both[0], lost]).lost == 1
    assert Price.of([told("honest rounds with an alarm of weight_law", 0.02)]) == Price(0.0, 0.02)
    assert Price.of([]).lost is None


def test_defences_are_run_against_those_who_may_meet_them() -> None:
    names = [d.strip() for d in USUAL.split(";")]
    under = {name: [d for d in names if a.under(d)] for name, a in ATTACKERS.items()}
    assert "central_dp:1" in under["a client that reads models"]
    assert "central_dp:1" not in under["a server that reads updates"]  # it sees updates before its own rule
    assert under["a recipient of the model"] == ["none", "dpsgd:8", "round:1"]
    assert under["a recipient of a synthetic table"] == ["none", "private_synthesis:1", "near_copy_filter"]
    assert under["a server that lies about who dropped out"] == ["secagg", "secagg+consistent_unmasking"]
    guards = next(d for d in names if d.startswith("guards="))
    assert [name for name, u in under.items() if guards in u] == ["a server that changes the model"]
    asked = ATTACKERS["a server that changes the model"].params(guards, "minutes")
    assert asked == {"guards": guards.removeprefix("guards=")}
    assert ATTACKERS["a server that lies about who dropped out"].params("secagg", "minutes")["check"] is False
