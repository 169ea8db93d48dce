"""Shadow releases: an attacker with the generator finds what it copies, and nothing where nothing is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.attacks.registry import find
from testbed.core import Records, Release, Table, Unavailable
from testbed.core.errors import UsageError
from testbed.core.randomness import keyed_rng
from testbed.data.tables.decoding import coded, decoded
from testbed.data.tables.encode import encode
from testbed.findings.schema import Estimate, Finding
from testbed.harness.recipes import Remembered
from testbed.harness.release.generator import INSIDER, Groups, achilles_heels, attacking, known_generator
from testbed.harness.run import run
from testbed.harness.scenario import find as find_scenario


def attacked(seed: int = 4, **params: object) -> dict[str, Finding]:
    done = run(find_scenario("known_generator"), {"generator": "independent_marginals", **params}, seed=seed)
    return {f.attack.name: f for f in done.result.findings if f.rule < "TB-MEMBERSHIP-100"}


def test_a_copying_generator_is_found_out_by_everyone_and_the_split_is_fair() -> None:
    found = attacked(planted_share=0.3)
    assert set(found) == set(attacking())
    for finding in found.values():
        assert isinstance(finding.excess, Estimate)
        assert finding.excess.low > 0
        assert not {"split_differs", "positive_control_failed"} & set(finding.validity.flags)
        # The blind cell is a release of other people, and about as good as guessing.
        assert isinstance(finding.baseline, Estimate)
        assert finding.baseline.low < 0.15


def test_the_same_seed_gives_the_same_figures() -> None:
    first, again = attacked(people=200), attacked(people=200)
    assert [f.model_dump() for f in first.values()] == [f.model_dump() for f in again.values()]


def test_a_table_goes_to_pandas_and_back() -> None:
    frame = pd.DataFrame(
        {
            "age": [1.5, np.nan, 3.0, 4.0],
            "ward": ["a", "b", None, "a"],
            "day": ["2020-01-01", None, "2021-05-05", "2022-01-01"],
            "flag": [True, False, True, True],
        }
    )
    table = encode(frame, frame).original
    back = coded(decoded(table), table.columns)
    for one, other in zip(table.values, back.values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_heels_are_those_far_from_everybody() -> None:
    frame = pd.DataFrame({"x": np.r_[np.linspace(0, 1, 40), 50.0], "y": np.r_[np.linspace(0, 1, 40), -50.0]})
    other = pd.DataFrame({"x": np.linspace(0, 1, 41) + 0.001, "y": np.linspace(0, 1, 41)})
    made = encode(frame, frame, other)
    assert made.control is not None
    heels = achilles_heels(made.original, made.control, 1)
    assert sorted(heels.used.tolist()) == [False, True]
    assert heels.table.take(np.flatnonzero(heels.used)).values[0][0] == 50.0


def test_a_recipe_that_remembers_runs_once_for_the_same_people() -> None:
    frame = pd.DataFrame({"x": np.arange(6.0)})
    table, calls = encode(frame, frame).original, []

    def recipe(people: object, rng: object, act: object = None) -> Release:
        calls.append(people)
        return Release(table)

    kept = Remembered(recipe, 0)
    kept(table, keyed_rng(0, "a"))
    kept(table, keyed_rng(0, "b"))
    kept(table.take([0, 1]), keyed_rng(0, "a"))
    assert len(calls) == 2


def test_without_the_generator_it_is_unavailable() -> None:
    frame = pd.DataFrame({"x": np.arange(6.0)})
    table = encode(frame, frame).original
    for name in ("shadow_features", "shadow_ratio"):
        with pytest.raises(Unavailable, match="generator"):
            find(name).run(Release(table), Records(table), table, 0, INSIDER)


def test_what_an_attack_is_handed_holds_nothing_of_the_release_that_it_attacks() -> None:
    groups, seen = small_groups(), []

    def recipe(people: Table, rng: np.random.Generator, act: object = None) -> Release:
        seen.append(set(people.persons.tolist()))
        return Release(people)

    known_generator(groups, recipe, 20, 4, 0, lambda _: None)
    named = {str(p) for p in groups.members.persons}
    assert sum(s == named for s in seen) == 1, "the true release is made once, by the harness"
    # Shadows hold the attacker's own people and numbered targets; four serve all attacks and both views.
    shadows = [s for s in seen if any(p.startswith("asked") for p in s)]
    assert len(shadows) == 4
    assert not any(s & named for s in shadows)


def test_all_rows_of_a_person_are_in_a_shadow_or_none() -> None:
    groups = small_groups()
    people = Table(groups.members.columns, groups.members.values, np.repeat([f"p{i}" for i in range(20)], 3))
    counted: list[list[int]] = []

    def recipe(given: Table, rng: np.random.Generator, act: object = None) -> Release:
        names, rows = np.unique(given.persons, return_counts=True)
        counted.append([int(n) for p, n in zip(names, rows, strict=True) if p.startswith("asked")])
        return Release(given)

    find("shadow_ratio").run(Release(people), Records(people), groups.auxiliary, 0, INSIDER, {"shadows": 4}, recipe)
    assert [len(c) for c in counted] == [10] * 4
    assert {n for c in counted for n in c} == {3}


def test_an_odd_number_of_shadows_and_too_few_people_are_said_to_be_so() -> None:
    groups = small_groups()

    def recipe(people: Table, rng: np.random.Generator, act: object = None) -> Release:
        return Release(people)

    found, kept = known_generator(groups, recipe, 20, 5, 0, lambda _: None)
    assert "few_shadows" in found[0].validity.flags
    assert "TB-MEMBERSHIP-006" not in kept
    with pytest.raises(UsageError, match="TB-SCENARIO-017"):
        attacked(targets=0)


def small_groups() -> Groups:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(240, 3)), columns=list("xyz"))
    table = encode(frame, frame).original
    return Groups(*(table.take(np.arange(60 * i, 60 * (i + 1))) for i in range(4)))
