"""Risks side by side: what is compared, and how it is said to move together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from scenarios.side_by_side import side_by_side
from testbed.core.errors import UsageError
from testbed.findings.schema import Estimate
from testbed.harness.model.side_by_side import MODELS, spearman
from testbed.harness.run import run


def test_rank_correlation_equals_scipys_and_its_interval_covers() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=30), rng.normal(size=30)
    assert spearman(one, other).value == pytest.approx(float(spearmanr(one, other).statistic))
    inside = 0
    for _ in range(400):
        x = rng.normal(size=30)
        y = 0.6 * x + 0.8 * rng.normal(size=30)
        found = spearman(x, y)
        inside += found.low <= 6 / np.pi * np.arcsin(0.3) <= found.high  # of a normal pair with correlation .6
    assert inside / 400 > 0.92


def test_nothing_is_said_of_what_never_varies() -> None:
    assert spearman(np.ones(10), np.arange(10.0)).low == -1


def test_models_that_are_let_go_give_more_away() -> None:
    result = run(side_by_side, {"data": "breast-cancer", "people": 80, "shadows": 4}).result
    membership = result.findings[0]
    assert [f.risk for f in result.findings] == ["membership", "attribute_inference", "class_inversion", "extraction"]
    assert isinstance(membership.excess, Estimate)
    assert membership.excess.n == 2 * len(MODELS)
    by_model = dict(zip(membership.series[0].labels, membership.series[0].x, strict=True))
    assert by_model["breast-cancer, forest, let go"] > by_model["breast-cancer, forest, held back"]
    assert "gap between training and test accuracy" in membership.plain


@pytest.mark.parametrize("wrong", [{"data": " "}, {"shadows": 5}, {"people": 10}])
def test_what_compares_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="TB-SCENARIO-013"):
        side_by_side(**wrong)
