"""Whom the numbers of a release count, and what several runs, many tests and two kernels make of them."""

from __future__ import annotations

import numpy as np

from testbed.attacks.registry import find
from testbed.core import Column, Records, Release, Table
from testbed.core.tables.index import people_with
from testbed.findings import measures, statistics
from testbed.findings.plan import Plan
from testbed.findings.policy import BUILT_IN, decide, load
from testbed.findings.replicates import over_runs
from testbed.findings.schema import Estimate, Finding, Validity
from testbed.findings.statistics import wilson
from testbed.harness.release.closeness import disclosive, replicated_uniques
from testbed.harness.release.setting import RECIPIENT


def keyed(keys: list[int], persons: list[str]) -> Table:
    column = Column("key", "categorical", tuple("abcdefgh"))
    return Table((column,), (np.array(keys, np.int32),), np.array(persons))


def test_people_are_counted_and_not_their_rows() -> None:
    levels, counts = people_with(np.array([5, 5, 5, 7, 7]), np.array(["p", "p", "q", "r", "r"]))
    assert (levels.tolist(), counts.tolist()) == ([5, 7], [2, 1])
    people = keyed([0, 0, 1, 1, 2, 3], ["p", "p", "q", "q", "r", "s"])  # each unique by the key, two in two rows
    release = keyed([0, 1, 2, 3], ["1", "2", "3", "4"])
    found = replicated_uniques(release, people, ("key",))
    assert (found.value, found.n) == (1.0, 4)
    assert disclosive(release, people, ("key",), "key").n == 4  # not six rows


def rate(
    hits: int, n: int, control: int, name: str = "nearer_than_reference", rule: str = "TB-MEMBERSHIP-001"
) -> Finding:
    plan = Plan(rule=rule, risk="membership", attack=name, metric="rate", unit="person", primary=True)
    made = measures.diagnostic(plan, wilson(hits, n), wilson(control, n), "said")
    return made.model_copy(update={"primary": False, "validity": Validity(ok=True, flags=[])})


def test_runs_that_vary_little_are_no_surer_than_their_guesses() -> None:
    runs = [[rate(hits, 50, 0)] for hits in (0, 0, 0, 0, 1)]
    found = over_runs(runs)[0].measure
    assert isinstance(found, Estimate)
    alone = statistics.t_interval(np.array([0, 0, 0, 0, 0.02]))
    assert found.high > alone.high + 0.015
    assert "own" in found.method


def test_the_declared_membership_attack_alarms_by_itself() -> None:
    """Among forty that inform its excess is surely above the limit by itself, and another's is not for all together."""
    primary = rate(10, 200, 10, "linkability", "TB-LINKABILITY-001").model_copy(
        update={"primary": True, "risk": "linkability"}
    )
    others = [rate(10, 200, 10, "gen_lra", f"TB-MEMBERSHIP-{i:03d}") for i in range(2, 41)]
    for name, alarmed in (("nearer_than_reference", True), ("gen_lra", False)):
        _, decision = decide([primary, rate(50, 200, 20 + 10, name), *others], load(BUILT_IN))
        assert any("informs and does not decide" in r.text for r in decision.reasons) == alarmed


def test_the_density_ratio_ranks_those_whom_a_narrow_kernel_does_not_see() -> None:
    rng = np.random.default_rng(0)

    def table(x: np.ndarray) -> Table:
        columns = tuple(Column(f"x{j}", "numeric") for j in range(x.shape[1]))
        return Table(columns, tuple(x.T), np.array([str(i) for i in range(len(x))]))

    people, others, reference = (rng.normal(size=(200, 8)) for _ in range(3))
    asked = Records(table(np.concatenate([people, others])))
    release = Release(table(people + 0.5 * rng.normal(size=people.shape)))
    scores = find("density_ratio").run(release, asked, table(reference), 0, RECIPIENT).values
    assert len(np.unique(scores)) > 390
    assert statistics.auc(scores[:200], scores[200:]).low > 0.55
