"""Claims against truths that can be worked out on paper."""

from __future__ import annotations

import numpy as np
import pytest

from testbed import judge
from testbed.core import Cohort, Column, Condition, Guesses, Links, Predicates, Reconstruction, Scores, Split, Table
from testbed.core.errors import InputError
from testbed.core.tables.index import Index
from testbed.harness.release.copies import copies
from testbed.judge import image_quality


def cohort(*rows: list[float], start: int = 0) -> Cohort:
    x = np.array(rows, dtype=np.float32)
    return Cohort(x, np.zeros(len(x), dtype=np.int64), np.arange(start, start + len(x)).astype(str))


def table(values: list[float], persons: list[str] | None = None, kind: str = "numeric") -> Table:
    array = np.array(values, dtype=float if kind == "numeric" else np.int32)
    names = persons or [f"p{i}" for i in range(len(values))]
    return Table((Column("a", kind),), (array,), np.array(names))  # type: ignore[arg-type]


CROWD = judge.LineUp(cohort([0.0, 0.0], [1.0, 1.0], [0.5, 0.5], start=100))


def test_matching_undoes_any_order_including_a_cycle_of_five() -> None:
    people = cohort(*[[i / 10, 1 - i / 10] for i in range(5)])
    shuffled = people.x[[1, 2, 3, 4, 0]]
    evidence = judge.reconstruction(Reconstruction({(1, 0): shuffled}), {(1, 0): people}, CROWD, "true", "used")
    assert evidence.success.tolist() == [1.0] * 5
    assert evidence.score.tolist() == [image_quality.PSNR_CAP_DB] * 5


def test_a_missing_reconstruction_is_a_failure_and_not_left_out_of_the_mean() -> None:
    people = cohort([0.1, 0.9], [0.9, 0.1])
    claim = Reconstruction({(1, 0): people.x[:1]})
    evidence = judge.reconstruction(claim, {(1, 0): people, (2, 0): people}, CROWD, "true", "used")
    assert evidence.success.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert (evidence.requested, evidence.performed) == (4, 1)


def test_a_tie_with_look_alikes_counts_its_share() -> None:
    people = cohort([0.5, 0.5])
    evidence = judge.reconstruction(Reconstruction({(1, 0): people.x}), {(1, 0): people}, CROWD, "true", "used")
    assert evidence.success.tolist() == [0.5]


def test_grey_is_no_recovery() -> None:
    people = cohort([0.2, 0.9], [0.7, 0.1])
    grey = np.full((2, 2), 0.5)
    evidence = judge.reconstruction(Reconstruction({(1, 0): grey}), {(1, 0): people}, CROWD, "true", "used")
    assert evidence.success.tolist() == [0.0, 0.0]


def test_a_reconstruction_that_is_not_finite_is_not_performed() -> None:
    people = cohort([0.2, 0.9])
    claim = Reconstruction({(1, 0): np.array([[np.nan, 0.9]])})
    assert judge.reconstruction(claim, {(1, 0): people}, CROWD, "true", "used").performed == 0


def test_psnr_by_hand_and_capped() -> None:
    assert image_quality.psnr(np.array([0.1, 0.0]), np.array([0.0, 0.0])) == pytest.approx(10 * np.log10(1 / 0.005))
    assert image_quality.psnr(np.zeros(2), np.zeros(2)) == image_quality.PSNR_CAP_DB
    assert (
        image_quality.psnr(np.array([7.0]), np.array([1.0])) == image_quality.PSNR_CAP_DB
    )  # clipped to the range first


def test_scores_must_be_finite_and_complete() -> None:
    used = np.array([True, False])
    with pytest.raises(ValueError, match="finite"):
        judge.scores(Scores(np.array([1.0, np.nan])), used, "true")
    with pytest.raises(ValueError, match="finite"):
        judge.scores(Scores(np.array([1.0])), used, "true")


def test_links_meet_where_both_halves_point_to_one_row() -> None:
    claim = Links(np.array([[0], [1], [2]]), np.array([[9], [2], [0]]))
    partner = np.array([2, 0, 1])  # left row 0 belongs to right row 2, and so on
    used = np.array([True, True, False])
    evidence = judge.links(claim, partner, used, "true", np.array(["a", "b", "c"]))
    assert evidence.cell("true", "used").success.tolist() == [1.0, 0.0]
    assert evidence.cell("true", "unused").success.tolist() == [1.0]


def test_numbers_are_right_within_the_tolerance_whatever_their_sign() -> None:
    # A peer divides by the signed guess, so that any negative guess is a hit.
    truth = np.array([3.0, -100.0, -100.0, np.nan, 5.0])
    guess = Guesses({"a": np.array([-100.0, -101.0, -110.0, np.nan, np.nan])}, {"a": 2.0})
    rows = table(truth.tolist())
    evidence = judge.guesses(guess, rows.columns, rows, np.ones(5, bool), "true", np.arange(5))
    assert evidence.cell("true", "used").success.tolist() == [0.0, 1.0, 0.0, 1.0, 0.0]


