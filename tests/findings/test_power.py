"""What a test says that it would have caught is what it fails in 4 of 5 simulated cases, for each rule of decision."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from testbed.core import Evidence
from testbed.findings import measures, policy, statistics
from testbed.findings.plan import Plan
from testbed.findings.policy import Policy
from testbed.findings.schema import Estimate, Finding

DRAWS = 200
NEAR = 0.09
"""The simulated share may differ from 4 of 5 by this: three standard deviations of 200 draws."""
LIMIT = 0.03
RULES = Policy("test", "0" * 64, {"linkability": LIMIT, "membership": LIMIT, "singling_out": LIMIT})


def plan(risk: str, **more: object) -> Plan:
    made = Plan(rule="TB-TEST-001", risk=risk, attack="made", metric="rate", unit="record", primary=True)  # type: ignore[arg-type]
    return replace(made, **more)  # type: ignore[arg-type]


def told(finding: Finding) -> tuple[float, float]:
    """The excess that would have been caught, and the one that would have passed, from the reason's sentence."""
    text = policy.decide([finding], RULES)[1].reasons[0].text
    found = re.search(r"caught a leak of ([\d.]+) points or more in 4 of 5 cases", text)
    passes = re.search(r"passed a leak of ([\d.]+) points or less", text)
    assert found
    return float(found[1]) / 100, float(passes[1]) / 100 if passes else -1.0


def fails(finding: Finding) -> bool:
    assert isinstance(finding.excess, Estimate)
    return finding.excess.low > LIMIT


def passes(finding: Finding) -> bool:
    assert isinstance(finding.excess, Estimate)
    return finding.excess.high < LIMIT


def rows(
    view: str, group: str, success: np.ndarray, score: np.ndarray | None = None, cluster: np.ndarray | None = None
):
    return Evidence.rows(view, group, success=success, score=score, cluster=cluster)  # type: ignore[arg-type]


def rates(
    rng: np.random.Generator, over: float, control: float, sizes: tuple[int, int], paired: bool = False
) -> Finding:
    """A finding on rates of a true excess `over`, paired or not, beside a positive control that succeeds."""
    used, unused = sizes
    theirs = rng.random(unused) < control
    mine = rng.random(used) < control + over
    if paired:  # half of the guesses share their fate
        luck = rng.random(used)
        mine, theirs = luck < control + over, np.where(rng.random(used) < 0.5, luck, rng.random(used)) < control
    evidence = Evidence.join(
        rows("true", "used", mine.astype(float)),
        rows("true", "unused", theirs.astype(float)),
        rows("blind", "used", np.zeros(used)),
        rows("positive", "used", np.ones(used)),
    )
    return measures.rates(plan("singling_out" if paired else "linkability"), evidence, paired=paired)


@pytest.mark.parametrize(
    ("size", "control", "paired"), [(600, 0.01, False), (2000, 0.1, False), (2000, 0.5, False), (2000, 0.3, True)]
)
def test_a_leak_that_would_be_caught_fails_in_4_of_5_cases(size: int, control: float, paired: bool) -> None:
    rng = np.random.default_rng(size)
    sizes = (size, size if paired else size // 2)
    caught, passed = told(rates(rng, 0.0, control, sizes, paired))
    failed = [fails(rates(rng, caught, control, sizes, paired)) for _ in range(DRAWS)]
    assert np.mean(failed) == pytest.approx(0.8, abs=NEAR)
    if passed >= 0:
        clear = [passes(rates(rng, passed, control, sizes, paired)) for _ in range(DRAWS)]
        assert np.mean(clear) == pytest.approx(0.8, abs=NEAR)


def test_membership_that_would_be_caught_fails_in_4_of_5_cases() -> None:
    rng = np.random.default_rng(3)

    def finding(over: float) -> Finding:
        """A share of members is recognised for sure; all others score as controls do."""
        scores = rng.normal(size=2000), rng.normal(size=1000)
        sure = rng.random(2000) < over / 0.99
        evidence = Evidence.join(
            rows("true", "used", np.zeros(2000), np.where(sure, 9.0, scores[0])),
            rows("true", "unused", np.zeros(1000), scores[1]),
            rows("positive", "used", np.zeros(2000), rng.normal(9, 1, 2000)),
            rows("positive", "unused", np.zeros(1000), rng.normal(size=1000)),
        )
        return measures.membership(plan("membership", metric="tpr_at_fpr", fpr=0.01), evidence)

    caught = np.median([told(finding(0.0))[0] for _ in range(9)])
    failed = [fails(finding(float(caught))) for _ in range(DRAWS)]
    assert np.mean(failed) == pytest.approx(0.8, abs=NEAR)


@pytest.mark.parametrize("reproduced", [0, 3, 20])
@pytest.mark.parametrize("people", [(2000, 2000), (2000, 500), (500, 2000)])
def test_the_copies_that_would_be_caught_are_significant_in_4_of_5_cases(
    people: tuple[int, int], reproduced: int
) -> None:
    members, controls = people
    copied = statistics.copied_people(people, reproduced, 0.001, comparisons=2)
    assert copied is not None
    rng = np.random.default_rng(4)

    def share(planted: int) -> float:
        mine = planted + rng.poisson(reproduced * members / controls, DRAWS)
        theirs = rng.poisson(reproduced, DRAWS)
        chance = [statistics.labels_by_chance(m, m + c, members, controls) for m, c in zip(mine, theirs, strict=True)]
        return float(np.mean(2 * np.array(chance) < 0.001))

    assert share(copied) >= 0.8 - NEAR
    assert share(max(0, copied - 3)) < 0.8 + NEAR


def test_too_few_controls_for_the_test_on_copies_catch_nothing() -> None:
    assert statistics.copied_people((5000, 0), 0, 0.001) is None
    assert statistics.copied_people((20, 2), 0, 0.001) is None  # 1 in 231 by chance


@pytest.mark.parametrize("people", [(2000, 2000), (2000, 1000)])
def test_as_many_near_copies_as_would_be_caught_fail_in_4_of_5_cases(people: tuple[int, int]) -> None:
    members, controls = people
    sizes = [10, 15, 20, 30, 40, 60] if members == controls else [10, 15, 20, 30, 40, 60, 80]
    sure = statistics.nearest_people(sizes, people, 0.001)
    assert sure is not None
    rng = np.random.default_rng(5)

    def share(near: int) -> float:
        found = []
        for _ in range(DRAWS):
            used = np.r_[np.ones(near), rng.random(max(sizes)) < members / (members + controls)]
            chances = [
                len(sizes) * statistics.labels_by_chance(int(used[:n].sum()), n, members, controls) for n in sizes
            ]
            found.append(min(chances) < 0.001)
        return float(np.mean(found))

    assert share(sure) >= 0.8
    assert share(sure - 4) < 0.8 + NEAR


def test_the_effective_number_of_guesses_is_read_off_an_interval() -> None:
    for value, n in ((0.0, 300), (0.3, 450), (1.0, 2000)):
        rate = statistics.wilson(value * n, n)
        assert statistics.precision(rate, rate, statistics.excess(rate, rate)).members == pytest.approx(n, abs=1)
