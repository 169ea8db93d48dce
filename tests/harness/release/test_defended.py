"""The scenario of a released table with its defences, and what filtering near copies leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import testbed as tb
from testbed.core.defence import Exposure, guarantees
from testbed.core.errors import UsageError
from testbed.defences import named
from testbed.defences.tables import drafted
from testbed.findings.plan import UNAWARE
from testbed.findings.schema import Estimate
from testbed.harness.release.defended import defended, worth
from testbed.harness.run import run
from testbed.harness.scenario import find
from tests.conftest import thirds

TINY = {"people": 60, "attacks": 40}


def test_a_released_table_is_attacked_with_its_defence_beside_naive_attackers_and_its_utility() -> None:
    result = run(find("released_table"), {**TINY, "defence": "near_copy_filter+rounding:5"}).result
    assert [d.name for d in result.defences] == ["near_copy_filter", "rounding"]
    assert all(not isinstance(d.epsilon, Estimate) for d in result.defences)
    assert "defence" in result.threat.knows
    naive = [f for f in result.findings if f.target and f.target.startswith(UNAWARE)]
    assert {f.risk for f in naive} >= {"singling_out", "linkability", "attribute_inference", "membership", "copying"}
    assert not any(f.primary for f in naive)
    assert {f.rule for f in naive if f.rule != "TB-MEMBERSHIP-001"} <= {f.rule for f in result.findings if f.primary}
    told = {u.name.rpartition(", ")[2] if "without" in u.name else "with" for u in result.utility}
    assert told == {"without a defence", "with"}
    assert len(result.utility) == 6


def test_a_private_generator_leaves_no_planted_row_and_states_its_epsilon_for_a_replaced_row() -> None:
    result = run(find("released_table"), {**TINY, "defence": "private_synthesis:0.5"}).result
    (stated,) = result.defences
    assert isinstance(stated.epsilon, Estimate)
    assert stated.epsilon.value == 1
    copied = next(f for f in result.findings if f.rule == "TB-COPYING-001")
    assert "copied" not in copied.validity.flags
    assert not [f for f in result.findings if f.target and f.target.startswith(UNAWARE)]  # nothing to know


def test_a_filter_by_the_original_voids_the_guarantee_of_the_table_and_rounding_keeps_it() -> None:
    def epsilons(text: str) -> list[float | None]:
        return [None if g is None else g.epsilon for g in guarantees(named.configured(text), Exposure())]

    assert epsilons("private_synthesis:1+rounding:5") == [2, None]
    assert epsilons("private_synthesis:1+near_copy_filter") == [None, None]


def test_a_copy_with_one_changed_category_passes_the_filter_of_near_copies() -> None:
    people = thirds(200)
    release = people.leaky(0.3)
    release.loc[:59, "sex"] = np.where(release.loc[:59, "sex"] == "f", "m", "f")
    kept = defended(drafted(release, people.original, people.control), named.configured("near_copy_filter")).release
    assert len(kept.merge(release.head(60))) >= 57  # one or two are near to somebody else


def test_who_may_run_the_filter_on_chosen_rows_learns_who_is_in_the_original() -> None:
    """Rows of people in doubt are handed in as a release: what the filter drops was in the original."""
    people = thirds(200)
    asked = pd.concat([people.original.head(50), people.fresh.head(50)], ignore_index=True)
    rule = named.configured("near_copy_filter:0.05")
    kept = defended(drafted(asked, people.original, people.control), rule).release
    members, others = (len(kept.merge(people_)) for people_ in (people.original, people.fresh))
    assert members == 0
    assert others >= 40


def test_utility_of_bands_is_measured_beside_people_in_full_precision() -> None:
    people = thirds(200)
    coarse = defended(drafted(people.fresh), named.configured("bands:60,columns=age/pressure")).release
    fine, banded = (worth(t, people.control, 0, "")[0].measure for t in (people.fresh, coarse))
    assert isinstance(fine, Estimate)
    assert isinstance(banded, Estimate)
    assert banded.value < fine.value - 0.05


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("clip:1", "TB-DEFENCE-021"),
        ("round:1", "TB-DEFENCE-021"),
        ("rounding:5+private_synthesis:1", "TB-DEFENCE-044"),
        ("private_synthesis:1+private_synthesis:2", "TB-DEFENCE-044"),
        ("private_synthesis:0", "TB-DEFENCE-004"),
        ("rounding:0", "TB-DEFENCE-034"),
    ],
)
def test_what_protects_no_table_is_refused_before_anything_is_made(text: str, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        find("released_table")(defence=text).conduct("none", lambda _: None, None)


def test_a_generator_is_no_defence_of_a_table_that_was_made_already() -> None:
    with pytest.raises(UsageError, match="TB-DEFENCE-021") as raised:
        defended(drafted(thirds(30).fresh), named.configured("private_synthesis:1"))
    assert "testbed synthesise" in raised.value.fix


def test_too_few_people_are_refused() -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO-042"):
        find("released_table")(people=20)


@pytest.mark.slow
def test_a_sweep_over_defences_of_a_table_is_compared_by_leak_and_utility(tmp_path: Path) -> None:
    grid = {"defence": ["none", "near_copy_filter", "rounding:20", "private_synthesis:1"]}
    found = tb.sweep("released_table", grid, TINY, workers=1, out=tmp_path / "out", policy="example-open-release")
    assert len(found.comparison.settings) == 4
    formal = {s.name for s in found.comparison.settings if any(p.guarantee == "formal" for p in s.protections)}
    assert len(formal) == 1
    assert found.comparison.recommendation.text
