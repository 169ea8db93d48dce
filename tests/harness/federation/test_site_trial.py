"""Site inference under trial: what a shuffle keeps, what the null lets through, and a model that knows who is where."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from testbed.core import Cohort, ModelSpec, Protocol, Threat
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Estimate
from testbed.harness.cells import planned
from testbed.harness.federation.hospital_trial import Hospitals, together
from testbed.harness.federation.replay import replay
from testbed.harness.federation.site_trial import SiteTrial, dealt_within, rank_p
from testbed.harness.run import run
from testbed.harness.scenario import find
from testbed.subjects.federation.federation import Federation

COLUMNS, SITES = 12, 2
KNOWS = frozenset({"architecture", "some_sites", "target_records"})


def people(name: str, site: int, n: int, seed: int) -> Cohort:
    """The first column says something of the hospital, and the second one of the class."""
    rng = keyed_rng(seed, name, site)
    x = rng.random((n, COLUMNS))
    x[:, 0] = 0.7 * x[:, 0] + 0.3 * site
    y = (x[:, 1] + rng.normal(0, 0.2, n) > 0.5).astype(int)
    return Cohort(x.astype(np.float32), y, np.array([f"{name} {site} {i}" for i in range(n)]))


@cache
def trial(seed: int = 0, each: int = 40, trees: int = 20, shuffles: int = 9) -> SiteTrial:
    members, controls, others = (
        [people(name, s, each, seed) for s in range(SITES)] for name in ("members", "controls", "auxiliary")
    )
    model = ModelSpec("mlp", {"shape": [COLUMNS], "classes": 2, "hidden": [8]})
    federation = Federation(model, Protocol("fedavg", 10, 2, learning_rate=0.2, rounds=2, clients=SITES), seed)
    plan = planned(
        "site_inference", primary=True, params={"trees": trees}, target="which hospital, by records and model"
    )
    hospitals = Hospitals(members, controls, others, people("decoys", 0, 10, seed))
    return SiteTrial(hospitals, federation, Threat("recipient", knows=KNOWS), (plan,), shuffles)


def test_a_shuffle_moves_people_of_one_kind_only() -> None:
    site = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    kinds = np.array([5, 5, 7, 5, 5, 7, 7, 9])
    dealt = [dealt_within(site, kinds, keyed_rng(s, "deal")) for s in range(50)]
    for kind in (5, 7, 9):
        for one in dealt:
            assert sorted(one[kinds == kind]) == sorted(site[kinds == kind])
    assert (np.array(dealt)[:, :7] != site[:7]).any(0).all()
    assert site.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


def test_the_p_value_is_a_rank_and_ties_count_against_the_finding() -> None:
    assert rank_p(0.9, [0.5, 0.6, 0.7]) == 1 / 4
    assert rank_p(0.6, [0.5, 0.6, 0.7]) == 3 / 4
    assert rank_p(0.1, [0.5, 0.6, 0.7]) == 1


def test_a_model_that_learnt_who_is_where_is_found_and_one_that_learnt_it_of_shuffled_people_is_not() -> None:
    made = trial(each=60)
    taught = made.taught()
    kinds = made.kinds()
    site = made.site
    others = []
    for number in range(3):
        dealt = dealt_within(site, kinds, keyed_rng(number, "test"))
        everybody = together(made.people.members)
        members = [everybody.take(np.flatnonzero(dealt == s)) for s in range(SITES)]
        others.append(replace(made, people=replace(made.people, members=members)).taught())
    leaky = made.judged({"true": taught, "positive": taught}, others, 0.5).findings[0]
    assert isinstance(leaky.excess, Estimate)
    assert leaky.excess.low > 0
    assert "is 0.25 if" in leaky.plain  # the smallest that three shuffles can give
    assert "explained_by_shuffling" in leaky.validity.flags
    nine = made.judged({"true": taught, "positive": taught}, others * 7, 0.5).findings[0]
    assert "explained_by_shuffling" not in nine.validity.flags
    none = made.judged({"true": others[0], "positive": taught}, [*others[1:], taught], 0.5).findings[0]
    assert "is 0.5 if" in none.plain or "is 0.75 if" in none.plain or "is 1 if" in none.plain


def test_what_records_say_of_hospitals_is_no_leak_of_the_model(tmp_path: Any) -> None:
    done = run(find("site_inference"), {"rounds": 3, "shuffles": 2, "people": 240, "defence": "topk:0.5"})
    decides, answers, alone = done.result.findings
    assert decides.primary
    for one in (decides, answers, alone):
        assert isinstance(one.measure, Estimate)
        assert isinstance(one.excess, Estimate)
        assert one.excess.low < 0 < one.excess.high
    assert decides.measure.value > 0.6  # type: ignore[union-attr]
    assert alone.measure.value > 0.6  # type: ignore[union-attr]
    assert answers.measure.value < 0.6  # type: ignore[union-attr]
    assert "positive_control_failed" not in answers.validity.flags
    assert {u.name.rpartition(", ")[2] for u in done.result.utility} == {
        "without a defence",
        "with topk:share=0.5",
    }
    assert done.result.defences[0].adaptive
    path = tmp_path / "t"
    path.write_bytes(done.outcome.files["true.transcript"])
    with pytest.raises(UsageError, match="TB-REPLAY-040"):
        replay(path, "site_inference")


@pytest.mark.parametrize(
    ("params", "id"),
    [
        ({"data": "support2"}, "TB-SCENARIO-061"),
        ({"clients": 1}, "TB-SCENARIO-061"),
        ({"people": 20}, "TB-SCENARIO-047"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused(params: dict[str, Any], id: str) -> None:
    with pytest.raises(UsageError, match=id):
        run(find("site_inference"), params)


@pytest.mark.slow
def test_two_hundred_nulls_are_called_a_leak_as_rarely_as_the_p_value_says() -> None:
    """The model under attack is itself one whose hospitals were shuffled, so nothing depends on who was where."""
    nulls, shuffles = 200, 9
    p: list[float] = []
    surely = flagged = 0
    for seed in range(nulls):
        made = trial(seed, each=30, trees=10, shuffles=shuffles)
        kinds = made.kinds()
        views = [made.shuffled(kinds, number, "in-process")[0] for number in range(shuffles + 1)]
        plan = made.plans[0]
        rows = [made.named(plan, view, "true") for view in views]
        rates = [float(r.cell("true", "used").success.mean()) for r in rows]
        p.append(rank_p(rates[0], rates[1:]))
        outcome = made.judged({"true": views[0], "positive": views[0]}, views[1:2], 0.5).findings[0]
        assert isinstance(outcome.excess, Estimate)
        surely += outcome.excess.low > 0
        flagged += "split_differs" in outcome.validity.flags
    trial.cache_clear()
    print(f"p <= .1: {np.mean(np.array(p) <= 0.1):.3f}; excess surely above 0: {surely}; split_differs: {flagged}")
    assert np.mean(np.array(p) <= 0.1) < 0.1 + 3 * np.sqrt(0.1 * 0.9 / nulls)
    assert np.mean(np.array(p) <= 0.5) < 0.5 + 3 * np.sqrt(0.25 / nulls)
    assert surely / nulls < 0.05 + 3 * np.sqrt(0.05 * 0.95 / nulls)
    assert flagged / nulls < 0.05
