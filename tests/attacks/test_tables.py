"""Cells of tables: relaxed, voted on, judged by hand-made cases, and beaten marginal guessing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from testbed import judge
from testbed.attacks.inversion.tabular_inversion import pooled, relaxed
from testbed.attacks.registry import find as find_attack
from testbed.core import Cohort, Reconstruction
from testbed.data.cohorts import source
from testbed.findings.schema import Estimate
from testbed.harness.federation.assess import marginal_guess
from testbed.harness.run import run
from testbed.harness.scenario import find
from testbed.judge.reconstructions import same_cells

BLOCKS = (1, 3)


def test_relaxed_records_are_numbers_in_range_and_chances() -> None:
    made = relaxed(torch.tensor([[0.0, 1.0, 2.0, 3.0], [9.0, 0.0, 0.0, 0.0]]), BLOCKS)
    assert made[:, 0].tolist() == pytest.approx([0.5, 1.0], abs=1e-3)
    assert made[:, 1:].sum(1).tolist() == pytest.approx([1.0, 1.0])


def test_runs_vote_on_each_cell_whatever_order_they_hold_people_in() -> None:
    rng = np.random.default_rng(0)
    truth = np.concatenate([rng.random((5, 1)), np.eye(3)[[0, 1, 2, 0, 1]]], 1)
    y = np.array([0, 0, 1, 1, 1])
    shuffled = truth[[1, 0, 4, 3, 2]]
    records, agreed = pooled([(truth, 0.1), (shuffled, 0.2), (shuffled, 0.3), (rng.random((5, 4)), 9.0)], BLOCKS, y)
    assert records == pytest.approx(truth)
    assert agreed == 1.0


def test_a_cell_is_right_by_its_category_or_within_a_twentieth_of_the_scale() -> None:
    row = np.array([0.50, 0, 1, 0])
    assert same_cells(row, np.array([0.54, 0, 1, 0]), BLOCKS).tolist() == [1, 1]
    assert same_cells(row, np.array([0.56, 1, 0, 0]), BLOCKS).tolist() == [0, 0]
    assert same_cells(np.array([0.5, 0, 0, 0]), np.array([0.5, 0, 0, 0]), BLOCKS).tolist() == [1, 1]


def test_a_record_that_was_not_rebuilt_has_no_right_cell() -> None:
    people = Cohort(np.array([[0.5, 0, 1, 0], [0.1, 1, 0, 0]], np.float32), np.zeros(2, int), np.array(["a", "b"]))
    claim = Reconstruction({(1, 0): people.x[1:].astype(float)})
    evidence, by_column = judge.cells(claim, {(1, 0): people}, BLOCKS, "true", "used")
    assert evidence.success.tolist() == [0.0, 1.0]
    assert by_column.tolist() == [0.5, 0.5]
    assert (evidence.requested, evidence.performed) == (2, 1)


def test_the_same_guess_for_all_is_the_median_and_the_commonest_category() -> None:
    x = np.array([[0.1, 1, 0, 0], [0.2, 0, 1, 0], [0.9, 0, 1, 0]], np.float32)
    people = Cohort(x, np.zeros(3, int), np.arange(3).astype(str))
    assert marginal_guess(people, BLOCKS) == pytest.approx([0.2, 0, 1, 0])


@pytest.mark.parametrize("name", ["heart", "support2", "breast-cancer"])
def test_columns_are_as_wide_as_their_features(name: str) -> None:
    known = source(name)
    assert sum(w for _, w in known.columns) == known.shape[0]


@pytest.mark.parametrize(("epochs", "restarts", "iterations"), [(0, 1, 100), (2, 2, 150)], ids=["0", "2"])
def test_hospitals_rows_come_back_beyond_marginal_guessing(epochs: int, restarts: int, iterations: int) -> None:
    params = {"batch": 2, "rounds": 3, "restarts": restarts, "iterations": iterations, "epochs": epochs}
    found = run(find("hospital_tables"), params, seed=1).result.findings[0]
    assert isinstance(found.measure, Estimate)
    assert isinstance(found.baseline, Estimate)
    assert found.measure.metric == "exact_match"
    assert found.measure.value > found.baseline.value + 0.1
    assert "age, attack" in (found.series[0].labels or [])


def test_a_batch_of_one_comes_back_whole() -> None:
    params = {"batch": 1, "rounds": 3, "attack": "analytic_linear"}
    found = run(find("hospital_tables"), params, seed=1).result.findings[0]
    assert isinstance(found.measure, Estimate)
    assert found.measure.value == 1.0


@pytest.mark.usefixtures("few_answers")
def test_rows_whose_cells_a_defence_moved_are_still_picked_out_of_a_line_up() -> None:
    params = {"batch": 1, "rounds": 5, "attack": "analytic_linear", "noise": 0.02}
    cells, whose, promise = run(find("hospital_tables"), params).result.findings
    assert promise.risk == "epsilon"  # what the noise promises is audited beside
    assert cells.rule == whose.rule == find_attack("analytic_linear").rule
    assert [cells.primary, whose.primary] == [True, False]
    assert isinstance(cells.measure, Estimate)
    assert isinstance(whose.measure, Estimate)
    assert isinstance(whose.control, Estimate)
    assert cells.measure.value < 0.75
    assert whose.measure.value > 0.75
    assert whose.control.value < 0.1
