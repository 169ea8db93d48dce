"""Shrunken, shifted and noisy claims still say whose they are; constant ones do not."""

from __future__ import annotations

import numpy as np
import pytest

from testbed import judge
from testbed.core import Array, Cohort, Evidence, Reconstruction
from testbed.harness.federation.similarities import CROSSED, choose
from testbed.judge.reconstructions import Key, Similarities
from testbed.judge.similarity import (
    CORRELATION,
    OF_PICTURES,
    OF_TABLES,
    SQUARED_DISTANCE,
    STANDARDISED_CORRELATION,
    STANDARDISED_DISTANCE,
    Similarity,
    declared,
    picked,
)
from tests.judge.test_judge import cohort


def people(x: Array, start: int = 0) -> Cohort:
    return Cohort(x.astype(np.float32), np.zeros(len(x), np.int64), np.array([f"p{start + i}" for i in range(len(x))]))


def drawn(seed: int, n: int = 40, crowd: int = 99, width: int = 30) -> tuple[dict[Key, Cohort], ...]:
    """Exchanges of one person each, as many controls, and look-alikes under the key (0, 0)."""
    x = np.random.default_rng(seed).uniform(size=(2 * n + crowd, width))
    held, control = ({(1, i): people(x[j + i : j + i + 1], j + i) for i in range(n)} for j in (0, n))
    return held, control, {(0, 0): people(x[2 * n :], 2 * n)}


def chosen(
    held: dict[Key, Cohort],
    control: dict[Key, Cohort],
    crowd: Cohort,
    claim: Reconstruction,
    by: tuple[Similarity, ...] = OF_TABLES,
    seed: int = 0,
) -> tuple[float, float, str, float]:
    """Success of used and of unused people by the similarity chosen for each half; its words; the design effect."""
    line_up = judge.LineUp(crowd)

    def judged(who: dict[Key, Cohort], group: str, similarity: Similarities) -> Evidence:
        return judge.reconstruction(claim, who, line_up, "true", group, similarity)  # type: ignore[arg-type]

    choice = choose(judged, held, control, by, seed)  # type: ignore[arg-type]
    used, unused = judged(held, "used", choice.of(held)), judged(control, "unused", choice.of(control))
    return float(used.success.mean()), float(unused.success.mean()), choice.words, choice.design


def test_distances_are_what_their_definitions_say() -> None:
    rng = np.random.default_rng(0)
    claims, records, crowd = rng.normal(size=(3, 7)), rng.normal(size=(4, 7)), rng.normal(2.0, 3.0, size=(50, 7))
    scaled = [(a - crowd.mean(0)) / crowd.std(0) for a in (claims, records)]
    for plain, standard, expected in (
        (SQUARED_DISTANCE, STANDARDISED_DISTANCE, lambda a, b: ((a - b) ** 2).sum()),
        (CORRELATION, STANDARDISED_CORRELATION, lambda a, b: 1 - np.corrcoef(a, b)[0, 1]),
    ):
        for similarity, (one, other) in ((plain, (claims, records)), (standard, tuple(scaled))):
            slow = [[expected(a, b) for b in other] for a in one]
            assert similarity.distances(claims, records, crowd) == pytest.approx(np.array(slow))


def test_correlation_sees_neither_brightness_nor_contrast() -> None:
    record = np.array([[0.1, 0.9, 0.4]])
    assert CORRELATION.distances(0.01 * record + 0.3, record, record) == pytest.approx(np.zeros((1, 1)), abs=1e-12)


def test_a_constant_claim_is_equally_like_everybody() -> None:
    rng = np.random.default_rng(1)
    crowd, record = people(rng.uniform(size=(9, 5)), 10), people(rng.uniform(size=(1, 5)))
    for grey in (np.zeros((1, 5)), np.full((1, 5), 0.3), np.full((1, 5), 0.1) * 3 + 1e-17):
        claim = Reconstruction({(1, 0): grey})
        rows = judge.reconstruction(claim, {(1, 0): record}, judge.LineUp(crowd), "true", "used", CORRELATION)
        assert rows.success == pytest.approx([1 / 10])
    black = people(np.zeros((1, 5)))  # a constant record is found by nobody's claim
    claim = Reconstruction({(1, 0): rng.uniform(size=(1, 5))})
    rows = judge.reconstruction(claim, {(1, 0): black}, judge.LineUp(crowd), "true", "used", CORRELATION)
    assert rows.success[0] == 0.0


def test_look_alikes_equal_to_the_record_share_the_success_under_every_similarity() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(size=(20, 6)).astype(np.float32)
    crowd = people(np.concatenate([x, x[:1], x[:1]]), 10)
    claim = Reconstruction({(1, 0): x[:1] * 0.7 + 0.01 * rng.normal(size=(1, 6))})
    held = {(1, 0): people(x[:1])}
    for similarity in OF_TABLES:
        rows = judge.reconstruction(claim, held, judge.LineUp(people(crowd.x[1:], 10)), "true", "used", similarity)
        assert rows.success == pytest.approx([1 / 3]), similarity.name


