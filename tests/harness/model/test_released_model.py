"""The scenario of a released model, alone and in a sweep over its defences."""

from __future__ import annotations

from pathlib import Path

import pytest

import testbed as tb
from testbed.findings.plan import UNAWARE
from testbed.findings.schema import Estimate
from testbed.harness.run import run
from testbed.harness.scenario import find

TINY = {"data": "breast-cancer", "people": 60, "shadows": 4, "epochs": 5, "hidden": 8}


def test_a_released_model_is_audited_with_its_defence_its_naive_attackers_and_its_utility() -> None:
    result = run(find("released_model"), {**TINY, "defence": "weight_decay:0.1+round:1"}).result
    assert [d.name for d in result.defences] == ["weight_decay", "round"]
    assert all(d.adaptive for d in result.defences)
    assert {f.attack.name for f in result.findings if f.target == UNAWARE} >= {"rmia", "lira", "bavaria"}
    names = [u.name for u in result.utility if isinstance(u.measure, Estimate)]
    assert len(names) == 4
    assert {n.rpartition(", ")[0].split(",")[0] for n in names} == {
        "accuracy on people nobody trained on",
        "AUC on people nobody trained on",
    }


@pytest.mark.slow
def test_a_sweep_over_defences_of_a_model_is_compared_by_leak_and_utility(tmp_path: Path) -> None:
    grid = {"defence": ["none", "top1", "dpsgd:4", "pate:2"]}
    found = tb.sweep("released_model", grid, TINY, workers=1, out=tmp_path / "out", policy="example-open-release")
    assert len(found.comparison.settings) == 4
    told = {s.name: s for s in found.comparison.settings}
    formal = {name for name, s in told.items() if any(p.guarantee == "formal" for p in s.protections)}
    assert len(formal) == 2
    assert all(u.name.endswith("people nobody trained on") for s in told.values() for u in s.utility)
    assert found.comparison.recommendation.text