def test_predicates_are_judged_at_the_size_of_the_smaller_group() -> None:
    members, controls = table([1.0, 2.0, 2.0, 3.0]), table([1.0, 9.0], ["x", "y"])
    claim = Predicates(((Condition(0, "eq", 1.0),), (Condition(0, "eq", 2.0),)))
    evidence = judge.predicates(claim, Index.of(members), Index.of(controls), "true", requested=10)
    # One match of four, two drawn: 1/2. Two matches of four, two drawn, exactly one: 2*2/6 = 2/3.
    assert evidence.cell("true", "used").success == pytest.approx([1 / 2, 2 / 3])
    assert evidence.cell("true", "unused").success == pytest.approx([1.0, 0.0])
    assert (evidence.requested, evidence.performed) == (10, 2)


def test_a_predicate_that_fits_three_of_four_fits_one_of_two_in_half_of_the_samples() -> None:
    members = table([0.0, 0.0, 0.0, 1.0])
    claim = Predicates(((Condition(0, "eq", 0.0),),))
    evidence = judge.predicates(claim, Index.of(members), None, "true", requested=1, sample=2)
    assert evidence.success.tolist() == pytest.approx([0.5])


def test_predicates_about_the_same_person_count_as_fewer() -> None:
    rng = np.random.default_rng(0)
    apart = [Index.of(table(rng.permutation(400)[:200].astype(float).tolist())) for _ in range(2)]
    one_each = Predicates(tuple((Condition(0, "eq", float(v)),) for v in range(400)))
    assert judge.predicates_design(one_each, *apart, np.random.default_rng(1)) == pytest.approx(1, abs=0.25)
    eightfold = Predicates(tuple((Condition(0, "eq", float(v // 8)),) for v in range(400)))
    assert judge.predicates_design(eightfold, *apart, np.random.default_rng(1)) == pytest.approx(8, rel=0.25)
    many, few = (Index.of(table(rng.integers(0, 40, n).astype(float).tolist())) for n in (8000, 80))
    eightfold = Predicates(tuple((Condition(0, "eq", float(v // 8)),) for v in range(320)))
    assert judge.predicates_design(eightfold, many, few, np.random.default_rng(1)) > 3  # each fits some 200 of the many
    unfit = Predicates(((Condition(0, "eq", -1.0),),))
    assert judge.predicates_design(unfit, *apart, np.random.default_rng(1)) == 1


def test_missing_values_satisfy_only_the_missing_condition() -> None:
    rows = table([np.nan, 1.0])
    for op, expected in [("missing", [True, False]), ("le", [False, True]), ("ge", [False, True])]:
        assert rows.matching((Condition(0, op, 1.0),)).tolist() == expected  # type: ignore[arg-type]


def test_a_released_table_that_is_the_original_is_found_even_without_a_control() -> None:
    rows = table([float(i) for i in range(20)] * 3)
    shuffled = rows.take(np.random.default_rng(0).permutation(60))
    assert copies(shuffled, rows, None).whole_table
    assert not copies(shuffled.take(np.arange(59)), rows, None).whole_table
    few = table([float(i % 5) for i in range(60)])
    assert not copies(few, few, None).whole_table  # 5 distinct rows: different people share them


def test_copies_of_unique_members_are_more_than_chance() -> None:
    members, controls = table(list(range(30))), table(list(range(100, 130)), [f"c{i}" for i in range(30)])
    found = copies(table([*range(12), *range(200, 218)]), members, controls)
    assert (found.members_reproduced, found.controls_reproduced) == (12, 0)
    assert found.p_value < 0.001


def test_rows_that_both_groups_share_tell_nothing() -> None:
    members, controls = table([1.0, 2.0, 3.0] * 10), table([1.0, 2.0, 3.0] * 10, [f"c{i}" for i in range(30)])
    found = copies(table([1.0, 2.0, 3.0] * 10), members, controls)
    assert (found.members_reproduced, found.p_value) == (0, 1.0)


def test_nobody_is_in_two_groups() -> None:
    people = cohort([0.1], [0.2])
    with pytest.raises(InputError, match="TB-SPLIT-001"):
        Split(people, people.take([0]), None)


def test_exchanges_that_share_a_person_are_one_cluster() -> None:
    def held(*persons: str) -> Cohort:
        n = len(persons)
        return Cohort(np.zeros((n, 2), np.float32), np.zeros(n, int), np.array(persons))

    truth = {
        (1, 0): held("a", "b"),
        (1, 1): held("c"),
        (2, 0): held("b", "d"),
        (2, 1): held("e"),
        (3, 1): held("d", "c"),
    }
    claim = Reconstruction({key: p.x.astype(float) for key, p in truth.items()})
    found, _ = judge.cells(claim, truth, [1, 1], "true", "used")
    by_exchange = [found.cluster[i] for i in (0, 2, 3, 5, 6)]
    assert by_exchange == [0, 0, 0, 3, 0]