def test_a_tie_but_for_rounding_is_a_tie() -> None:
    assert picked(0.3, np.array([0.3 + 1e-15, 0.5])) == 0.5
    assert picked(0.3, np.array([0.3 - 1e-15, 0.5])) == 0.5
    assert picked(0.3, np.array([0.29, 0.5])) == 0.0
    assert picked(0.0, np.array([1e-6])) == 1.0


def test_a_column_in_which_look_alikes_do_not_differ_says_nothing() -> None:
    crowd = np.array([[0.0, 5.0], [1.0, 5.0]])
    assert STANDARDISED_DISTANCE.distances(np.array([[0.2, 9.0]]), crowd, crowd).argmin() == 0
    assert np.isfinite(STANDARDISED_DISTANCE.distances(np.array([[0.2, 9.0]]), crowd, crowd)).all()


def test_records_of_a_batch_are_matched_by_the_same_similarity() -> None:
    # Nearest to the dark record is either claim; by pattern each has its own.
    batch = cohort([0.1, 0.2, 0.1, 0.2], [0.9, 0.5, 0.5, 0.9])
    claim = Reconstruction({(1, 0): np.array([[0.09, 0.05, 0.05, 0.09], [0.2, 0.4, 0.2, 0.4]])})
    crowd = judge.LineUp(cohort([0.3, 0.1, 0.2, 0.2], [0.7, 0.6, 0.1, 0.0], start=9))
    rows = judge.reconstruction(claim, {(1, 0): batch}, crowd, "true", "used", CORRELATION)
    assert rows.success.tolist() == [1.0, 1.0]


CHANGES = {
    "shrunken": ((0.05, 0.05), 0.0, 0.0),
    "shifted": ((1, 1), 0.8, 0.0),
    "magnified": ((9, 9), 2.0, 0.0),
    "shrunken and noisy": ((0.2, 0.2), 0.0, 0.01),
    "every batch by its own factor": ((0.02, 3.0), 0.0, 0.0),
}
"""Least and largest factor, shift, and noise."""


@pytest.mark.parametrize(("factor", "shift", "noise"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("by", [OF_PICTURES, OF_TABLES], ids=["pictures", "tables"])
def test_a_claim_that_is_changed_as_a_whole_still_identifies_its_person(
    factor: tuple[float, float], shift: float, noise: float, by: tuple[Similarity, ...]
) -> None:
    held, control, crowd = drawn(3)
    rng = np.random.default_rng(4)
    made = {k: rng.uniform(*factor) * p.x + shift + rng.normal(0, noise, p.x.shape) for k, p in held.items()}
    used, unused, _, _ = chosen(held, control, crowd[0, 0], Reconstruction(made), by)
    assert used >= 0.95
    assert unused <= 0.05


def test_the_same_similarity_judges_the_control_and_a_claim_of_grey_finds_nobody() -> None:
    held, control, crowd = drawn(5)
    grey = Reconstruction({k: np.full(p.x.shape, 0.5) for k, p in held.items()})
    used, unused, _, _ = chosen(held, control, crowd[0, 0], grey)
    assert used <= 0.1
    assert unused <= 0.1


def test_one_batch_is_judged_by_the_first_similarity_and_says_where_another_finds_more() -> None:
    held, control, crowd = drawn(6, n=1)
    claim = Reconstruction({k: 0.01 * p.x.astype(float) for k, p in held.items()})
    line_up = judge.LineUp(crowd[0, 0])

    def judged(who: dict[Key, Cohort], group: str, by: Similarities) -> Evidence:
        return judge.reconstruction(claim, who, line_up, "true", group, by)  # type: ignore[arg-type]

    choice = choose(judged, held, control, OF_TABLES, 0)  # type: ignore[arg-type]
    assert (choice.of(held)[1, 0], choice.design, choice.unchosen) == (SQUARED_DISTANCE, 1.0, True)


def test_similarities_that_agree_cost_nothing_and_batches_of_one_person_stay_together() -> None:
    held, control, crowd = drawn(7)
    exact = Reconstruction({k: p.x.astype(float) for k, p in held.items()})
    twice = (SQUARED_DISTANCE, SQUARED_DISTANCE)
    assert chosen(held, control, crowd[0, 0], exact, twice)[::3] == (1.0, 1.0)
    same = {key: next(iter(held.values())) for key in held}
    line_up = judge.LineUp(crowd[0, 0])
    choice = choose(
        lambda who, group, by: judge.reconstruction(exact, who, line_up, "true", group, by),
        same,
        control,
        OF_TABLES,
        0,
    )
    assert choice.design == 1.0  # all of them are one batch, so nothing was chosen
    assert 1 <= chosen(held, control, crowd[0, 0], exact)[3] <= 1 + CROSSED


def test_tables_have_similarities_on_standardised_columns() -> None:
    assert declared((12,)) == OF_TABLES
    assert declared((1, 8, 8)) == OF_PICTURES
    assert OF_TABLES[0] is OF_PICTURES[0] is SQUARED_DISTANCE
