"""Settings are compared by paired runs, and a recommendation names only what the policy and all bounds allow."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from testbed.core.errors import UsageError
from testbed.findings import statistics
from testbed.findings.comparison import pairs
from testbed.findings.comparison.batches import Batch, Loaded, own_utility
from testbed.findings.comparison.compare import compare
from testbed.findings.comparison.schema import Comparison, Setting
from testbed.findings.policy import Policy
from testbed.findings.schema import Defence, Estimate, Result, Unmeasured, Utility
from testbed.findings.statistics import Interval
from testbed.harness.run import run
from testbed.harness.scenario import find
from tests.harness.sweep.test_sweep import TINY

POLICY = Policy("a limit of 20 points", "0" * 64, {"reconstruction": 0.2})
SEEDS = range(5)


@cache
def result(protection: str, seed: int = 0, people: int = 300) -> Result:
    return run(find(str(TINY)), {"protection": protection, "people": people}, seed=seed).result


def batch(protection: str, seeds: range = SEEDS, people: int = 300, **params: object) -> Batch:
    def load() -> list[Loaded]:
        return [Loaded(seed, result(protection, seed, people), 1.0) for seed in seeds]

    return Batch("tiny", {"protection": protection, **params}, load)


def altered(one: Batch, **changes: object) -> Batch:
    """The same batch with other defences or another utility in its results."""
    return replace(one, load=lambda: [replace(x, result=x.result.model_copy(update=changes)) for x in one.load()])


def made(*batches: Batch, policy: Policy | None = POLICY) -> Comparison:
    return compare(batches, [], policy, 0.0)


def by_name(compared: Comparison) -> dict[str, Setting]:
    return {s.name: s for s in compared.settings}


def test_the_cheapest_setting_that_meets_the_policy_is_recommended() -> None:
    harsh = altered(batch("strong", kind="harsh"), utility=[])
    found = made(batch("none"), batch("weak"), batch("strong"))
    assert [(s.name, s.verdict) for s in found.settings] == [
        ("protection=none", "fail"),
        ("protection=strong", "pass"),
        ("protection=weak", "fail"),
    ]
    assert (found.decision.verdict, found.recommendation.setting) == ("pass", "protection=strong")
    assert "70.0 %" in found.recommendation.text
    assert "20.0 points less than under protection=none" in found.recommendation.text
    assert any("no formal guarantee" in c for c in found.recommendation.cautions)
    both = made(batch("none"), batch("strong", kind="mild"), harsh)
    assert both.decision.verdict == "review"
    assert "costs least cannot be told, because their utility was not measured" in both.recommendation.text


def test_of_two_that_meet_the_policy_the_more_useful_is_recommended() -> None:
    useful = statistics.wilson(280, 300)
    from testbed.findings.measures import estimate

    name = "accuracy on people of nobody's training data"
    better = altered(
        batch("strong", kind="b"), utility=[Utility(name=name, measure=estimate("rate", useful, "person"))]
    )
    found = made(batch("strong", kind="a"), better)
    assert found.recommendation.setting == "kind=b"
    assert {s.name: s.leaks[0].dominated for s in found.settings} == {"kind=a": True, "kind=b": False}


def test_a_settings_utility_is_that_with_its_defence() -> None:
    measure = Unmeasured(unmeasured="diverged", needs="x")
    told = ("accuracy, without a defence", "accuracy, with gaussian:1, epsilon 3", "accuracy, if everybody is ill")
    uses = [Utility(name=name, measure=measure.model_copy(update={"needs": name})) for name in told]
    own = {u.name: getattr(u.measure, "needs", "") for u in own_utility(uses)}
    assert own == {"accuracy": told[1], told[2]: told[2]}
    assert {u.name for u in own_utility(uses[:1])} == {"accuracy"}


def test_that_no_setting_meets_the_policy_is_said_with_the_nearest() -> None:
    found = made(batch("none"), batch("weak"))
    assert (found.decision.verdict, found.recommendation.setting) == ("fail", None)
    assert "None of the 2 settings" in found.recommendation.text
    assert "The nearest is protection=weak" in found.recommendation.text


def test_what_cannot_be_told_is_a_review() -> None:
    found = made(batch("none"), batch("strong", range(1), people=40))
    assert found.decision.verdict == "review"
    assert "It cannot be told" in found.recommendation.text


def test_a_bound_for_all_settings_together_is_needed_to_meet_the_policy() -> None:
    many = [batch("strong", kind=f"{n}") for n in range(40)]
    leak = made(*many).settings[0].leaks[0]
    assert isinstance(leak.excess, Estimate)
    assert leak.upper is not None
    between = replace(POLICY, limits={"reconstruction": (leak.excess.high + leak.upper) / 2})
    assert made(batch("strong"), policy=between).decision.verdict == "pass"
    together = made(*many, policy=between)
    assert {s.verdict for s in together.settings} == {"pass"}
    assert together.decision.verdict == "review"
    assert "holds for all 40 settings together" in together.recommendation.text


def test_a_defence_that_only_naive_attackers_tried_is_left_to_a_person() -> None:
    none = Unmeasured(unmeasured="no_guarantee", needs="an accountant")
    naive = altered(batch("strong"), defences=[Defence(name="filter", params={}, epsilon=none, adaptive=False)])
    found = made(batch("none"), naive)
    assert (found.decision.verdict, found.recommendation.setting) == ("review", "protection=strong")
    assert any("An attacker that knows it may find more" in c for c in found.recommendation.cautions)
    knowing = altered(batch("strong"), defences=[Defence(name="filter", params={}, epsilon=none, adaptive=True)])
    assert made(batch("none"), knowing).decision.verdict == "pass"
    assert by_name(found)["protection=strong"].protections[0].adaptive is False


def test_without_a_policy_nothing_is_recommended() -> None:
    found = made(batch("none"), batch("strong"), policy=None)
    assert (found.decision.verdict, found.recommendation.setting) == ("none", None)


def test_a_setting_is_judged_by_its_strongest_attack() -> None:
    weaker, stronger = (replace(batch(p), params={"kind": "x", "attack": p}) for p in ("strong", "none"))
    found = made(weaker, stronger, replace(batch("strong"), params={"kind": "y", "attack": "strong"}))
    setting = by_name(found)["kind=x"]
    assert (setting.verdict, setting.leaks[0].attacks) == ("fail", 2)
    excess = setting.leaks[0].excess
    assert isinstance(excess, Estimate)
    assert excess.value > 0.8
    assert len([e for e in found.matrix if e.setting == "kind=x"]) == 2


def test_two_to_four_runs_decide_nothing() -> None:
    found = made(batch("none"), batch("strong", range(3)))
    excess = by_name(found)["protection=strong"].leaks[0].excess
    assert isinstance(excess, Unmeasured)
    assert excess.unmeasured == "few_runs"
    assert found.decision.verdict == "review"
    assert found.differences[0].adjusted_p is None


def test_costs_and_differences_are_those_of_paired_runs() -> None:
    found = made(batch("none"), batch("weak"))
    difference = found.differences[0]
    values = [
        [f.excess.value for f in result(p, s).findings if isinstance(f.excess, Estimate)]
        for p in ("none", "weak")
        for s in SEEDS
    ]
    apart = np.array(values[:5]) - np.array(values[5:])
    assert isinstance(difference.difference, Estimate)
    assert difference.difference.value == pytest.approx(float(apart.mean()), abs=1e-3)
    assert difference.difference.n == 5
    cost = by_name(found)["protection=weak"].utility[0].cost
    assert isinstance(cost, Estimate)
    assert cost.value == pytest.approx(0.05, abs=1e-6)


def test_the_order_of_runs_changes_nothing_but_the_four_exempt_fields() -> None:
    batches = [batch("none"), batch("weak"), batch("strong")]
    one, other = made(*batches), made(*batches[::-1])
    exempt = {"id", "created", "duration_s", "environment"}
    first, second = one.dump(), other.dump()
    for dumped in (first, second):
        dumped["run"] = {k: v for k, v in dumped["run"].items() if k not in exempt}
    assert first == second


def test_a_run_that_stands_in_two_places_counts_once() -> None:
    twice = replace(batch("none"), load=lambda: [*batch("none").load(), *batch("none").load()])
    assert made(twice).settings[0].runs == 5


def test_no_run_at_all_is_an_error() -> None:
    with pytest.raises(UsageError, match="TB-COMPARE-001"):
        made(replace(batch("none"), load=list))


NAMES = [f"s{i}" for i in range(7)]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(list(itertools.combinations(NAMES, 2)))))
def test_names_share_a_letter_exactly_if_they_could_not_be_distinguished(distinct: set[tuple[str, str]]) -> None:
    found = statistics.letters(NAMES, sorted(distinct))
    assert found is not None
    for one, other in itertools.combinations(NAMES, 2):
        assert bool(set(found[one]) & set(found[other])) == ((one, other) not in distinct)


def test_letters_of_a_worked_example() -> None:
    # Piepho 2004: a chain in which only the ends differ
    assert statistics.letters(["x", "y", "z"], [("x", "z")]) == {"x": "a", "y": "ab", "z": "b"}
    assert statistics.letters(["x", "y"], []) == {"x": "a", "y": "a"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_dominated_as_by_its_definition(values: list[tuple[int, int]]) -> None:
    points = [(str(i), float(a), float(b)) for i, (a, b) in enumerate(values)]
    slow = {
        name
        for name, leak, use in points
        if any(a <= leak and b >= use and (a < leak or b > use) for _, a, b in points)
    }
    assert pairs.dominated(points) == slow


def exact(value: float) -> Interval:
    return Interval(value, value, value, 0.9, "exact", 100)


def test_a_paired_difference_is_students() -> None:
    one, other = [0.5, 0.6, 0.55, 0.7, 0.65], [0.4, 0.45, 0.5, 0.52, 0.51]
    found, p = statistics.paired_difference([exact(v) for v in one], [exact(v) for v in other])
    expected = stats.ttest_rel(one, other)
    assert p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_few_runs_that_agree_by_chance_do_not_narrow_a_difference() -> None:
    wide = [Interval(0.1, -0.2, 0.4, 0.9, "newcombe", 20)] * 5
    found, p = statistics.paired_difference(wide, [exact(0.0)] * 5)
    assert found.high - found.low > 0.2
    assert p > 0.1


@pytest.mark.parametrize("value", [0.02, 0.1, 0.3])
def test_the_p_value_of_two_single_runs_agrees_with_their_interval(value: float) -> None:
    one, other = Interval(value, value - 0.1, value + 0.1, 0.9, "newcombe", 50), exact(0.0)
    found, p = statistics.difference(one, other)
    assert (p < 0.05) == (found.low > 0)


def test_an_upper_bound_for_one_setting_is_the_intervals_own_and_grows_with_their_number() -> None:
    over = Interval(0.1, 0.0, 0.2, 0.9, "t over runs", 5)
    bounds = [statistics.upper_bound_of_many(over, n) for n in (1, 5, 50)]
    assert bounds[0] == pytest.approx(0.2)
    assert bounds == sorted(bounds)
    expected = 0.1 + 0.1 * stats.t.ppf(1 - 0.05 / 5, 4) / stats.t.ppf(0.95, 4)
    assert bounds[1] == pytest.approx(expected)
