"""Federated analytics: what passes through Flower, who is counted in which round, and what defences change of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from testbed.core import Cohort
from testbed.core.errors import UsageError
from testbed.defences import named
from testbed.models.summaries import HISTOGRAM, PEOPLE, histograms
from testbed.subjects.federation import transcript
from testbed.subjects.federation.analytics import Analytics

RNG = np.random.default_rng(0)
PARTS = [
    Cohort(RNG.random((n, 3)).astype(np.float32), RNG.integers(0, 2, n), np.arange(n).astype(str)) for n in (12, 20)
]
MONTHLY = Analytics("histograms", 3, 2, rounds=3, joining=2)


def test_each_round_counts_the_people_who_have_joined_so_far() -> None:
    view = MONTHLY.run(PARTS)
    assert [e.key for e in view.exchanges] == [(r, c) for r in (1, 2, 3) for c in (0, 1)]
    for exchange in view.exchanges:
        people = PARTS[exchange.client]
        present = len(people) - 2 * (3 - exchange.round)
        assert exchange.returned is not None
        assert exchange.returned[PEOPLE].tolist() == [present]
        assert (exchange.returned[HISTOGRAM] == histograms(people.x[:present], 10)[HISTOGRAM]).all()
    assert MONTHLY.arrivals(12, 1).tolist() == []
    assert MONTHLY.arrivals(12, 2).tolist() == [8, 9]
    assert MONTHLY.arrivals(12, 3).tolist() == [10, 11]


def test_the_pooled_statistic_is_sent_in_the_next_round() -> None:
    view = MONTHLY.run(PARTS)
    first = sum(e.returned[HISTOGRAM] for e in view.exchanges if e.round == 1 and e.returned is not None)
    assert all((e.sent[HISTOGRAM] == first).all() for e in view.exchanges if e.round == 2 and e.sent is not None)
    assert view.final is not None
    assert view.final[PEOPLE].tolist() == [32]


@pytest.mark.parametrize("defence", ["none", "small_cells:3", "count_noise:1"])
def test_equal_runs_give_equal_transcripts_that_a_file_holds(defence: str) -> None:
    protected = replace(MONTHLY, defences=named.configured(defence))
    one, other = (transcript.to_bytes(protected.run(PARTS)) for _ in range(2))
    assert one == other


def test_what_does_not_go_together_is_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="TB-RUN-013"):
        Analytics("means", 3, 2)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="TB-DEFENCE-045"):
        Analytics("curves", 3, 2, defences=named.configured("count_noise:1"))
