"""Attacks on statistics compute what they say, on examples that are worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from testbed.attacks.curve_steps import groups
from testbed.attacks.registry import find
from testbed.core import Array, Batch, Exchange, Protocol, Threat, Transcript, Unavailable
from testbed.defences import named
from testbed.judge.described import within
from testbed.models.summaries import HISTOGRAM, PEOPLE, curve, pooled, quantiles

SERVER = Threat("server")
CLIENT = Threat("client", nodes=(0,))


def counted(people: int, *columns: list[float]) -> dict[str, Array]:
    return {PEOPLE: np.array([float(people)]), HISTOGRAM: np.array(columns, float)}


def seen(*told: dict[str, Array], threat: Threat = SERVER) -> Transcript:
    """What the server sees of one hospital in several rounds."""
    exchanges = tuple(Exchange(r, 0, None, t) for r, t in enumerate(told, 1))
    return Transcript(exchanges, None, Protocol(clients=1), threat.position)


def differed(view: Transcript, defence: str = "none") -> list[float]:
    defences = named.configured(defence)
    threat = replace(SERVER, knows=frozenset({"defence"} if defences else ()))
    claim = find("round_difference").run(view, Batch(((2, 0),), (2,), 2, defences=defences), None, 0, threat)
    return np.asarray(claim.batches[2, 0])[0].tolist()


def test_the_bins_that_grew_are_those_of_whoever_joined_and_those_that_shrank_of_whoever_left() -> None:
    before, after = counted(7, [3, 4, 0, 0], [1, 1, 5, 0]), counted(8, [3, 4, 0, 1], [1, 2, 5, 0])
    assert differed(seen(before, after)) == [0.875, 0.375]
    assert differed(seen(after, before)) == [0.875, 0.375]


def test_of_several_who_joined_it_is_the_mean() -> None:
    assert differed(seen(counted(2, [2, 0], [1, 1]), counted(4, [3, 1], [3, 1]))) == [0.5, 0.25]


def test_one_count_that_is_not_told_follows_from_the_others() -> None:
    before, after = counted(9, [np.nan, 7], [4, 5]), counted(10, [np.nan, 7], [4, 6])
    assert differed(seen(before, after)) == [0.25, 0.75]


def test_of_several_counts_that_are_not_told_each_may_have_grown() -> None:
    """Only bins 0 and 2 of the first column are hidden, and the others did not change."""
    before = counted(20, [np.nan, 8, np.nan, 9], [10, 10, 0, 0])
    after = counted(21, [np.nan, 8, np.nan, 9], [11, 10, 0, 0])
    assert differed(seen(before, after)) == [0.375, 0.125]


def test_a_count_that_appears_has_just_reached_the_least_one() -> None:
    before = counted(20, [np.nan, np.nan, np.nan, 15], [20, 0, 0, 0])
    after = counted(21, [np.nan, 3, np.nan, 15], [21, 0, 0, 0])
    assert differed(seen(before, after), "small_cells:3") == [0.375, 0.125]


def test_a_hospital_subtracts_its_own_counts_from_the_pooled_ones() -> None:
    own = [counted(4, [4, 0], [4, 0]), counted(5, [5, 0], [5, 0])]
    other = [counted(3, [1, 2], [2, 1]), counted(4, [1, 3], [3, 1])]
    both = [pooled(parts) for parts in zip(own, other, strict=True)]
    view = Transcript(
        (Exchange(1, 0, {PEOPLE: np.zeros(1)}, own[0]), Exchange(2, 0, both[0], own[1])),
        None,
        Protocol(clients=2),
        "client",
        both[1],
    )
    claim = find("pooled_difference").run(view, Batch(((2, 1),), (2,), 2), None, 0, CLIENT)
    assert claim.batches[2, 1].tolist() == [[0.75, 0.25]]


def test_without_two_rounds_nothing_differs() -> None:
    with pytest.raises(Unavailable, match="one_round"):
        differed(seen(counted(2, [2, 0], [1, 1])))


TIMES = np.array([2, 2, 3, 3, 3, 5, 6, 9, 9, 12])
DIED = np.array([1, 0, 0, 1, 1, 0, 1, 0, 1, 0])


def test_every_step_of_a_curve_gives_its_deaths_and_losses() -> None:
    """Day 2: one death, one lost. Day 3: two deaths, two lost before day 6. Then one death; day 9 one, and two lost."""
    bounds, counts = groups(curve(TIMES, DIED), 1)
    assert bounds[:, 0, 0].tolist() == [-np.inf, 2, 3, 6, 9]
    assert counts.tolist() == [[0, 0], [1, 1], [2, 2], [0, 1], [2, 1]]


def test_the_numbers_behind_the_curves_of_many_are_right() -> None:
    rng = np.random.default_rng(1)
    times, died = rng.integers(1, 900, 500), rng.random(500) < 0.6
    bounds, counts = groups(curve(times, died.astype(int)), 1)
    inside = within(times[:, None].astype(float), bounds)
    held = np.stack([(inside & (died == c)).sum(1) for c in (0, 1)], 1)
    assert (held == counts).all(1).mean() > 0.99
    assert counts.sum() == 500


def of_two(clients: int) -> Any:
    own, other = curve(TIMES, DIED), curve(TIMES + 1, 1 - DIED)
    view = Transcript(
        (Exchange(1, 0, {PEOPLE: np.zeros(1)}, own),), None, Protocol(clients=clients), "client", pooled([own, other])
    )
    claim = find("pooled_curve_events").run(view, Batch(((1, 1),), (1,), 2), None, 0, CLIENT)
    return claim.bounds[1, 1], claim.counts[1, 1], groups(other, 1)


def test_a_hospital_reads_the_curve_of_the_only_other_one() -> None:
    bounds, counts, right = of_two(2)
    assert (bounds == right[0]).all()
    assert (counts == right[1]).all()


def test_of_more_hospitals_it_expects_a_part_of_the_people_in_each() -> None:
    _, counts, right = of_two(3)
    assert counts.sum() < right[1].sum()


def test_quantiles_are_stated_once_each_and_columns_with_two_values_are_left_out() -> None:
    told = quantiles(np.array([[0.1, 0], [0.1, 1], [0.4, 1], [0.7, 0], [0.8, 1]]))
    claim = find("reported_quantiles").run(seen(told), Batch(((1, 0),), (2,), 2), None, 0, SERVER)
    assert claim.columns[1, 0].tolist() == [0, 0, 0, 0]
    assert claim.values[1, 0].tolist() == pytest.approx([0.1, 0.4, 0.7, 0.8])
